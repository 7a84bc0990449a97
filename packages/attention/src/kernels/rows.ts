// Between heads [batch, heads, seq, head_dim] and the rows [batch, seq, heads · head_dim] that kernels take.
import { Linear, madeBy, mergeHeads, type Node, padded, Reshape, splitHeads, Transpose, type Value } from '@onnxformers/core';

/** Rows of heads; cancels with the split that made them. */
export const toRows = (heads: Value): Value => mergeHeads(heads, padded);
/** Heads of rows; cancels with the merge behind it. */
export const toHeads = (rows: Value, heads: number): Value => splitHeads(rows, heads, padded);

/** The linear map with a bias that made these heads, if nothing else stands between. */
export function biasedProjection(heads: Value): Node | undefined {
  const turned = madeBy(heads, Transpose);
  const split = turned && madeBy(turned.operands[0], Reshape);
  const linear = split && madeBy(split.operands[0], Linear);
  return linear?.operands[2] ? linear : undefined;
}
