// Rotary embedding inside an attention kernel, which looks up the angles in tables over all positions.
import { type Dim, type Node, toArray, type Value } from '@onnxformers/core';
import {
  apply,
  defineReasons,
  type Get,
  type MatchContext,
  madeBy,
  operandsOf,
  type Refusal,
  reasons,
  refuse,
  unexpanded,
} from '@onnxformers/core/lowering';

/** Positions of the queries of an attention. */
export interface Places {
  /** int64 [batch]: the position of the first query; undefined if that is 0. */
  readonly queryOffset: Value | undefined;
  /** Number of positions. */
  readonly count: Dim;
}

/** A rotary embedding that a kernel can apply by itself. */
export interface Rotation {
  /** Queries and new keys before the rotation. */
  readonly q: Value;
  readonly k: Value;
  /** Values that are no longer needed if the kernel applies the rotation. */
  readonly absorbs: readonly Value[];
  readonly interleaved: boolean;
  /** Cosines and sines of all positions, [positions, rotary_dim / 2] each. */
  tables(get: Get): readonly [cos: Value, sin: Value];
}

const own = defineReasons({
  turnApart: () => 'queries and keys have different rotary embeddings',
  givenTables: () => 'its tables of angles must contain every position, and the length of these tables is fixed',
  angles: () => 'the angles are not computed from positions alone',
  positions: () => 'it counts positions from the query offset, but the given positions differ',
});

/** The rotary embedding of queries and new keys: undefined if there is none, refused if the kernel would rotate them differently. */
export function rotationOf(q: Value, k: Value, places: Places, context: MatchContext): Rotation | Refusal | undefined {
  const { ops } = q.graph;
  const [ofQuery, ofKey] = [madeBy(q, ops.RotaryEmbedding), madeBy(k, ops.RotaryEmbedding)];
  if (!ofQuery && !ofKey) return undefined;
  if (!ofQuery || !ofKey || q.rank !== 4 || !turnAlike(ofQuery, ofKey)) return refuse(own.turnApart());
  const [still, stillKey] = [operandsOfRotation(ofQuery), operandsOfRotation(ofKey)];
  const { cos, sin, positions } = still;
  const [headDim, pairs] = [q.dims[3], cos.dims.at(-1)];
  if (typeof headDim !== 'number' || typeof pairs !== 'number') return refuse(reasons.sizeUnknown({ size: 'rotated channels' }));
  if (positions) return refuse(own.givenTables());
  const [from, fromSin] = [sourceOf(cos), sourceOf(sin)];
  if (!from || from !== fromSin) return refuse(own.angles());
  if (!standAt(from, places)) return refuse(own.positions());
  const table = (angles: Value, get: Get): Value => {
    const rows = get(q).graph.root;
    return ops.reshape(ofPlaces(angles, from, ops.reshape(ops.iota(rows, places.count), [1, places.count]), get), [
      places.count,
      pairs,
    ]);
  };
  return {
    q: still.x,
    k: stillKey.x,
    absorbs: [q, k].filter((turned) => context.uses(turned) === 1),
    interleaved: ofQuery.attrs.interleaved === 1,
    tables: (get) => [table(cos, get), table(sin, get)],
  };
}

const operandsOfRotation = (node: Node) => operandsOf(node.graph.ops.RotaryEmbedding, node.operands);

function turnAlike(a: Node, b: Node): boolean {
  const interleaved = (node: Node): boolean => node.attrs.interleaved === 1;
  const [one, other] = [operandsOfRotation(a), operandsOfRotation(b)];
  return (['cos', 'sin', 'positions'] as const).every((name) => one[name] === other[name]) && interleaved(a) === interleaved(b);
}

// ---- Tables ---------------------------------------------------------------------------------------------------------

// Ops that compute each row of a table from its position and from values that are the same for all rows.
const rowwise: ReadonlySet<string> = new Set(['Cast', 'Add', 'Sub', 'Mul', 'Div', 'Cos', 'Sin']);
const isNumbers = (v: Value): boolean => v.rank <= 1 && (v.leaf?.kind === 'constant' || v.leaf?.kind === 'parameter');

/** The positions, int64 [batch or 1, seq], that a table [batch, seq, …] is computed from row by row. */
function sourceOf(table: Value): Value | undefined {
  if (table.dtype === 'int64') return table.rank === 2 ? table : undefined;
  const repeated = unexpanded(table);
  if (repeated !== table) return repeated.dims.slice(1).every((d, i) => d === table.dims[i + 1]) ? sourceOf(repeated) : undefined;
  const lifted = madeBy(table, table.graph.ops.Reshape);
  if (lifted) return lifted.operands[0]!.rank === 2 && table.dims[2] === 1 ? sourceOf(lifted.operands[0]!) : undefined;
  if (!table.producer || !rowwise.has(table.producer.op.key)) return undefined;
  const varying = table.producer.operands.filter((v): v is Value => v !== undefined && !isNumbers(v));
  return varying.length === 1 ? sourceOf(varying[0]!) : undefined;
}

/** The same table for other positions. */
function ofPlaces(table: Value, from: Value, places: Value, get: Get): Value {
  const { Expand, Reshape, reshape } = table.graph.ops;
  if (table === from) return places;
  if (isNumbers(table)) return get(table);
  if (madeBy(table, Expand)) return ofPlaces(unexpanded(table), from, places, get);
  const { op, operands, attrs } = table.producer!;
  const made = operands.map((v) => v && ofPlaces(v, from, places, get));
  return op === Reshape ? reshape(made[0]!, [...places.dims, 1]) : apply(op, made, attrs)[0]!;
}

// ---- Places ---------------------------------------------------------------------------------------------------------

/** True for positions queryOffset + 0, queryOffset + 1, … in each row of the batch. */
function standAt(positions: Value, { queryOffset }: Places): boolean {
  const sum = madeBy(positions, positions.graph.ops.Add);
  const parts = sum ? (sum.operands as readonly Value[]) : [positions];
  const firsts = parts.filter((v) => !counts(v));
  if (firsts.length === 0) return parts.length === 1 && (queryOffset === undefined || isAll(0, queryOffset));
  const seq = positions.dims[1];
  return (
    firsts.length === 1 &&
    (parts.length === 2 || seq === 1) &&
    queryOffset !== undefined &&
    bare(firsts[0]!) === bare(queryOffset)
  );
}

// A value without axes of size 1 and without repetition over the batch.
function bare(v: Value): Value {
  const { Expand, Reshape } = v.graph.ops;
  const moved = madeBy(v, Reshape) ?? madeBy(v, Expand);
  const inner = moved?.operands[0];
  return inner?.dims.every((d) => d === 1 || v.dims.includes(d)) ? bare(inner) : v;
}

// 0, 1, 2, … along the last axis, the same in all rows.
function counts(v: Value): boolean {
  const counted = bare(v);
  const seq = v.dims.at(-1)!;
  if (counted.leaf?.kind === 'constant') {
    const { data } = toArray(counted.leaf.tensor);
    return typeof seq === 'number' && data.length > 0 && data.every((n, i) => n === i % seq);
  }
  const { Range } = counted.graph.ops;
  const range = madeBy(counted, Range);
  if (!range || counted.dims[0] !== seq) return false;
  const { start, delta } = operandsOf(Range, range.operands);
  return isAll(0, start) && isAll(1, delta);
}

function isAll(number: number, v: Value): boolean {
  const { leaf } = bare(v);
  return leaf?.kind === 'constant' && toArray(leaf.tensor).data.every((n) => n === number);
}
