// Residual styles and norms.
import { deepNorm } from './deep-norm';
import { hyperConnections } from './hyper-connections';
import { dynamicTanh } from './norms/dynamic-tanh';
import { groupNorm } from './norms/group-norm';
import { identity } from './norms/identity';
import { layerNorm } from './norms/layer-norm';
import { rmsNorm } from './norms/rms-norm';
import { scaleNorm } from './norms/scale-norm';
import { simplicial } from './norms/simplicial';
import { parallel } from './parallel';
import { postNorm } from './post-norm';
import { preNorm } from './pre-norm';
import { reversible, reversibleStep } from './reversible';
import { rezero } from './rezero';
import { sandwichNorm } from './sandwich-norm';
import { stochasticDepth } from './stochastic-depth';

/** The rules that lower norms to their kernels: for the `rules` of your own block that emits them. */
export { kernels as normRules } from './kernels';
export {
  deepNorm,
  dynamicTanh,
  groupNorm,
  hyperConnections,
  identity,
  layerNorm,
  parallel,
  postNorm,
  preNorm,
  reversible,
  reversibleStep,
  rezero,
  rmsNorm,
  sandwichNorm,
  scaleNorm,
  simplicial,
  stochasticDepth,
};

/** The blocks of this package, for a registry. */
export const blocks = [
  preNorm,
  postNorm,
  deepNorm,
  sandwichNorm,
  parallel,
  rezero,
  reversible,
  hyperConnections,
  layerNorm,
  rmsNorm,
  scaleNorm,
  groupNorm,
  dynamicTanh,
  simplicial,
  identity,
] as const;
