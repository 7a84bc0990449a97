// Attention mechanisms and mixers.
import { linformer } from './low-rank/linformer';
import { nystrom } from './low-rank/nystrom';
import { type PseudoInverseOptions, pseudoInverse } from './low-rank/pseudo-inverse';
import { fourierMix } from './mixers/fourier-mix';
import { multiHead } from './mixers/multi-head';
import { flexAttention } from './softmax/flex-attention';
import { scaledDotProduct } from './softmax/scaled-dot-product';
import { globalAttention } from './sparse/global';
import { local } from './sparse/local';
import { randomAttention } from './sparse/random';

/** The rules that lower softmax attention to its kernels: for the `rules` of your own mechanism that emits Attend. */
export { kernels as attentionRules } from './kernels';
export {
  flexAttention,
  fourierMix,
  globalAttention,
  linformer,
  local,
  multiHead,
  nystrom,
  type PseudoInverseOptions,
  pseudoInverse,
  randomAttention,
  scaledDotProduct,
};
/** All blocks of this package. */
export const blocks = [
  scaledDotProduct,
  flexAttention,
  linformer,
  local,
  globalAttention,
  randomAttention,
  nystrom,
  multiHead,
  fourierMix,
] as const;
