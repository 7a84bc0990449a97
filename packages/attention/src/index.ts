// Attention mechanisms and mixers.
import { linformer } from './linformer';
import { local, useBlocks } from './local';
import { fourierMix } from './mixers/fourier-mix';
import { multiHead } from './mixers/multi-head';
import { nystrom, type PseudoInverseOptions, pseudoInverse } from './nystrom';
import { scaledDotProduct } from './scaled-dot-product';

/** The rules that lead softmax attention to its kernels: for the `rules` of a mechanism of yours that emits Attend. */
export { kernels as attentionRules } from './kernels';
export {
  fourierMix,
  linformer,
  local,
  multiHead,
  nystrom,
  type PseudoInverseOptions,
  pseudoInverse,
  scaledDotProduct,
  useBlocks,
};
/** All blocks of this package. */
export const blocks = [scaledDotProduct, linformer, local, nystrom, multiHead, fourierMix] as const;
