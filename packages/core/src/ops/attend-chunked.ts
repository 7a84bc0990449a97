// Attention in chunks of queries: exact, with memory proportional to the number of keys instead of the number of pairs.
import { ceilDivDims, type Dim, mulDims } from '../dim/dim';
import { apply, type Value } from '../ir/graph';
import { denseMask } from '../mask/dense';
import { defineMask, type Mask, printMask } from '../mask/mask';
import { none } from '../mask/none';
import { maskTensor } from '../mask/tensor';
import { Attend } from './attend';

/** A mask as a tensor for some of its queries. Not `dense`: nobody stated it as a tensor. */
const ofChunk = defineMask<'keep', { readonly of: string }>({
  ...denseMask.class.definition,
  name: 'chunk',
  print: ({ options: { of } }) => `${of} (a chunk of queries)`,
});

/** Options of {@link attendInChunks}: those of Attend that it supports, and the size of a chunk. */
export interface ChunkOptions {
  readonly mask: Mask<Value>;
  readonly queryOffset?: Value | undefined;
  readonly bias?: Value | undefined;
  readonly sinks?: Value | undefined;
  readonly scale?: number | undefined;
  readonly softcap?: number | undefined;
  /** Queries in a chunk. */
  readonly rows: number;
}

/**
 * Attend, computed for `rows` queries at a time in a Loop, whose body is an Attend under the part of the mask that these queries need.
 *
 * Shapes   as Attend; at least one query
 * Cost     as Attend; the largest value is heads · rows · kv_seq instead of heads · seq · kv_seq
 * Throws   as Attend
 * Source   Rabe and Staats 2021, https://arxiv.org/abs/2112.05682 (without their chunks of keys)
 * Lowers   everywhere: Loop, with a body that is lowered as an attention
 */
export function attendInChunks(q: Value, k: Value, v: Value, o: ChunkOptions): Value {
  const { root } = q.graph;
  const { add, clip, gather, iota, loop, mul, reshape, size, slice, sub, transpose } = root.ops;
  const { mask, queryOffset, bias, sinks, scale, softcap, rows } = o;
  const [batch, heads, seq] = q.dims as [Dim, Dim, Dim];
  const frame = { graph: q.graph, batch, heads, seq, kvSeq: k.dims[2]!, queryOffset };
  const count = ceilDivDims(seq, rows);
  const body = (step: Value) => {
    // The last chunk repeats the last query instead of going beyond it.
    const chunk = clip(add(mul(step, rows), iota(root, rows)), undefined, sub(size(root, seq), 1));
    const operands = [gather(q, chunk, 2), k, v];
    const put = (x: Value): number => operands.push(x) - 1;
    const keep = maskTensor(mask, frame, chunk);
    const slots = { ...(bias && { bias: put(gather(bias, chunk, 2)) }), ...(sinks && { sinks: put(sinks) }) };
    const y = apply(Attend, operands, {
      mask: keep ? ofChunk({ operands: { keep: put(keep) }, options: { of: printMask(mask) } }) : none,
      slots,
      scale,
      softcap,
      undivided: true,
    });
    return { carried: [], scans: y };
  };
  const [chunks] = loop(root, { trips: size(root, count), count, carried: [], body }).scans as [Value];
  const whole = reshape(transpose(chunks, [1, 2, 0, 3, 4]), [batch, heads, mulDims(count, rows), v.dims[3]!]);
  return slice(whole, { axes: [2], starts: [0], ends: [seq] });
}
