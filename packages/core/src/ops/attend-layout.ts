// Attention under a layout of blocks: each block of queries over the blocks of keys that it attends to, and no others.
import { type Dim, divDims, subDims } from '../dim/dim';
import type { Value } from '../ir/graph';
import { place, placeOf, placesUpTo } from '../mask/places';
import { rowHasKey } from '../mask/tensor';
import { tensor } from '../tensor/convert';
import type { NDArray } from '../tensor/tensor';
import { maskScores, scaledScores } from './attend-definition';
import { scaleOf } from './attend-parts';

/** A layout whose flags are known, and the mask beside it. */
export interface LayoutOptions {
  /** bool [1 or heads, query blocks, key blocks] */
  readonly layout: NDArray;
  /** Queries and keys in a block. */
  readonly size: number;
  readonly causal: boolean;
  /** int64 [batch] */
  readonly lengths?: Value | undefined;
  readonly scale?: number | undefined;
  readonly softcap?: number | undefined;
}

/** Blocks of queries with about the same number of blocks of keys. */
interface Bucket {
  /** Number of blocks of keys, some of which may not exist. */
  readonly width: number;
  /** Of all layouts one after another: head · query blocks + row. */
  readonly rows: readonly number[];
  /** Blocks of keys for each row. */
  readonly columns: readonly (readonly number[])[];
}

/** Blocks of queries in buckets whose widths are powers of two, or all blocks; rows without keys are in none. Blocks after the query are left out if causal. */
export function bucketsOf({ layout, causal }: Pick<LayoutOptions, 'layout' | 'causal'>): readonly Bucket[] {
  const [heads, count, keyBlocks] = layout.dims as [number, number, number];
  const buckets = new Map<number, { rows: number[]; columns: (readonly number[])[] }>();
  for (let row = 0; row < heads * count; row++) {
    const last = causal ? (row % count) + 1 : keyBlocks;
    const columns = Array.from({ length: Math.min(last, keyBlocks) }, (_, j) => j).filter(
      (j) => layout.data[row * keyBlocks + j] !== 0,
    );
    if (columns.length === 0) continue;
    const width = Math.min(2 ** Math.ceil(Math.log2(columns.length)), keyBlocks);
    const bucket = buckets.get(width) ?? { rows: [], columns: [] };
    buckets.set(width, bucket);
    bucket.rows.push(row);
    bucket.columns.push(columns);
  }
  return [...buckets].map(([width, bucket]) => ({ width, ...bucket })).sort((a, b) => a.width - b.width);
}

/** Keys that are computed for a query, on average. */
export function keysPerQuery(o: Pick<LayoutOptions, 'layout' | 'causal' | 'size'>): number {
  const [heads, count] = o.layout.dims as [number, number];
  const blocks = bucketsOf(o).reduce((sum, { width, rows }) => sum + width * rows.length, 0);
  return (blocks * o.size) / (heads * count);
}

/**
 * Attend under a layout of blocks, for as many queries as keys: the blocks of keys that each block of queries attends to are gathered beside it.
 *
 * Shapes   as Attend; seq at most query blocks · size and key blocks · size
 * Cost     time and memory proportional to the flags of the layout, to a factor below two
 * Throws   ShapeError where a size cannot be read from the graph's inputs
 * Source   Child et al. 2019, https://arxiv.org/abs/1904.10509
 * Lowers   everywhere: Gather, MatMul, Softmax
 */
export function attendLayout(q: Value, k: Value, v: Value, o: LayoutOptions): Value {
  const { concat, cropTo, fill, gather, pad, reshape } = q.graph.ops;
  const { layout, size } = o;
  const [batch, heads, seq] = q.dims as [Dim, number, Dim];
  const [layouts, count, keyBlocks] = layout.dims as [number, number, number];
  const kvHeads = k.dims[1] as number;
  // With a layout for each head, the blocks of all heads are those of one.
  const perHead = layouts > 1;
  const inBlocks = (x: Value, blocks: number): Value => {
    const whole = pad(x, { axes: [2], before: [0], after: [subDims(blocks * size, seq)] });
    const all = perHead ? [1, (x.dims[1] as number) * blocks] : [x.dims[1]!, blocks];
    return reshape(whole, [batch, ...all, size, x.dims[3]!]);
  };
  const blocks = { q: inBlocks(q, count), k: inBlocks(k, keyBlocks), v: inBlocks(v, keyBlocks) };
  const keyBlockOf = (row: number, column: number): number =>
    perHead ? Math.floor((Math.floor(row / count) * kvHeads) / heads) * keyBlocks + column : column;
  const buckets = bucketsOf(o);
  const width = v.dims[3]!;
  const empty = fill(q, [batch, perHead ? 1 : heads, 1, size, width], 0, v.dtype);
  const parts = buckets.map((bucket) => attendBucket(blocks, bucket, { ...o, seq, count, keyBlocks, keyBlockOf, full: [q, k] }));
  const order = buckets.flatMap(({ rows }) => rows);
  const at = Array.from({ length: layouts * count }, (_, row) => order.indexOf(row) + 1);
  const places = q.graph.root.constant(tensor('int64', [at.length], at));
  const rows = gather(concat([empty, ...parts], 2), places, 2);
  return cropTo(reshape(rows, [batch, heads, count * size, width]), 2, seq);
}

