// The player of each block's cases.
import type { Player } from '../play';
import { attention, blocksparse, favor, featureMap, random, sparse } from './attention';
import {
  activation,
  feedforward,
  mixtureOfExperts,
  patchEmbedding,
  position,
  rotaryEmbedding,
  simplicialEmbedding,
} from './channels';
import { decoderBlock, encoderBlock, model } from './models';
import { compositional, inputProjection, multiHeadDispatch, timmSparseAttention } from './multi-head';
import { pattern } from './patterns';
import { fusedLayerNorm, reversible, wrapped } from './residual';
import { attentionMask, iterativePinv, maskUtils } from './utilities';

/** By the `block` of a case. */
export const players: Readonly<Record<string, Player>> = {
  scaled_dot_product: attention,
  local: attention,
  global: attention,
  orthoformer: attention,
  blocksparse,
  compositional,
  favor,
  feature_map: featureMap,
  lambda: attention,
  pooling: attention,
  visual: attention,
  random,
  linformer: attention,
  nystrom: attention,
  fourier_mix: attention,
  sparse,
  multi_head_dispatch: multiHeadDispatch,
  input_projection: inputProjection,
  timm_sparse_attention: timmSparseAttention,
  MLP: feedforward,
  FusedMLP: feedforward,
  Conv2DFeedforward: feedforward,
  SwiGLU: feedforward,
  MixtureOfExperts: mixtureOfExperts,
  activation,
  sine: position,
  vocab: position,
  learnable: position,
  pattern,
  patch_embedding: patchEmbedding,
  simplicial_embedding: simplicialEmbedding,
  rotary: rotaryEmbedding,
  Residual: wrapped,
  PreNorm: wrapped,
  PostNorm: wrapped,
  reversible,
  FusedLayerNorm: fusedLayerNorm,
  encoder_block: encoderBlock,
  decoder_block: decoderBlock,
  xformer: model,
  mask_utils: maskUtils,
  attention_mask: attentionMask,
  iterative_pinv: iterativePinv,
};
