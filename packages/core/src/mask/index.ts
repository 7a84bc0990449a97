// Masks: which keys a query may attend to. Each class is one object in one file: its predicate, its tensor, its features for kernels.
export { and } from './and';
export { blockLayout } from './blocks';
export { causal } from './causal';
export { causalFromTopLeft } from './causal-from-top-left';
export { type MaskKind, maskClasses } from './classes';
export { computed, dense } from './dense';
export { dilated } from './dilated';
export { documentIds } from './document-ids';
export { documents } from './documents';
export {
  type ExpressedMask,
  type ExpressOptions,
  expressedBy,
  type InexpressibleMask,
  impliedBy,
  type MaskSupport,
} from './features';
export { type GlobalTokens, globalTokens } from './global-tokens';
export { keyPadding } from './key-padding';
export { keyStarts } from './key-starts';
export { keyLengths } from './lengths';
export {
  comparesPositions,
  conjuncts,
  defineMask,
  isOfSequences,
  type KnownData,
  type Mask,
  MaskClass,
  type MaskDefinition,
  type MaskFeatures,
  type MaskFrame,
  type MaskMaker,
  type MaskParts,
  type MaskPositioning,
  type MaskPositions,
  type MaskSizes,
  mapMask,
  maskKinds,
  masksIn,
  type Pair,
  type Place,
  type PrefixTokens,
  printMask,
  type QueryPlace,
  type Truth,
} from './mask';
export { type MaskFunction, maskMod } from './mask-mod';
export { type MaterializeSizes, materialize } from './materialize';
export { none } from './none';
export { not } from './not';
export { or } from './or';
export { prefix } from './prefix';
export { padStart, withPrefixTokens } from './prefix-tokens';
export { randomPairs } from './random-pairs';
export { everyQueryHasKey, maskTensor, queryHasKey, rowHasKey } from './tensor';
export { slidingWindow, type WindowBounds } from './window';
export { slidingWindowFromTopLeft } from './window-from-top-left';
