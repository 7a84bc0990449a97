// The public surface of core, listed by hand.

export { checkArguments } from './arguments';
export { backward, grad } from './autodiff/grad';
export { defineBlock, isBlock } from './block/block';
export type {
  AnyBlock,
  Block,
  BlockDefinition,
  BlockOptions,
  BuildContext,
  ConfigIn,
  KindModule,
  MaskKinds,
  NameIn,
  Property,
  Resolved,
} from './block/block-definition';
export { type Registry, registry } from './block/registry';
export { compile, type Model, type Port, type Signature } from './compile/compile';
export type { CompileOptions, InputType, ModelDType } from './compile/compile-options';
export { type GenerateOptions, generate } from './compile/generate';
export { initialize, initsOf } from './compile/initialize';
export {
  type CodeOptions,
  type Quantize,
  type QuantizedModule,
  type QuantizeOptions,
  quantizeWeights,
  type WeightFormat,
} from './compile/quantize';
export { serialize, toBytes } from './compile/serialize';
export {
  bool,
  choice,
  type Field,
  type FieldOptions,
  type Fields,
  fn,
  int,
  list,
  num,
  type Presence,
  text,
} from './config/fields';
export { cellsOf, gridField, imageInputs } from './config/grid';
export { each, slot } from './config/slots';
export { toConfig } from './config/to-config';
export * from './dim/dim';
export {
  ConfigError,
  checkOptions,
  checkWord,
  describe,
  type ErrorDetails,
  FeedError,
  FileError,
  LoweringError,
  nearest,
  OnnxformersError,
  RunError,
  ShapeError,
  WeightError,
} from './error';
export * from './explain/index';
export type { Alignment } from './expression/step';
export { Condition, lookup, lookupFlag, type Table, Term } from './expression/term';
export { interpret } from './interpret/interpret';
export { type Assumption, assumptions } from './ir/assumption';
export type { TensorType } from './ir/define-op';
export {
  type DeclaredRole,
  type Graph,
  type InputRole,
  type Leaf,
  type Limit,
  type Node,
  type Operand,
  Value,
} from './ir/graph';
export { dropout } from './layers/dropout';
export { embedding } from './layers/embedding';
export { type LinearOptions, linear } from './layers/linear';
export { type AttentionSwitch, attentionSwitches } from './lower/environment';
export type { FeatureOutcome, KernelLimits } from './lower/kernel-limits';
export type { SizeLimit } from './lower/size-limit';
export type { AdviceContext, Forecast, Kernel, Machine, Target } from './lower/target';
export {
  and,
  blockLayout,
  causal,
  causalFromTopLeft,
  comparesPositions,
  dense,
  dilated,
  documentIds,
  documents,
  type GlobalTokens,
  globalTokens,
  keyLengths,
  keyPadding,
  keyStarts,
  type Mask,
  type MaskFunction,
  type MaskKind,
  type MaterializeSizes,
  maskMod,
  materialize,
  none,
  not,
  or,
  type PrefixTokens,
  padStart,
  prefix,
  printMask,
  randomPairs,
  slidingWindow,
  slidingWindowFromTopLeft,
  type WindowBounds,
  withPrefixTokens,
} from './mask/index';
export {
  type BlockInput,
  type BlockInputs,
  blockInputs,
  type Contracts,
  type Kind,
  type KindDefinition,
  kindOf,
  kinds,
  type UnsetSize,
  unsetSizes,
} from './module/kinds';
export {
  type AnyModule,
  type Child,
  type Children,
  type Fn,
  isModule,
  type Module,
  module,
  modulesOf,
  namesOf,
  type ParameterNames,
  withForward,
} from './module/module';
export { type Parametrization, reparametrize } from './module/reparametrize';
export { standalone } from './module/standalone';
export { readOnnx } from './onnx/decode';
export {
  type InspectedFile,
  type InspectedInitializers,
  type InspectedOp,
  type InspectedValue,
  type Inspection,
  inspect,
} from './onnx/inspect';
export type { OnnxAttribute, OnnxGraph, OnnxModel, OnnxNode, OnnxValueInfo } from './onnx/model';
export { printBytes, printInspection } from './onnx/print';
export { readTensor, writeTensor } from './onnx/tensor-proto';
export type { ScoreMod, WeightMod } from './ops/attend-options';
export * as ops from './ops/index';
export { type ModTable, type ScoreFunction, scoreMod, type WeightFunction, weightMod } from './ops/score-mod';
export { GraphBuilder } from './ops/vocabulary';
export type { Fans, Init, Role } from './parameter/init';
export * as init from './parameter/init';
export { Parameter, type ParameterOptions } from './parameter/parameter';
export { type LoraOptions, lora } from './parametrizations/lora';
export { type BlockFormat, quantizeBlocks, quantizedBlocks } from './parametrizations/quantized-blocks';
export type { OnProgress, Progress } from './progress';
export type { DisposeOptions } from './runtime/dispose';
export type { Feeds } from './runtime/feeds';
export type { Ort, OrtSession, OrtTensor } from './runtime/ort';
export { type QuantizationError, type QuantizationErrorsOptions, quantizationErrors } from './runtime/quantization-errors';
export { connectRunner, serveRunner, type Thread, type ThreadPort } from './runtime/remote';
export type { NodeInfo } from './runtime/run-error';
export { type ExternalFile, inMemory, type Runnable } from './runtime/runnable';
export { createRunner, type Runner, type RunnerOptions, type RunOptions } from './runtime/runner';
export type { Provider } from './runtime/session-options';
export { addAuxiliaryLoss, auxiliaryLoss } from './sequence/auxiliary-loss';
export {
  type AttendOptions,
  attend,
  attendsToMemory,
  crossAttentionKeyValues,
  type Memory,
  maskOf,
  newShared,
  refuseGaps,
  type SequenceContext,
  type Shared,
  updateCache,
  withContext,
} from './sequence/context';
export { contextOf, type SequenceInputs, type StateOption } from './sequence/context-of';
export { asImage, type GridOptions } from './sequence/grid';
export {
  contextOfHiddenStates,
  type HiddenStates,
  hiddenStatesOf,
  keepContext,
  memoryFrom,
  type PositionsOptions,
  withPositions,
} from './sequence/hidden-states';
export { sequenceAxes } from './sequence/inputs';
export { pastOf } from './sequence/io-state';
export {
  type KeyPositions,
  type Layout,
  mergeHeads,
  type PackedLayout,
  type PaddedRows,
  padded,
  positionsWithin,
  splitHeads,
} from './sequence/layout';
export { limitPositions } from './sequence/limits';
export type { InputsByName, NamedInputs, NamedOutputs, OutputsByName } from './sequence/named-ports';
export { overPairs, type Pairs } from './sequence/pairs';
export { prefixed, withPrefix } from './sequence/prefix';
export { realPositionsOf } from './sequence/real-positions';
export type { CallSizes, State } from './sequence/types';
export { targets } from './targets/index';
export * from './tensor/convert';
export { type DType, dtypes, isFloat, type NDArray, type Tensor, type TensorData } from './tensor/tensor';
export { type DeepNormCoefficients, deepNormCoefficients } from './weights/deep-norm';
export { expressWeight } from './weights/express';
export { type InitializeOptions, initializeParameters } from './weights/initialize';
export { castLazy, isLazy, type LazyTensor, lazily, lazyTensor } from './weights/lazy';
export {
  type ExpectedWeight,
  type MatchedWeights,
  type MatchOptions,
  type MatchReport,
  matchWeights,
  type WeightSource,
} from './weights/load';
export { type NameMap, nameMap } from './weights/name-map';
export { type RandomStream, randomStream } from './weights/random';
export {
  type ByteSource,
  encodeSafetensors,
  openSafetensors,
  parseSafetensors,
  readHeader,
  type SafetensorsEntry,
  type SafetensorsHeader,
  type WritableTensors,
  writeSafetensors,
} from './weights/safetensors';
export { type Initializable, type Scheme, type SchemeName, schemes } from './weights/schemes';
export { openSharded } from './weights/sharded';
