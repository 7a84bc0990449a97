// The projections of recurrent mixers whose queries, keys and values are linear in x.
import { type Dim, init, linear, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { wide } from './between-calls';

/** Widths of a mixer. */
export interface Widths {
  readonly dim: number;
  readonly heads: number;
  readonly headDim: number;
  readonly valueHeadDim: number;
}

/** The linear maps to queries, keys and values, and that of the result. */
export const projectionsOf = ({ dim, heads, headDim, valueHeadDim }: Widths, bias: boolean) => ({
  q_proj: linear(dim, heads * headDim, { bias, role: 'query' }),
  k_proj: linear(dim, heads * headDim, { bias, role: 'key' }),
  v_proj: linear(dim, heads * valueHeadDim, { bias, role: 'value' }),
  o_proj: linear(heads * valueHeadDim, dim, { bias, role: 'output', biasInit: init.zeros }),
});

/** [batch, seq, heads · width] → [batch, seq, heads, width] in float32 */
export function inHeads(x: Value, heads: number): Value {
  const [batch, seq, width] = x.dims as readonly [Dim, Dim, number];
  return wide(ops.reshape(x, [batch, seq, heads, width / heads]));
}

/** Results of heads, in float32, times silu(gate); in the dtype of the gate: [batch, seq, heads, width] → [batch, seq, heads · width] */
export const gatedHeads = (y: Value, gate: Value): Value =>
  ops.cast(ops.mul(ops.reshape(y, gate.dims), ops.silu(wide(gate))), gate.dtype);
