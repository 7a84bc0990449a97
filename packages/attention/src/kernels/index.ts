// The kernels of softmax attention, in the order in which they break ties.
import {
  useGroupQueryAttention,
  useGroupQueryAttentionWithIdleSinks,
  useGroupQueryAttentionWithRotation,
  useGroupQueryAttentionWithRotationAndIdleSinks,
} from './group-query-attention';
import {
  useMultiHeadAttention,
  useMultiHeadAttentionOnRepeatedHeads,
  useMultiHeadAttentionOnRepeatedHeadsOverBias,
  useMultiHeadAttentionOverBias,
  useMultiHeadAttentionWithBias,
  useMultiHeadAttentionWithBiasOverBias,
} from './multi-head-attention';
import { usePackedMultiHeadAttention, usePackedMultiHeadAttentionWithBias } from './packed-multi-head-attention';
import { usePagedAttention } from './paged-attention';
import { useAttention, useAttentionOverMask } from './standard-attention';

/** Rules that any mechanism which emits Attend brings. */
export const kernels = [
  usePackedMultiHeadAttentionWithBias,
  usePackedMultiHeadAttention,
  useMultiHeadAttentionWithBias,
  useMultiHeadAttention,
  usePagedAttention,
  useGroupQueryAttention,
  useGroupQueryAttentionWithRotation,
  useAttention,
  useMultiHeadAttentionWithBiasOverBias,
  useMultiHeadAttentionOverBias,
  useGroupQueryAttentionWithIdleSinks,
  useGroupQueryAttentionWithRotationAndIdleSinks,
  useAttentionOverMask,
  useMultiHeadAttentionOnRepeatedHeads,
  useMultiHeadAttentionOnRepeatedHeadsOverBias,
] as const;
