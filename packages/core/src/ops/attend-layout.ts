// Attention under a layout of blocks: each block of queries over the blocks of keys that it attends to, and no others.
import { type Dim, subDims } from '../dim/dim';
import type { GraphBuilder, Value } from '../ir/graph';
import { place, placeOf, placesUpTo } from '../mask/places';
import { tensor } from '../tensor/convert';
import type { Tensor } from '../tensor/tensor';
import { attendGathered, rowsOfHeads } from './attend-gathered';

/** Which blocks of keys each block of queries attends to. */
export interface Layout {
  /** Layouts: one for all heads, or one for each. */
  readonly heads: number;
  /** Blocks of queries. */
  readonly count: number;
  readonly keyBlocks: number;
  /** Blocks of keys in ascending order, for the row head · count + block of queries. */
  readonly columns: readonly (readonly number[])[];
}

const known = new WeakMap<Tensor, Layout>();

/** The layout of flags, bool [1 or heads, query blocks, key blocks]; they are read once. */
export function layoutOf(flags: Tensor): Layout {
  const found = known.get(flags);
  if (found) return found;
  const [heads, count, keyBlocks] = flags.dims as [number, number, number];
  const columns = Array.from({ length: heads * count }, (): number[] => []);
  const data = flags.data as Uint8Array;
  for (let at = 0; at < data.length; at++) if (data[at] !== 0) columns[Math.floor(at / keyBlocks)]!.push(at % keyBlocks);
  const layout = { heads, count, keyBlocks, columns };
  known.set(flags, layout);
  return layout;
}

