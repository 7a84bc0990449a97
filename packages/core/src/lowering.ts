// For those who write kernels, rules and ops: subpath @onnxformers/core/lowering.

export { aFunction, anObject, aSize, given } from './given';
export {
  type Asked,
  type Attribute,
  type AttributeKind,
  type Attrs,
  defineOp,
  domainOf,
  type EncodedNode,
  type NamedOperands,
  noFlops,
  type Op,
  type OperandNames,
  operandOf,
  operandsOf,
  printType,
  type Sizes,
} from './ir/define-op';
export { freeSizeName } from './ir/free-names';
export { apply, type Derivation, madeBy, mismatch, nameOf, type Pool, subgraphsOf } from './ir/graph';

export { type ChunkSize, chunksOf } from './kernels/attend-chunks';
export { packedChunksOf, usePackedChunks } from './kernels/attend-packed-chunks';
export type { Decision, Rejected } from './lower/decision';
export { knownData, knownNonEmpty } from './lower/known-data';
export { type Lowered, type LowerOptions, lower } from './lower/lower';
export { biasedLinear } from './lower/match';
export { defineReasons, type Reason, type ReasonData } from './lower/reason';
export { reasons } from './lower/reasons';
export { type Get, type Match, type MatchContext, type Outcome, type Refusal, type Rule, refuse, rule } from './lower/rule';
export {
  computed,
  conjuncts,
  defineMask,
  type ExpressedMask,
  type ExpressOptions,
  expressedBy,
  type InexpressibleMask,
  impliedBy,
  isOfSequences,
  type KnownData,
  MaskClass,
  type MaskDefinition,
  type MaskFeatures,
  type MaskFrame,
  type MaskMaker,
  type MaskParts,
  type MaskPositioning,
  type MaskPositions,
  type MaskSizes,
  type MaskSupport,
  mapMask,
  maskKinds,
  masksIn,
  maskTensor,
  type Pair,
  type Place,
  type QueryPlace,
  queryHasKey,
  rowHasKey,
  type Truth,
} from './mask/index';
export { attendInChunks, type ChunkOptions } from './ops/attend-chunked';
export { maskedScore } from './ops/attend-definition';
export { type AttendAttrs, type AttendParts, attendParts } from './ops/attend-parts';
export { attendBlockwise, type BlockwiseOptions } from './ops/attend-window';
export { encoded } from './ops/encode';
export { packRows, padRows } from './ops/packed-rows';
export { unexpanded } from './ops/unexpanded';
export { derive } from './sequence/derive';
export { limitIndices } from './sequence/limits';
export { lengthsFrom, type OffsetsSource, sourceOf, tokenPlaces } from './sequence/token-places';
export { type AttentionKernelChoice, type AttentionKernelName, attentionKernel } from './targets/attention-kernel';
