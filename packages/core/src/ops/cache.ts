// KV caches: appending to a growing cache, or writing into one of fixed capacity.
import { addDims, type Dim } from '../dim/dim';
import { defineOp, noFlops, printType, type TensorType } from '../ir/define-op';
import { apply, mismatch, type Value, type Vocabulary } from '../ir/graph';
import type { NDArray } from '../tensor/tensor';
import { accept, acceptAlike } from './accept';
import { axisOf } from './strides';

// ---- TensorScatter ------------------------------------------------------------------------------------------------------

type TensorScatterAttrs = { readonly axis?: number; readonly mode?: 'linear' | 'circular' };

const tensorScatterOperands = ['cache', 'rows', 'start?'] as const;
/** ONNX TensorScatter. Operands: cache, update, and for each sequence the position of the first new element, int64 [batch]; absent: 0. */
export const TensorScatter = defineOp<TensorScatterAttrs, typeof tensorScatterOperands>({
  key: 'TensorScatter',
  operands: tensorScatterOperands,
  flops: noFlops,
  since: 24,
  attributes: { axis: 'int', mode: 'string' },
  infer([cache, rows, start], attrs) {
    const [past, update] = acceptAlike([cache, rows], 'any') as [TensorType, TensorType];
    const axis = sequenceAxis(past, attrs);
    if (axis === 0) throw mismatch('axis 0 is the batch', 'another axis', '0');
    const expected = past.dims.with(axis, update.dims[axis] ?? 0);
    if (update.dims.length !== expected.length || update.dims.some((d, i) => d !== expected[i]))
      throw mismatch('the update does not fit the cache', `[${past.dims.with(axis, 'rows').join(', ')}]`, printType(update));
    const [count, capacity] = [update.dims[axis]!, past.dims[axis]!];
    if (typeof count === 'number' && typeof capacity === 'number' && count > capacity)
      throw mismatch('the update has more positions than the cache', `at most ${capacity}`, String(count));
    if (start && (start.dtype !== 'int64' || start.dims.length !== 1 || start.dims[0] !== past.dims[0]))
      throw mismatch('the start positions do not fit', `int64[${past.dims[0]}]`, printType(start));
    if (attrs.mode !== undefined && attrs.mode !== 'linear' && attrs.mode !== 'circular')
      throw mismatch('unknown mode', 'linear or circular', String(attrs.mode));
    return [past];
  },
  decompose: ([cache, rows, start], attrs, ops) => [scattered(cache!, rows!, start, attrs, ops)],
  evaluate: ([cache, rows, start], attrs) => [written(cache!, rows!, start, attrs)],
});

const sequenceAxis = ({ dims }: TensorType, { axis = -2 }: TensorScatterAttrs): number => axisOf(axis, dims.length);

// By ScatterND: one index for each position, over all axes up to that of the positions.
function scattered(
  cache: Value,
  rows: Value,
  start: Value | undefined,
  attrs: TensorScatterAttrs,
  { add, concat, expand, iota, less, mod, reshape, scatterND, size, where }: Vocabulary,
): Value {
  const { graph } = cache;
  const axis = sequenceAxis(cache, attrs);
  const leading = rows.dims.slice(0, axis + 1);
  // The indices along an axis, with size 1 on all others and a last axis of size 1.
  const along = (x: Value, i: number): Value => reshape(x, [...leading.map((d, k) => (k === i ? d : 1)), 1]);
  const places = (): Value => {
    const counted = along(iota(graph, leading[axis]!), axis);
    if (!start) return inside(counted);
    const first = add(counted, along(start, 0));
    // ScatterND counts a negative index from the end; one behind the last it refuses.
    return isChecked(start) ? inside(first) : where(less(first, graph.number(0, 'int64')), capacity(), inside(first));
  };
  const capacity = (): Value => reshape(size(graph, cache.dims[axis]!), [1]);
  const inside = (x: Value): Value => (attrs.mode === 'circular' ? mod(x, capacity()) : x);
  const index = leading.map((d, i) => expand(i === axis ? places() : along(iota(graph, d), i), [...leading, 1]));
  return scatterND(cache, concat(index, axis + 1), rows);
}

/** Whether every run checks that these positions are not negative, as those of an input with a limit are. */
const isChecked = ({ leaf, graph }: Value): boolean =>
  leaf?.kind === 'input' &&
  graph.root.limits.some(({ input, of = 'elements', min }) => input === leaf.name && of === 'elements' && Number(min) >= 0);