/** A layout that is known, and the mask beside it. */
export interface LayoutOptions {
  readonly layout: Layout;
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

/** Blocks of queries in buckets by the number of their blocks of keys, rounded up, or all blocks; rows without keys are in none. Blocks after the query are left out if causal. */
export function bucketsOf({ layout, causal }: Pick<LayoutOptions, 'layout' | 'causal'>): readonly Bucket[] {
  const { count, keyBlocks } = layout;
  const buckets = new Map<number, { rows: number[]; columns: (readonly number[])[] }>();
  for (const [row, all] of layout.columns.entries()) {
    const columns = causal ? all.filter((j) => j <= row % count) : all;
    if (columns.length === 0) continue;
    const width = Math.min(roundedUp(columns.length), keyBlocks);
    const bucket = buckets.get(width) ?? { rows: [], columns: [] };
    buckets.set(width, bucket);
    bucket.rows.push(row);
    bucket.columns.push(columns);
  }
  return [...buckets].map(([width, bucket]) => ({ width, ...bucket })).sort((a, b) => a.width - b.width);
}

/** A number of at most four significant bits: eight buckets for each factor of 2, and an eighth more blocks at most. */
function roundedUp(n: number): number {
  const step = 2 ** Math.max(0, Math.floor(Math.log2(n)) - 3);
  return Math.ceil(n / step) * step;
}

/** Keys that are computed for a query, on average. */
export function keysPerQuery(o: Pick<LayoutOptions, 'layout' | 'causal' | 'size'>): number {
  const { heads, count } = o.layout;
  const blocks = bucketsOf(o).reduce((sum, { width, rows }) => sum + width * rows.length, 0);
  return (blocks * o.size) / (heads * count);
}

/**
 * Attend under a layout of blocks, for as many queries as keys: the blocks of keys that each block of queries attends to are gathered beside it.
 *
 * Shapes   as Attend; seq at most query blocks · size and key blocks · size
 * Cost     time and memory proportional to the flags of the layout, and to an eighth more at most
 * Throws   ShapeError where a size cannot be read from the graph's inputs
 * Source   Child et al. 2019, https://arxiv.org/abs/1904.10509
 * Lowers   everywhere: Gather, and an attention of which the blocks of queries are the sequences
 */
export function attendLayout(q: Value, k: Value, v: Value, o: LayoutOptions): Value {
  const { concat, cropTo, fill, gather, pad, reshape } = q.graph.ops;
  const { layout, size } = o;
  const [batch, heads, seq] = q.dims as [Dim, number, Dim];
  const { heads: layouts, count, keyBlocks } = layout;
  const kvHeads = k.dims[1] as number;
  // With a layout for each head, the blocks of all heads are those of one.
  const perHead = layouts > 1;
  // Rows [batch, blocks, size, heads, head_dim]: a block of all heads, or of one.
  const inBlocks = (x: Value, blocks: number): Value => {
    const [, own, , dim] = x.dims as [Dim, number, Dim, Dim];
    const after = [subDims(blocks * size, seq)];
    if (perHead) return reshape(pad(x, { axes: [2], before: [0], after }), [batch, own * blocks, size, 1, dim]);
    return reshape(pad(rowsOfHeads(x), { axes: [1], before: [0], after }), [batch, blocks, size, own, dim]);
  };
  const blocks = { q: inBlocks(q, count), k: inBlocks(k, keyBlocks), v: inBlocks(v, keyBlocks) };
  const keyBlockOf = (row: number, column: number): number =>
    perHead ? Math.floor((Math.floor(row / count) * kvHeads) / heads) * keyBlocks + column : column;
  const buckets = bucketsOf(o);
  const width = v.dims[3]!;
  const parts = buckets.map((bucket) => attendBucket(blocks, bucket, { ...o, seq, count, keyBlocks, keyBlockOf }));
  const empty = fill(q, [batch, 1, size, perHead ? 1 : heads, width], 0, v.dtype);
  const order = buckets.flatMap(({ rows }) => rows);
  const at = new Array<number>(layouts * count).fill(0);
  for (const [i, row] of order.entries()) at[row] = i + 1;
  const places = q.graph.root.constant(tensor('int64', [at.length], at));
  const rows = gather(concat([empty, ...parts], 1), places, 1);
  if (perHead) return cropTo(reshape(rows, [batch, heads, count * size, width]), 2, seq);
  return rowsOfHeads(cropTo(reshape(rows, [batch, count * size, heads, width]), 1, seq));
}

interface BucketOptions extends LayoutOptions {
  readonly seq: Dim;
  readonly count: number;
  readonly keyBlocks: number;
  readonly keyBlockOf: (row: number, column: number) => number;
}

/** The results of the rows of a bucket, [batch, rows, size, heads or 1, v_head_dim]. */
function attendBucket(
  blocks: { readonly q: Value; readonly k: Value; readonly v: Value },
  bucket: Bucket,
  o: BucketOptions,
): Value {
  const { graph } = blocks.q;
  const { gather, reshape } = graph.ops;
  const { size, seq, keyBlocks, lengths, causal } = o;
  const { width, rows, columns } = bucket;
  const n = rows.length;
  const constant = (numbers: readonly number[], dims: readonly number[]): Value =>
    graph.root.constant(tensor('int64', dims, numbers));
  const filled = columns.map((own) => [...own, ...new Array<undefined>(width - own.length).fill(undefined)]);
  const keyBlock = constant(
    filled.flatMap((own, r) => own.map((c) => o.keyBlockOf(rows[r]!, c ?? 0))),
    [n * width],
  );
  const keysOf = (x: Value): Value => {
    const [batch, , , heads, dim] = x.dims as [Dim, Dim, Dim, Dim, Dim];
    return reshape(gather(x, keyBlock, 1), [batch, n, width * size, heads, dim]);
  };
  const queries = gather(blocks.q, constant([...rows], [n]), 1);
  const whole = !causal && !lengths && seq === keyBlocks * size && columns.every((own) => own.length === width);
  const keep = whole ? undefined : keptKeys(graph, bucket, o);
  return attendGathered(
    { queries, keys: keysOf(blocks.k), values: keysOf(blocks.v), keep },
    { scale: o.scale, softcap: o.softcap },
  );
}

/** Which keys exist and may be attended to, bool [1 or batch, rows, 1 or size, width · size]. */
function keptKeys(graph: GraphBuilder, { width, rows, columns }: Bucket, o: BucketOptions): Value {
  const { add, less, lessOrEqual, logicalAnd, reshape } = graph.ops;
  const { size, seq, count, keyBlocks, lengths, causal } = o;
  const n = rows.length;
  // A block of keys that does not exist begins after all others.
  const firstOfBlocks = columns.flatMap((own) => Array.from({ length: width }, (_, i) => (own[i] ?? keyBlocks) * size));
  const starts = graph.root.constant(tensor('int64', [n, width, 1], firstOfBlocks));
  const within = reshape(placesUpTo(graph, size), [1, 1, size]);
  const key = reshape(add(place(starts), within), [1, n, 1, width * size]);
  const real = lengths ? less(key, place(reshape(lengths, [lengths.dims[0]!, 1, 1, 1]))) : undefined;
  const exists = less(key, placeOf(graph, seq));
  const first = graph.root.constant(
    tensor(
      'int64',
      [n, 1],
      rows.map((row) => (row % count) * size),
    ),
  );
  const query = reshape(add(place(first), reshape(placesUpTo(graph, size), [1, size])), [1, n, size, 1]);
  return [exists, ...(real ? [real] : []), ...(causal ? [lessOrEqual(key, query)] : [])].reduce((a, b) => logicalAnd(a, b));
}
