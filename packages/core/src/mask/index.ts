// Masks: which keys a query may attend to. Each class is one object in one file: its predicate, its tensor, its features for kernels.
export { and } from './and';
export { causal } from './causal';
export { type MaskKind, maskClasses } from './classes';
export { dense } from './dense';
export { documents } from './documents';
export {
  type ExpressedMask,
  type ExpressOptions,
  expressedBy,
  type InexpressibleMask,
  impliedBy,
  type MaskSupport,
} from './features';
export { keyPadding } from './key-padding';
export { keyLengths } from './lengths';
export {
  comparesPositions,
  defineMask,
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
  type Truth,
} from './mask';
export { none } from './none';
export { not } from './not';
export { or } from './or';
export { padStart, withPrefixTokens } from './prefix-tokens';
export { materialize, type QueryHasKeyOptions, queryHasKey, rowHasKey } from './tensor';
export { slidingWindow, type WindowBounds } from './window';