function written(cache: NDArray, rows: NDArray, start: NDArray | undefined, attrs: TensorScatterAttrs): NDArray {
  const axis = sequenceAxis(cache, attrs);
  const [count, capacity] = [rows.dims[axis]!, cache.dims[axis]!];
  const width = cache.dims.slice(axis + 1).reduce((n, d) => n * d, 1);
  const before = cache.dims.slice(1, axis).reduce((n, d) => n * d, 1);
  const data = cache.data.slice();
  for (let b = 0; b < cache.dims[0]!; b++)
    for (let p = b * before; p < (b + 1) * before; p++)
      for (let i = 0; i < count; i++) {
        const place = (start?.data[b] ?? 0) + i;
        const row = attrs.mode === 'circular' && place >= 0 ? place % capacity : place;
        if (row < 0 || row >= capacity)
          throw mismatch('a position is written outside of the cache', `0 to ${capacity - 1}`, String(row));
        data.set(rows.data.subarray((p * count + i) * width, (p * count + i + 1) * width), (p * capacity + row) * width);
      }
  return { ...cache, data };
}

/** Options of {@link tensorScatter}. */
export interface TensorScatterOptions {
  /** The axis of the positions, which is not the batch axis. Default -2. */
  readonly axis?: number;
  /** True: a ring buffer; positions beyond the capacity wrap around to 0. */
  readonly circular?: boolean;
}

/**
 * The cache with new positions written into it, for each sequence from its own position `start` on.
 *
 * Shapes   cache [batch, …, capacity, …], rows [batch, …, seq, …], start int64 [batch] (default 0) → like cache
 * Dtypes   any, both the same
 * Throws   ShapeError when the dims differ on an axis other than that of the positions
 * Lowers   cpu, wasm, cuda: TensorScatter · elsewhere: primitives
 */
export function tensorScatter(cache: Value, rows: Value, start?: Value, o: TensorScatterOptions = {}): Value {
  return apply(TensorScatter, [cache, rows, start], { axis: o?.axis ?? -2, mode: o?.circular ? 'circular' : 'linear' })[0]!;
}

// ---- CacheAppend --------------------------------------------------------------------------------------------------------

/** Attributes of {@link CacheAppend}. */
export type CacheAppendAttrs = { readonly form: 'growing' | 'fixed' };

const cacheAppendOperands = ['past', 'rows', 'pastLengths?'] as const;
/** The high-level op behind {@link cacheAppend}. Operands: past, new keys or values, and for a cache of fixed capacity past_lengths. */
export const CacheAppend = defineOp<CacheAppendAttrs, typeof cacheAppendOperands>({
  key: 'onnxformers.CacheAppend',
  operands: cacheAppendOperands,
  flops: noFlops,
  attributes: { form: 'data' },
  infer([past, rows, pastLengths], { form }) {
    for (const t of [past, rows])
      if (accept(t, 'any').dims.length !== 4)
        throw mismatch('the cache does not have 4 axes', '[batch, kv_heads, rows, head_dim]', printType(t));
    if (form === 'fixed') return TensorScatter.infer([past, rows, pastLengths], { axis: 2 });
    const [a, b] = acceptAlike([past, rows], 'any') as [TensorType, TensorType];
    const [batch, heads, before, width] = a.dims as [Dim, Dim, Dim, Dim];
    if (b.dims.some((d, i) => i !== 2 && d !== a.dims[i]))
      throw mismatch('the update does not fit the cache', `[${batch}, ${heads}, rows, ${width}]`, printType(b));
    return [{ dtype: a.dtype, dims: [batch, heads, addDims(before, b.dims[2]!), width] }];
  },
  decompose: ([past, rows, pastLengths], { form }, { concat }) => [
    form === 'fixed' ? tensorScatter(past!, rows!, pastLengths, { axis: 2 }) : concat([past, rows], 2),
  ],
});

/**
 * The keys or values of all positions so far: those of the cache and the new ones. Positions that are an input are checked before a run; of those that the
 * graph computes, the runtime refuses one outside of the cache.
 *
 * Shapes   growing: past [batch, kv_heads, past, head_dim], rows [batch, kv_heads, seq, head_dim] → [batch, kv_heads, past + seq, head_dim];
 *          with `past_lengths` int64 [batch], the positions in use: past [batch, kv_heads, capacity, head_dim] → the same, written from `past_lengths` on
 * Dtypes   any, both the same
 * Throws   ShapeError when batch, heads, head_dim or dtype differ
 * Lowers   portable: Concat · cpu, wasm, cuda: Concat, TensorScatter, GroupQueryAttention · webgpu: Concat, GroupQueryAttention
 */
export function cacheAppend(past: Value, rows: Value, pastLengths?: Value): Value {
  return apply<CacheAppendAttrs>(CacheAppend, [past, rows, pastLengths], { form: pastLengths ? 'fixed' : 'growing' })[0]!;
}