interface BucketOptions extends LayoutOptions {
  readonly seq: Dim;
  readonly count: number;
  readonly keyBlocks: number;
  readonly keyBlockOf: (row: number, column: number) => number;
  /** The queries and keys of the call. */
  readonly full: readonly [Value, Value];
}

/** The results of the rows of a bucket, [batch, heads or 1, rows, size, v_head_dim]. */
function attendBucket(
  blocks: { readonly q: Value; readonly k: Value; readonly v: Value },
  bucket: Bucket,
  o: BucketOptions,
): Value {
  const { graph } = blocks.q;
  const { ops } = graph;
  const { add, cast, gather, less, lessOrEqual, logicalAnd, matmul, reshape, softmax, transpose, where } = ops;
  const { size, seq, count, keyBlocks, lengths, causal } = o;
  const { width, rows, columns } = bucket;
  const n = rows.length;
  const constant = (numbers: readonly number[], dims: readonly number[]): Value =>
    graph.root.constant(tensor('int64', dims, numbers));
  const filled = columns.map((own) => [...own, ...new Array<undefined>(width - own.length).fill(undefined)]);
  const keyBlock = constant(
    filled.flatMap((own, r) => own.map((c) => o.keyBlockOf(rows[r]!, c ?? 0))),
    [n * width],
  );
  // A block of keys that does not exist begins after all others.
  const starts = constant(
    filled.flatMap((own) => own.map((c) => (c ?? keyBlocks) * size)),
    [n, width, 1],
  );
  const [batch, heads, , , dim] = blocks.q.dims as [Dim, number, Dim, Dim, Dim];
  const kvHeads = blocks.k.dims[1] as number;
  const group = divDims(heads, kvHeads) as number;
  const keysOf = (x: Value): Value => reshape(gather(x, keyBlock, 2), [batch, kvHeads, n, width * size, x.dims[4]!]);
  const queries = reshape(gather(blocks.q, constant([...rows], [n]), 2), [batch, kvHeads, group, n, size, dim]);
  const perRow = reshape(transpose(queries, [0, 1, 3, 2, 4, 5]), [batch, kvHeads, n, group * size, dim]);
  const scores = scaledScores(perRow, keysOf(blocks.k), scaleOf(o.full[1], o.scale), o.softcap, ops);

  const within = reshape(placesUpTo(graph, size), [1, 1, size]);
  const key = reshape(add(place(starts), within), [1, 1, n, 1, 1, width * size]);
  const real = lengths ? less(key, place(reshape(lengths, [lengths.dims[0]!, 1, 1, 1, 1, 1]))) : undefined;
  const exists = less(key, placeOf(graph, seq));
  const first = constant(
    rows.map((row) => (row % count) * size),
    [n, 1],
  );
  const query = reshape(add(place(first), reshape(placesUpTo(graph, size), [1, size])), [1, 1, n, 1, size, 1]);
  const keep = [exists, ...(real ? [real] : []), ...(causal ? [lessOrEqual(key, query)] : [])].reduce((a, b) => logicalAnd(a, b));
  const separate = reshape(scores, [batch, kvHeads, n, group, size, width * size]);
  const some = rowHasKey(keep);
  const weights = cast(softmax(maskScores(separate, keep, some, ops), -1), blocks.v.dtype);
  const values = keysOf(blocks.v);
  const y = matmul(reshape(weights, [batch, kvHeads, n, group * size, width * size]), values);
  const wide = values.dims[4]!;
  const shown = where(some, reshape(y, [batch, kvHeads, n, group, size, wide]), 0);
  return reshape(transpose(shown, [0, 1, 3, 2, 4, 5]), [batch, heads, n, size, wide]);
}
