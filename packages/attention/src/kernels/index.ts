// The kernels of softmax attention, in the order in which they break ties.
import { useGroupQueryAttention } from './group-query-attention';
import { useMultiHeadAttention, useMultiHeadAttentionWithBias } from './multi-head-attention';
import { useAttention } from './standard-attention';

/** Rules that any mechanism which emits Attend brings. */
export const kernels = [useMultiHeadAttentionWithBias, useMultiHeadAttention, useGroupQueryAttention, useAttention] as const;
