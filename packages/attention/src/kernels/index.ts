// The kernels of softmax attention.
import { useGroupQueryAttention } from './group-query-attention';
import { useMultiHeadAttention } from './multi-head-attention';
import { usePackedMultiHeadAttention } from './packed-multi-head-attention';
import { usePackedPagedAttention, usePagedWindow } from './packed-paged-attention';
import { usePaddedRows, useRestorePadding, useSlice } from './padded-rows';
import { usePagedAttention } from './paged-attention';
import { useAttention } from './standard-attention';

/** Rules for any mechanism that emits Attend. */
export const kernels = [
  useMultiHeadAttention,
  useGroupQueryAttention,
  useAttention,
  usePackedMultiHeadAttention,
  usePackedPagedAttention,
  usePagedWindow,
  usePaddedRows,
  useRestorePadding,
  useSlice,
  usePagedAttention,
] as const;

/** The kernels that a mechanism reaches whose attention has no mask, no cache of its own and no packed sequences. */
export const unmaskedKernels = [useMultiHeadAttention, useAttention] as const;
