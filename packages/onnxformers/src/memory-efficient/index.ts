// The ops level of xFormers: attention with its masks, and fused ops, inside graphs and directly on tensors.
export type { AttentionOptions, GraphBias } from './attention';
export { AttentionBias, type Batched, type Pages } from './attention-bias';
export {
  BlockDiagonalCausalFromBottomRightMask,
  BlockDiagonalCausalLocalAttentionFromBottomRightMask,
  BlockDiagonalCausalLocalAttentionMask,
  BlockDiagonalCausalMask,
  BlockDiagonalMask,
  PackedQueriesMask,
} from './block-diagonal-masks';
export {
  BlockDiagonalCausalWithOffsetGappyKeysMask,
  BlockDiagonalGappyKeysMask,
  PagedBlockDiagonalCausalWithOffsetGappyKeysMask,
  PagedBlockDiagonalGappyKeysMask,
} from './gappy-keys-masks';
/** Ops of xFormers inside graphs, by their names there. */
export * as xops from './graph-ops';
export type { TensorOperand } from './op-call';
export {
  BlockDiagonalCausalLocalAttentionPaddedKeysMask,
  BlockDiagonalCausalWithOffsetPaddedKeysMask,
  BlockDiagonalLocalAttentionPaddedKeysMask,
  BlockDiagonalPaddedKeysMask,
  PagedBlockDiagonalCausalWithOffsetPaddedKeysMask,
  PagedBlockDiagonalPaddedKeysMask,
} from './padded-keys-masks';
export { type BlockTables, PagedKeysMask } from './paged-keys-mask';
export type { Sequences } from './sequences';
export type { TensorBias } from './tensor-attention';
export { createOps, type OpSession, type OpsOptions, type TensorOps } from './tensor-ops';
export {
  LocalAttentionFromBottomRightMask,
  LowerTriangularFromBottomRightLocalAttentionMask,
  LowerTriangularFromBottomRightMask,
  LowerTriangularMask,
  LowerTriangularMaskWithTensorBias,
} from './triangular-masks';
