// Attention patterns and layouts of blocks.
export { type BigBirdOptions, bigBird } from './big-bird';
export {
  axial,
  type DistanceOptions,
  dilatedOnGrid,
  type GridSizes,
  gridDistances,
  gridGaussian,
  localOnGrid,
  swinWindows,
} from './grid';
export {
  type BigBirdLayoutOptions,
  bigBirdLayout,
  type Direction,
  denseLayout,
  type FixedLayoutOptions,
  fixedLayout,
  type LayoutOptions,
  type LongformerLayoutOptions,
  layoutOf,
  longformerLayout,
  patternOf,
  sparsifyBlocks,
  type VariableLayoutOptions,
  variableLayout,
} from './layouts';
export { type NamedPattern, type PatternConfig, patternFrom, patternNames } from './named';
export { alibiPattern, fromPattern, samplePairs } from './pattern';
