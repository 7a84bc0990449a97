// Recurrences in chunks: pairs of positions inside a chunk, one state between chunks.
import { addDims, type Dim, divDims, floorDivDims, mulDims, subDims, type Value } from '@onnxformers/core';
import { carry, type Ops } from './carry';
import { unitLowerInverse } from './unit-lower-inverse';

/** Positions in a chunk. */
const chunk = 64;
/** The same, where each channel decays by itself: pairs of positions are not a product of matrices then, without factors that could overflow. */
const chunkOfChannels = 16;

interface Operands {
  readonly q: Value;
  readonly k: Value;
  readonly v: Value;
  readonly past?: Value | undefined;
  readonly decay?: Value | undefined;
  readonly beta?: Value | undefined;
}

/**
 * The definition of a linear recurrence, for a chunk with the state H before it, L_i = Σ_{j ≤ i} decay_j and D_ij = exp(L_i − L_j) for j ≤ i, otherwise 0.
 * If each channel has a decay, (Q Kᵀ ∘ D)_ij = Σ_c Q_ic K_jc exp(L_ic − L_jc), and exp(L) multiplies the rows of a state.
 *
 *     Y = exp(L) Q H + (Q Kᵀ ∘ D) U      H' = exp(L_last) H + K̂ᵀ U      K̂_i = exp(L_last − L_i) K_i
 *
 * U = V, or with the delta rule U = T (β V) − T (β exp(L) K) H, where T = (1 + β K Kᵀ ∘ D below the diagonal)⁻¹.
 */
export function inChunks(
  { q, k, v, past, decay, beta }: Operands,
  update: 'sum' | 'delta',
  scale: number,
  ops: Ops,
): readonly Value[] {
  const [batch, seq, heads, m] = v.dims as readonly [Dim, Dim, Dim, Dim];
  const [shared, n] = [k.dims[2]!, k.dims[3]!];
  const group = divDims(heads, shared);
  const ofChannels = decay?.dims.length === 4;
  const longest = ofChannels ? chunkOfChannels : chunk;
  const rows = typeof seq === 'number' ? Math.max(1, Math.min(seq, longest)) : longest;
  // At least one, because the results of a Loop without steps have no sizes.
  const count = typeof seq === 'number' ? Math.max(1, Math.ceil(seq / rows)) : addDims(floorDivDims(seq, rows), 1);
  const whole = mulDims(count, rows);
  // [batch, seq, heads, width] → [chunks, batch, key_heads, group, rows, width]; positions that are added change nothing, because their keys are 0.
  const divided = (x: Value, each: Dim): Value => {
    const padded = whole === seq ? x : ops.pad(x, { axes: [1], before: [0], after: [subDims(whole, seq)] });
    return ops.transpose(ops.reshape(padded, [batch, count, rows, shared, each, x.dims[3]!]), [1, 0, 3, 4, 2, 5]);
  };
  const column = (x: Value): Value => divided(ops.unsqueeze(x, [3]), group);
  const [queries, keys, values] = [divided(q, 1), divided(k, 1), divided(v, group)];
  // [chunks, batch, key_heads, group, rows, 1 or n]
  const logs = decay && ops.cumSum(ofChannels ? divided(decay, group) : column(decay), 4);
  const last = logs && ops.slice(logs, { axes: [4], starts: [rows - 1], ends: [rows] });
  const scaled = (x: Value, by: Value | undefined): Value => (by ? ops.mul(x, ops.exp(by)) : x);
  const pairs = ofChannels ? pairsOfChannels(logs!, rows, ops) : pairsOfHeads(logs, rows, v, ops);
  const strength = beta && column(beta);
  const kept = scaled(keys, last && ops.sub(last, logs!));
  const [stored, erased] =
    update === 'delta' ? solved(keys, values, strength!, logs, pairs, ops) : ([values, undefined] as const);
  const summand = ops.matmul(ops.swapLast(kept), stored);
  const first = past
    ? ops.reshape(past, [1, batch, shared, group, n, m])
    : ops.fill(v, [1, batch, shared, group, n, m], 0, v.dtype);
  const summands = ops.expand(summand, [count, batch, shared, group, n, m]);
  const [before, end] = erased
    ? carry(ops.sub(spread(last, n, v, ops), ops.matmul(ops.swapLast(kept), erased)), summands, first, 'matrix')
    : last
      ? carry(ops.exp(ofChannels ? ops.swapLast(last) : last), summands, first, 'elements')
      : summed(summands, first, ops);
  const updates = erased ? ops.sub(stored, ops.matmul(erased, before)) : stored;
  const inside = ops.matmul(pairs(queries, keys, 'with the diagonal'), updates);
  const y = ops.mul(ops.add(ops.matmul(scaled(queries, logs), before), inside), scale);
  const rowsOf = ops.reshape(ops.transpose(y, [1, 0, 4, 2, 3, 5]), [batch, whole, heads, m]);
  return [ops.cropTo(rowsOf, 1, seq), ops.reshape(end, [batch, heads, n, m])];
}

