// Residual styles and norms.
import { deepNorm } from './deep-norm';
import { identity } from './norms/identity';
import { layerNorm } from './norms/layer-norm';
import { rmsNorm } from './norms/rms-norm';
import { simplicial } from './norms/simplicial';
import { postNorm } from './post-norm';
import { preNorm } from './pre-norm';
import { reversible, reversibleStep } from './reversible';

/** The rules that lower norms to their kernels: for the `rules` of your own block that emits them. */
export { kernels as normRules } from './kernels';
export { deepNorm, identity, layerNorm, postNorm, preNorm, reversible, reversibleStep, rmsNorm, simplicial };

/** The blocks of this package, for a registry. */
export const blocks = [preNorm, postNorm, deepNorm, reversible, layerNorm, rmsNorm, simplicial, identity] as const;
