// Iterative computation of the pseudo-inverse of a matrix by products. Razavi et al. 2014

import type { Value } from '@onnxformers/core';
import { anObject, given } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';

/** Options of {@link pseudoInverse}. */
export interface PseudoInverseOptions {
  readonly iterations: number;
  /** The iteration starts from one factor for all matrices instead of one for each. */
  readonly sharedScale?: boolean;
}

/**
 * Computes the pseudo-inverse of matrices whose rows sum to 1 iteratively.
 *
 *     Z ← ¼ Z (13 I − K Z (15 I − K Z (7 I − K Z))), from Kᵀ / max column sum of K
 *
 * Shapes   K [..., n, n] → Z [..., n, n]
 * Dtypes   float32, float64
 * Cost     time O(iterations · n³), memory O(n²)
 * Throws   ShapeError when K is not square
 * Source   Razavi et al. 2014; in attention: Xiong et al. 2021, https://arxiv.org/abs/2102.03902
 * Lowers   everywhere: MatMul, ReduceSum and elementwise primitives, eight ops for each iteration of matrices up to 128 × 128
 * Example  const Z = pseudoInverse(softmax(matmul(q, swapLast(k))), { iterations: 6 });
 */
export function pseudoInverse(K: Value, options: PseudoInverseOptions): Value {
  given('pseudoInverse', { x: K, options }, { options: anObject });
  const { iterations, sharedScale = false } = options;
  const columnSums = ops.reduceSum(K, [-2]);
  let Z = ops.div(ops.swapLast(K), ops.reduceMax(columnSums, sharedScale ? K.dims.map((_, axis) => axis) : [-1]));
  for (let i = 0; i < iterations; i++) {
    const X = ops.matmul(K, Z);
    Z = timesShifted(ops.mul(Z, 0.25), 13, timesShifted(X, 15, timesShifted(X, 7, X)));
  }
  return Z;
}

/** Matrices of this size at most: the three constants of each model take 192 KiB of its file. */
const mostConstant = 128;

/** A (c I − B). Where matrices are so small that launching kernels takes longer than products, c I is a constant, and a product and a difference remain. */
function timesShifted(A: Value, c: number, B: Value): Value {
  const n = B.dims.at(-1)!;
  if (typeof n !== 'number' || n > mostConstant) return ops.sub(ops.mul(A, c), ops.matmul(A, B));
  return ops.matmul(A, ops.sub(ops.mul(ops.eye(A, n, A.dtype), c), B));
}
