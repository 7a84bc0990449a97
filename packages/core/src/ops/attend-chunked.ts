// Attention in chunks of queries: exact, with memory proportional to the number of keys instead of the number of pairs.
import { ceilDivDims, type Dim, mulDims } from '../dim/dim';
import type { Modifiers } from '../expression/step';
import { apply, type Value } from '../ir/graph';
import { computed } from '../mask/dense';
import { type Mask, type MaskFrame, mapMask, printMask } from '../mask/mask';
import { none } from '../mask/none';
import { keyRangeOfChunk, type MaskChunk, maskTensor, placesOfChunk } from '../mask/tensor';
import { Attend } from './attend';
import { decomposeAttend } from './attend-definition';
import type { AttendAttrs, AttendParts } from './attend-parts';
import { modifiedOf } from './modifiers';

/** Options of {@link attendInChunks}: those of Attend that it supports, and the size of a chunk. */
export interface ChunkOptions {
  readonly mask: Mask<Value>;
  readonly queryOffset?: Value | undefined;
  readonly bias?: Value | undefined;
  readonly sinks?: Value | undefined;
  readonly scale?: number | undefined;
  readonly softcap?: number | undefined;
  /** Functions of the scores and of the weights: the chunks are primitives. */
  readonly modifiers?: Modifiers<Value> | undefined;
  /** Queries in a chunk. */
  readonly rows: number;
  /** A name for the number of keys of a chunk, which no other size has. */
  readonly keysName: string;
}

/**
 * Attend, computed for `rows` queries at a time in a Loop, whose body is an Attend under the part of the mask that these queries need, to the keys from the first to the
 * last that the classes of the mask allow them: under a causal mask half of all pairs, of packed sequences their own.
 *
 * Shapes   as Attend; at least one query and one key
 * Cost     heads · rows · keys of a chunk, for each chunk; the largest value is heads · rows · kv_seq instead of heads · seq · kv_seq
 * Throws   as Attend
 * Source   Rabe and Staats 2021, https://arxiv.org/abs/2112.05682 (without their chunks of keys)
 * Lowers   everywhere: Loop, with a body that is lowered as an attention
 */
export function attendInChunks(q: Value, k: Value, v: Value, o: ChunkOptions): Value {
  const { root } = q.graph;
  const { gather, loop, reshape, size, slice, transpose } = root.ops;
  const { mask, queryOffset, bias, sinks, scale, softcap, modifiers, rows, keysName } = o;
  const [batch, heads, seq] = q.dims as [Dim, Dim, Dim];
  const frame = { graph: q.graph, batch, heads, seq, kvSeq: k.dims[2]!, queryOffset };
  const count = ceilDivDims(seq, rows);
  const body = (step: Value) => {
    const queries = rowsOfChunk(step, rows, seq);
    const keys = keysOfChunk(mask, frame, queries, keysName);
    const part = keys?.part ?? ((x: Value): Value => x);
    // By position, as kernels take them: the part is copied once, and not once more for each way to arrange heads.
    const some = (x: Value): Value => (keys ? swapped(part(swapped(x), 1)) : x);
    const parts = {
      q: gather(q, queries, 2),
      k: some(k),
      v: some(v),
      ...(bias && { bias: part(gather(bias, queries, 2), 3) }),
      ...(sinks && { sinks }),
    };
    const chunk = { queries, ...(keys && { keys }) };
    const keep = maskTensor(mask, frame, chunk);
    const own = keep ? computed(keep, `${printMask(mask)} (a chunk of queries)`) : none;
    if (!modifiers) return { carried: [], scans: [attendTo({ ...parts, mask: own }, { scale, softcap })] };
    const at = placesOfChunk(mask, frame, chunk);
    const y = decomposeAttend({ ...parts, mask: own }, { scale, softcap }, root.ops, {
      ...(modifiers.scores && { scores: (x) => modifiedOf(modifiers.scores!, x, at) }),
      ...(modifiers.weights && { weights: (x) => modifiedOf(modifiers.weights!, x, at) }),
    });
    return { carried: [], scans: y };
  };
  const [chunks] = loop(root, { trips: size(root, count), count, carried: [], body }).scans as [Value];
  const whole = reshape(transpose(chunks, [1, 2, 0, 3, 4]), [batch, heads, mulDims(count, rows), v.dims[3]!]);
  return slice(whole, { axes: [2], starts: [0], ends: [seq] });
}

/** An Attend that is not divided again. */
function attendTo({ q, k, v, mask, ...others }: AttendParts<Value>, attrs: Pick<AttendAttrs, 'scale' | 'softcap'>): Value {
  const operands = [q, k, v];
  const put = (x: Value): number => operands.push(x) - 1;
  const slots = Object.fromEntries(Object.entries(others).flatMap(([name, x]) => (x ? [[name, put(x)]] : [])));
  return apply(Attend, operands, { ...attrs, mask: mapMask(mask, put), slots, undivided: true })[0]!;
}

/** [batch, heads, seq, width] ↔ [batch, seq, heads, width] */
const swapped = (x: Value): Value => x.graph.ops.transpose(x, [0, 2, 1, 3]);

/** The indices of the queries of a chunk. The last chunk repeats the last query instead of going beyond it. */
function rowsOfChunk(step: Value, rows: number, seq: Dim): Value {
  const { root } = step.graph;
  const { add, clip, iota, mul, size, sub } = root.ops;
  return clip(add(mul(step, rows), iota(root, rows)), undefined, sub(size(root, seq), 1));
}

/** The keys of a chunk; undefined where it may attend to all of them. A kernel needs at least one, also for queries that attend to none. */
function keysOfChunk(mask: Mask<Value>, frame: MaskFrame, queries: Value, size: string): MaskChunk['keys'] {
  const { kvSeq } = frame;
  const { root } = frame.graph;
  const { add, cast, max, min, size: sizeOf, sliceBetween, sub } = root.ops;
  const range = keyRangeOfChunk(mask, frame, queries);
  if (!(range.start || range.end) || kvSeq === 0) return undefined;
  const all = sizeOf(root, kvSeq);
  const start = range.start ? max(min(cast(range.start, 'int64'), sub(all, 1)), 0) : root.number(0, 'int64');
  const end = range.end ? min(max(cast(range.end, 'int64'), add(start, 1)), all) : all;
  return { size, part: (x, axis) => sliceBetween(x, { axis, start, end, size }) };
}