/** Products of pairs of positions, times the decay from the second to the first; 0 where the second is later. */
type Pairs = (to: Value, from: Value, which: 'with the diagonal' | 'below the diagonal') => Value;

/** Whether one position of a chunk sees another: [rows, rows, …], with as many more axes of size 1. */
function visibility(rows: number, near: Value, more: readonly 1[], which: Parameters<Pairs>[2], ops: Ops): Value {
  const place = ops.iota(near, rows);
  const [to, from] = [ops.reshape(place, [rows, 1, ...more]), ops.reshape(place, [1, rows, ...more])];
  return which === 'with the diagonal' ? ops.lessOrEqual(from, to) : ops.less(from, to);
}

function pairsOfHeads(logs: Value | undefined, rows: number, near: Value, ops: Ops): Pairs {
  return (to, from, which) => {
    const visible = visibility(rows, near, [], which, ops);
    const pairs = ops.matmul(to, ops.swapLast(from));
    if (!logs) return ops.where(visible, pairs, 0);
    // The exponent of a later position could overflow.
    const exponents = ops.where(visible, ops.sub(logs, ops.swapLast(logs)), hidden);
    return ops.mul(pairs, ops.exp(exponents));
  };
}
/** exp of it is 0 in every dtype. */
const hidden = -1e4;

function pairsOfChannels(logs: Value, rows: number, ops: Ops): Pairs {
  const rank = logs.rank;
  const asTo = (x: Value): Value => ops.unsqueeze(x, [rank - 1]);
  const asFrom = (x: Value): Value => ops.unsqueeze(x, [rank - 2]);
  return (to, from, which) => {
    const visible = visibility(rows, logs, [1], which, ops);
    const decay = ops.exp(ops.where(visible, ops.sub(asTo(logs), asFrom(logs)), hidden));
    return ops.reduceSum(ops.mul(ops.mul(asTo(to), asFrom(from)), decay), [rank], { keepDims: false });
  };
}

// T β V and T β exp(L) K of the delta rule.
function solved(
  keys: Value,
  values: Value,
  strength: Value,
  logs: Value | undefined,
  pairs: Pairs,
  ops: Ops,
): readonly [stored: Value, erased: Value] {
  const lower = ops.mul(pairs(keys, keys, 'below the diagonal'), strength);
  const inverse = unitLowerInverse(lower);
  const erase = ops.mul(logs ? ops.mul(keys, ops.exp(logs)) : keys, strength);
  return [ops.matmul(inverse, ops.mul(values, strength)), ops.matmul(inverse, erase)];
}

// exp of the decay of a chunk on the diagonal of a matrix.
function spread(last: Value | undefined, n: Dim, near: Value, ops: Ops): Value {
  const place = ops.iota(near, n);
  const diagonal = ops.equal(ops.reshape(place, [n, 1]), ops.reshape(place, [1, n]));
  return last ? ops.where(diagonal, ops.exp(last), 0) : ops.cast(diagonal, near.dtype);
}

// Without decay the state is a sum.
function summed(summands: Value, first: Value, ops: Ops): readonly [before: Value, end: Value] {
  const before = ops.add(ops.cumSum(summands, 0, { exclusive: true }), first);
  return [before, ops.add(ops.reduceSum(summands, [0]), first)];
}
