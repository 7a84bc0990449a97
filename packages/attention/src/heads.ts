// Grouped heads, for mechanisms that do not attend.
import { type Dim, divDims, mulDims, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';

/** Repeats each head of keys or values for the query heads that share it: [batch, kv_heads, …] → [batch, heads, …]. */
export function perQueryHead(x: Value, q: Value): Value {
  const [batch, heads, rows, dim] = x.dims as [Dim, Dim, Dim, Dim];
  const group = divDims(q.dims[1]!, heads);
  if (group === 1) return x;
  return ops.reshape(ops.expand(ops.unsqueeze(x, [2]), [batch, heads, group, rows, dim]), [batch, q.dims[1]!, rows, dim]);
}

/** The product of rows of query heads with a matrix of each key head, [batch, heads, rows, n] · [batch, kv_heads, n, m]. */
export function timesKeyHead(x: Value, matrix: Value): Value {
  const [batch, heads, rows, n] = x.dims as [Dim, Dim, Dim, Dim];
  const [, kvHeads, , m] = matrix.dims as [Dim, Dim, Dim, Dim];
  const grouped = ops.reshape(x, [batch, kvHeads, mulDims(divDims(heads, kvHeads), rows), n]);
  return ops.reshape(ops.matmul(grouped, matrix), [batch, heads, rows, m]);
}
