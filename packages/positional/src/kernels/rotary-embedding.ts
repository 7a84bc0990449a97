// RotaryEmbedding on [batch, seq, heads · head_dim] (rows): the standard's form with three axes, and the kernel of com.microsoft for opsets below 23.
import { type Dim, divDims, mergeHeads, mulDims, padded, splitHeads, type Value } from '@onnxformers/core';
import { apply, defineOp, mismatch, operandsOf, printType, reasons, refuse, rule, unexpanded } from '@onnxformers/core/lowering';
import { RotaryEmbedding } from '@onnxformers/core/ops';

type RotaryEmbeddingAttrs = {
  readonly interleaved?: number | undefined;
  readonly num_heads: number;
  readonly rotary_embedding_dim?: number | undefined;
};

const names = ['x', 'positions', 'cos', 'sin'] as const;
/**
 * The kernel. Operands: rows [batch, seq, heads · head_dim], position_ids int64 [batch, seq], cos_cache and sin_cache [positions,
 * rotary_embedding_dim / 2].
 */
export const MicrosoftRotaryEmbedding = defineOp<RotaryEmbeddingAttrs, typeof names>({
  key: 'com.microsoft.RotaryEmbedding',
  operands: names,
  attributes: { interleaved: 'int', num_heads: 'int', rotary_embedding_dim: 'int' },
  asks([x], { interleaved, num_heads, rotary_embedding_dim }) {
    const headDim = divDims(x!.dims[2]!, num_heads);
    return {
      head_dim: headDim,
      'rotated channels': rotary_embedding_dim || headDim,
      interleaved: interleaved === 1,
      partial: !!rotary_embedding_dim && rotary_embedding_dim !== headDim,
    };
  },
  infer([x, positions]) {
    if (x?.dims.length !== 3) throw mismatch('an operand does not have 3 axes', '[batch, seq, heads · head_dim]', printType(x));
    if (positions?.dtype !== 'int64' || positions.dims.length !== 2)
      throw mismatch('the positions do not fit', 'int64[batch, seq]', printType(positions));
    return [x];
  },
  decompose: ([x, positions, cos, sin], { interleaved, num_heads, rotary_embedding_dim }, { rotaryEmbedding }) => [
    rotaryEmbedding(x!, cos!, sin!, positions, {
      interleaved: interleaved === 1,
      heads: num_heads,
      ...(rotary_embedding_dim && { rotaryDim: rotary_embedding_dim }),
    }),
  ],
});

const headsOf = (x: Value, numHeads: number | undefined): Dim => (x.rank === 4 ? x.dims[1]! : numHeads!);

/** RotaryEmbedding of heads [batch, heads, seq, head_dim] → RotaryEmbedding of rows [batch, seq, heads · head_dim], if the conversions to rows and back cancel with the surrounding ops. */
export const useRowsOfRotaryEmbedding = rule('RotaryEmbedding of 4 axes → RotaryEmbedding of 3 axes', RotaryEmbedding, (node) => {
  const { x, cos, sin, positions } = operandsOf(RotaryEmbedding, node.operands);
  if (x.rank === 3) return undefined;
  const heads = headsOf(x, node.attrs.num_heads);
  if (typeof heads !== 'number') return refuse(reasons.headCountsUnknown());
  return {
    covers: node.outputs,
    emit: (get) => {
      const operands = { x: mergeHeads(get(x), padded), cos: get(cos), sin: get(sin), positions: positions && get(positions) };
      return [splitHeads(apply(RotaryEmbedding, operands, { ...node.attrs, num_heads: heads })[0]!, heads, padded)];
    },
  };
});

/** RotaryEmbedding → the kernel of com.microsoft, which requires one table of angles for all sequences. */
export const useMicrosoftRotaryEmbedding = rule('RotaryEmbedding → com.microsoft.RotaryEmbedding', RotaryEmbedding, (node) => {
  const { x, cos, sin, positions } = operandsOf(RotaryEmbedding, node.operands);
  const heads = headsOf(x, node.attrs.num_heads);
  if (typeof heads !== 'number') return refuse(reasons.headCountsUnknown());
  const { interleaved, rotary_embedding_dim } = node.attrs;
  const [batch, seq] = [x.dims[0]!, x.rank === 4 ? x.dims[2]! : x.dims[1]!];
  const half = divDims(rotary_embedding_dim || (x.rank === 4 ? x.dims[3]! : divDims(x.dims[2]!, heads)), 2);
  // Angles for each position if all sequences have the same positions, otherwise for each position of each sequence.
  const alike = !positions && [cos, sin].every((angles) => unexpanded(angles).dims[0] === 1 && unexpanded(angles).rank === 3);
  const count = alike ? seq : mulDims(batch, seq);
  return {
    covers: node.outputs,
    emit: (get) => {
      const { expand, iota, reshape } = node.graph.ops;
      const rows = x.rank === 4 ? mergeHeads(get(x), padded) : get(x);
      const table = (angles: Value): Value =>
        positions ? get(angles) : reshape(get(alike ? unexpanded(angles) : angles), [count, half]);
      const counted = (): Value => reshape(iota(rows.graph, count), [alike ? 1 : batch, seq]);
      const places = positions ? get(positions) : expand(counted(), [batch, seq]);
      const y = apply(
        MicrosoftRotaryEmbedding,
        { x: rows, positions: places, cos: table(cos), sin: table(sin) },
        {
          interleaved,
          num_heads: heads,
          rotary_embedding_dim,
        },
      )[0]!;
      return [x.rank === 4 ? splitHeads(y, heads, padded) : y];
    },
  };
});

/** Rules for any block that emits RotaryEmbedding. */
export const kernels = [useRowsOfRotaryEmbedding, useMicrosoftRotaryEmbedding] as const;
