// A linear recurrence as a parallel prefix: few large steps instead of many small ones.
import { type Dim, subDims, tensor, type Value } from '@onnxformers/core';
import { defineReasons, refuse, rule } from '@onnxformers/core/lowering';
import { Carry, type Ops } from './carry';

const own = defineReasons({
  sharedFactor: () => 'all steps have the same factor: its powers are not kept',
});

/**
 * Carry → products of neighbouring steps, then of pairs of them, and so on, where each step of a Loop waits for a device: ⌈log₂ steps⌉ passes over all steps. After a
 * pass with distance d, factor and summand of a step describe the last 2d steps together.
 *
 *     h[i + 1] = (A_i … A_0) h[0] + s_i      A_i … A_{i−2d+1} = (A_i … A_{i−d+1}) (A_{i−d} … A_{i−2d+1})
 */
export const useScan = rule('Carry → parallel prefix', Carry, ({ operands, attrs: { by }, outputs, graph }, context) => {
  if (!context.waitsInLoops) return undefined;
  const [factor, summand, first] = operands as readonly [Value, Value, Value];
  const steps = summand.dims[0]!;
  if (steps === 1) return undefined;
  if (factor.dims[0] !== steps) return refuse(own.sharedFactor());
  return {
    covers: outputs,
    emit(get) {
      const { ops } = graph;
      const times = by === 'matrix' ? ops.matmul : ops.mul;
      const [all, sums] =
        typeof steps === 'number'
          ? knownSteps(get(factor), get(summand), steps, times, ops)
          : unknownSteps(get(factor), get(summand), steps, times, ops);
      const after = ops.add(times(all, get(first)), sums);
      const last = subDims(steps, 1);
      const part = (from: Dim, to: Dim): Value => ops.slice(after, { axes: [0], starts: [from], ends: [to] });
      return [ops.concat([get(first), part(0, last)], 0), part(last, steps)];
    },
  };
});

type Times = (a: Value, b: Value) => Value;
type Pair = readonly [factor: Value, summand: Value];

function knownSteps(factor: Value, summand: Value, steps: number, times: Times, ops: Ops): Pair {
  let [all, sums] = [factor, summand];
  for (let distance = 1; distance < steps; distance *= 2) {
    const part = (x: Value, from: number, to: number): Value => ops.slice(x, { axes: [0], starts: [from], ends: [to] });
    const joined = (x: Value, f: (own: Value, earlier: Value) => Value): Value =>
      ops.concat([part(x, 0, distance), f(part(x, distance, steps), part(x, 0, steps - distance))], 0);
    const factors = part(all, distance, steps);
    sums = joined(sums, (own, earlier) => ops.add(own, times(factors, earlier)));
    all = joined(all, times);
  }
  return [all, sums];
}

/** 2^31 steps, more than a tensor can have. */
const mostPasses = 31;

// The passes are steps of a Loop, as few as the logarithm of the number of steps.
function unknownSteps(factor: Value, summand: Value, steps: Dim, times: Times, ops: Ops): Pair {
  const { graph: g } = summand;
  const distances = g.root.constant(
    tensor(
      'int64',
      [mostPasses],
      Array.from({ length: mostPasses }, (_, i) => 2 ** i),
    ),
  );
  const trips = ops.reduceSum(ops.cast(ops.less(distances, ops.size(summand, steps)), 'int64'), [0], { keepDims: false });
  const places = ops.iota(summand, steps);
  const { carried } = ops.loop(g.root, {
    trips,
    count: usualPasses,
    carried: [factor, summand],
    body: (i, all, sums) => {
      const at = ops.sub(places, ops.gather(distances, i, 0));
      const earlier = (x: Value): Value => ops.gather(x, ops.max(at, 0), 0);
      const kept = (x: Value, joined: Value): Value => {
        const exists = ops.reshape(ops.greaterOrEqual(at, 0), [steps, ...x.dims.slice(1).map(() => 1)]);
        return ops.where(exists, joined, x);
      };
      return {
        carried: [kept(all!, times(all!, earlier(all!))), kept(sums!, ops.add(sums!, times(all!, earlier(sums!))))],
      };
    },
  });
  return [carried[0]!, carried[1]!];
}
/** Of 16,384 positions in chunks of 64; an estimate of operations reads it. */
const usualPasses = 8;
