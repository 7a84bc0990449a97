// A linear recurrence from chunk to chunk, as an op with a gradient: a Loop has none.
import type { Dim, Value } from '@onnxformers/core';
import { apply, defineOp, mismatch, printType } from '@onnxformers/core/lowering';
import type * as vocabulary from '@onnxformers/core/ops';

/** All ops, as definitions receive them. */
export type Ops = typeof vocabulary;

type CarryAttrs = {
  /** Whether `factor` multiplies the elements of a state, or is a matrix. */
  readonly by: 'elements' | 'matrix';
};

/**
 * h[i + 1] = factor[i] h[i] + summand[i], from h[0] = `first`.
 *
 * Operands: factor [steps, …, n, n], for `elements` anything that broadcasts to the summand; summand [steps, …, n, m]; first [1, …, n, m].
 * Results: h[0] to h[steps − 1], like the summand, and h[steps], like `first`.
 */
export const Carry = defineOp<CarryAttrs>({
  key: 'onnxformers.Carry',
  results: ['before', 'last'],
  attributes: { by: 'data' },
  infer([factor, summand, first], { by }) {
    if (!factor || !summand || !first) throw mismatch('an operand is missing', 'factor, summand and first', 'fewer');
    if (first.dims.length !== summand.dims.length || first.dims.some((d, i) => d !== (i ? summand.dims[i] : 1)))
      throw mismatch('the first state does not fit the summands', `[1, ${summand.dims.slice(1).join(', ')}]`, printType(first));
    const n = summand.dims.at(-2)!;
    if (by === 'matrix' && (factor.dims.at(-1) !== n || factor.dims.at(-2) !== n))
      throw mismatch('the factors are not square matrices for the state', `[…, ${n}, ${n}]`, printType(factor));
    return [summand, first];
  },
  decompose: ([factor, summand, first], { by }, ops) => looped(factor!, summand!, first!, by, ops),
  vjp({ operands, outputs, attrs: { by } }, [ofBefore, ofLast], ops) {
    const [factor, summand, first] = operands as readonly [Value, Value, Value];
    const zeros = (like: Value): Value => ops.fill(like, like.dims, 0, like.dtype);
    // The gradient of h[i + 1] follows from that of h[i + 2]: the same recurrence, backwards.
    const transposed = by === 'matrix' ? ops.swapLast(factor) : factor;
    const [after, whole] = carry(
      backwards(transposed, ops),
      backwards(ofBefore ?? zeros(summand), ops),
      ofLast ?? zeros(first),
      by,
    );
    const ofSummand = backwards(after, ops);
    const before = outputs[0]!;
    const ofFactor =
      by === 'matrix' ? ops.matmul(ofSummand, ops.swapLast(before)) : summedTo(ops.mul(ofSummand, before), factor, ops);
    return [ofFactor, ofSummand, whole];
  },
  evaluate([factor, summand, first], { by }) {
    const [steps, n, m] = [summand!.dims[0]!, summand!.dims.at(-2)!, summand!.dims.at(-1)!];
    const size = first!.data.length;
    const before = new Float64Array(summand!.data.length);
    let state = first!.data.slice();
    const at = broadcastIndex(factor!.dims, summand!.dims);
    for (let i = 0; i < steps; i++) {
      before.set(state, i * size);
      const next = summand!.data.slice(i * size, (i + 1) * size);
      if (by === 'elements') for (let e = 0; e < size; e++) next[e]! += factor!.data[at(i * size + e)]! * state[e]!;
      else
        for (let e = 0; e < size; e++) {
          const [matrix, row, column] = [Math.floor(e / (n * m)), Math.floor(e / m) % n, e % m];
          const from = ((i * size) / (n * m) + matrix) * n * n + row * n;
          for (let k = 0; k < n; k++) next[e]! += factor!.data[from + k]! * state[(matrix * n + k) * m + column]!;
        }
      state = next;
    }
    return [
      { ...summand!, data: before },
      { ...first!, data: state },
    ];
  },
});

/** The element of a tensor of dims `from` that is broadcast to an index of `to`. */
function broadcastIndex(from: readonly number[], to: readonly number[]): (index: number) => number {
  const strides = from.map((_, i) => from.slice(i + 1).reduce((a, b) => a * b, 1));
  return (index) => {
    let [rest, place] = [index, 0];
    for (let axis = to.length - 1; axis >= 0; axis--) {
      if (from[axis] !== 1) place += (rest % to[axis]!) * strides[axis]!;
      rest = Math.floor(rest / to[axis]!);
    }
    return place;
  };
}

const backwards = (x: Value, { add, gather, iota, mul, size }: Ops): Value => {
  const steps = x.dims[0]!;
  return steps === 1 ? x : gather(x, add(mul(iota(x, steps), -1), add(size(x, steps), -1)), 0);
};

/** A sum over the axes along which `like` is broadcast. */
function summedTo(x: Value, like: Value, { reduceSum }: Ops): Value {
  const axes = x.dims.flatMap((d, i) => (d !== like.dims[i] ? [i] : []));
  return axes.length ? reduceSum(x, axes) : x;
}

function looped(factor: Value, summand: Value, first: Value, by: CarryAttrs['by'], ops: Ops): readonly Value[] {
  const { graph: g } = summand;
  const steps = summand.dims[0]!;
  const next = (a: Value, u: Value, state: Value): Value =>
    ops.add(by === 'matrix' ? ops.matmul(a, state) : ops.mul(a, state), u);
  if (steps === 1) return [first, next(factor, summand, first)];
  const here = (x: Value): Value => ops.reshape(x, x.dims.slice(1));
  const start = here(first);
  const { carried, scans } = ops.loop(g.root, {
    trips: ops.size(g, steps),
    count: steps,
    carried: [start],
    body: (i, state) => ({
      carried: [next(ops.gather(factor, i, 0), ops.gather(summand, i, 0), state!)],
      scans: [state!],
    }),
  });
  return [scans[0]!, ops.reshape(carried[0]!, first.dims as readonly Dim[])];
}

/**
 * The states of a linear recurrence before each step, and the last one. See {@link Carry}.
 *
 * Shapes   factor [steps, …, n, n] or broadcast to the summand, summand [steps, …, n, m], first [1, …, n, m] → like summand, like first
 * Throws   ShapeError when the operands do not fit
 * Lowers   everywhere: Loop with MatMul or Mul, one step by itself
 */
export const carry = (factor: Value, summand: Value, first: Value, by: CarryAttrs['by']): readonly [before: Value, last: Value] =>
  apply<CarryAttrs>(Carry, [factor, summand, first], { by }) as unknown as readonly [Value, Value];
