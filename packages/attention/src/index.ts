// Attention mechanisms and mixers.
import { favor } from './kernelized/favor';
import { lambda } from './kernelized/lambda';
import {
  directionsOfRun,
  type FeatureMap,
  type FeatureOptions,
  randomDirections,
  randomFeatures,
} from './kernelized/random-features';
import { multiHeadLatent } from './latent/multi-head-latent';
import { linformer } from './low-rank/linformer';
import { nystrom } from './low-rank/nystrom';
import { orthoformer } from './low-rank/orthoformer';
import { type PseudoInverseOptions, pseudoInverse } from './low-rank/pseudo-inverse';
import { compositional } from './mixers/compositional';
import { fourierMix } from './mixers/fourier-mix';
import { multiHead } from './mixers/multi-head';
import { perceiverLatents } from './mixers/perceiver-latents';
import { pooling } from './mixers/pooling';
import { shiftedWindow } from './mixers/shifted-window';
import { visual } from './mixers/visual';
import { gatedDeltaNet } from './recurrent/gated-delta-net';
import { gatedLinearAttention } from './recurrent/gated-linear-attention';
import { linearAttention } from './recurrent/linear-attention';
import { mamba2 } from './recurrent/mamba2';
import { retention } from './recurrent/retention';
import { differential } from './softmax/differential';
import { flexAttention } from './softmax/flex-attention';
import { scaledDotProduct } from './softmax/scaled-dot-product';
import { sigmoidAttention } from './softmax/sigmoid';
import { talkingHeads } from './softmax/talking-heads';
import { blocksparse } from './sparse/blocksparse';
import { globalAttention } from './sparse/global';
import { local } from './sparse/local';
import { neighborhood } from './sparse/neighborhood';
import { randomAttention } from './sparse/random';
import { sparse } from './sparse/sparse';

/** The rules that lower softmax attention to its kernels: for the `rules` of your own mechanism that emits Attend. */
export { kernels as attentionRules } from './kernels';
export {
  blocksparse,
  compositional,
  differential,
  directionsOfRun,
  type FeatureMap,
  type FeatureOptions,
  favor,
  flexAttention,
  fourierMix,
  gatedDeltaNet,
  gatedLinearAttention,
  globalAttention,
  lambda,
  linearAttention,
  linformer,
  local,
  mamba2,
  multiHead,
  multiHeadLatent,
  neighborhood,
  nystrom,
  orthoformer,
  type PseudoInverseOptions,
  perceiverLatents,
  pooling,
  pseudoInverse,
  randomAttention,
  randomDirections,
  randomFeatures,
  retention,
  scaledDotProduct,
  shiftedWindow,
  sigmoidAttention,
  sparse,
  talkingHeads,
  visual,
};
/** All blocks of this package. */
export const blocks = [
  scaledDotProduct,
  flexAttention,
  differential,
  talkingHeads,
  sigmoidAttention,
  linformer,
  local,
  blocksparse,
  globalAttention,
  randomAttention,
  sparse,
  neighborhood,
  nystrom,
  orthoformer,
  favor,
  lambda,
  multiHead,
  multiHeadLatent,
  linearAttention,
  gatedLinearAttention,
  retention,
  gatedDeltaNet,
  mamba2,
  compositional,
  fourierMix,
  pooling,
  visual,
  shiftedWindow,
  perceiverLatents,
] as const;
