// Rows that are chosen one after another, each as orthogonal as possible to those before. Patrick et al. 2021, https://arxiv.org/abs/2106.05392
import type { Dim, Value } from '@onnxformers/core';
import { apply, defineOp, defineReasons, mismatch, operandsOf, printType, refuse, rule } from '@onnxformers/core/lowering';
import type { Ops } from '../recurrent/carry';

type MostOrthogonalAttrs = { readonly count: number };

const names = ['unit', 'first'] as const;

/** The high-level op behind {@link mostOrthogonal}. Operands: unit vectors, the index of the first one of each head. */
export const MostOrthogonal = defineOp<MostOrthogonalAttrs, typeof names>({
  key: 'onnxformers.MostOrthogonal',
  operands: names,
  attributes: { count: 'data' },
  infer(given, { count }) {
    const { unit, first } = operandsOf(names, given);
    if (unit.dims.length !== 4) throw mismatch('the vectors do not have 4 axes', '[batch, heads, n, dim]', printType(unit));
    const [batch, heads] = unit.dims as readonly [Dim, Dim];
    if (first.dtype !== 'int64' || first.dims.join() !== [batch, heads].join())
      throw mismatch('the first indices do not fit', printType({ dtype: 'int64', dims: [batch, heads] }), printType(first));
    return [{ dtype: 'int64', dims: [batch, heads, count] }];
  },
  decompose(given, { count }, ops) {
    const { unit, first } = operandsOf(names, given);
    if (count === 1) return [ops.unsqueeze(first, [2])];
    const { start, added } = steps(unit, first, ops);
    const [others] = ops.loop(unit.graph.root, {
      trips: unit.graph.root.number(count - 1, 'int64'),
      count: count - 1,
      carried: [start()],
      body: (_, largest) => {
        const next = leastOf(largest!, ops);
        return { carried: [added(largest!, next)], scans: [ops.squeeze(next, [2, 3])] };
      },
    }).scans as [Value];
    return [ops.concat([ops.unsqueeze(first, [2]), ops.transpose(others, [1, 2, 0])], 2)];
  },
  vjp: 'nonDifferentiable',
  evaluate(given, { count }) {
    const { unit, first } = operandsOf(names, given);
    const [batch, heads, n, dim] = unit.dims as readonly [number, number, number, number];
    const data = new Float64Array(batch * heads * count);
    for (let head = 0; head < batch * heads; head++) {
      const row = (i: number) => unit.data.subarray((head * n + i) * dim, (head * n + i + 1) * dim);
      const largest = new Float64Array(n);
      let chosen = first.data[head]!;
      for (let at = 0; at < count; at++) {
        if (at) chosen = largest.indexOf(largest.reduce((a, b) => Math.min(a, b)));
        data[head * count + at] = chosen;
        const other = row(chosen);
        for (let i = 0; i < n; i++) {
          const cosine = row(i).reduce((sum, x, c) => sum + x * other[c]!, 0);
          largest[i] = Math.max(largest[i]!, Math.abs(cosine));
        }
        largest[chosen] = taken;
      }
    }
    return [{ dtype: 'int64', dims: [batch, heads, count], data }];
  },
});

/** The cosine of chosen rows: more than any. */
const taken = 2;

/** The lowest index of a smallest number, int64 [batch, heads, 1, 1]. */
const leastOf = (largest: Value, ops: Ops): Value => ops.argMin(largest, 3);

/** What is kept from step to step: the largest |cosine| of each row to those that are chosen, [batch, heads, 1, n]. */
function steps(unit: Value, first: Value, ops: Ops) {
  const n = unit.dims[2]!;
  const columns = ops.swapLast(unit);
  const places = ops.reshape(ops.iota(unit, n), [1, 1, 1, n]);
  const cosines = (index: Value): Value => ops.abs(ops.matmul(ops.gatherND(unit, index, 2), columns));
  const without = (largest: Value, index: Value): Value => ops.where(ops.equal(places, index), taken, largest);
  const start = (): Value => {
    const index = ops.unsqueeze(first, [2, 3]);
    return without(cosines(index), index);
  };
  const added = (largest: Value, index: Value): Value => without(ops.max(largest, cosines(index)), index);
  return { start, added };
}

const own = defineReasons({
  manySteps: ({ steps, most }: { readonly steps: number; readonly most: number }) =>
    `${steps} steps would be too many nodes: at most ${most}`,
});

/** Seven nodes each. */
const mostSteps = 256;

/**
 * MostOrthogonal → its steps one after another, where each step of a Loop waits for the device: the steps are queued without waiting, and without the nodes
 * that a Loop needs to collect its results.
 */
export const useSteps = rule('MostOrthogonal → steps without a Loop', MostOrthogonal, (node, { waitsInLoops }) => {
  const { count } = node.attrs;
  if (!waitsInLoops) return undefined;
  if (count > mostSteps) return refuse(own.manySteps({ steps: count, most: mostSteps }));
  return {
    covers: node.outputs,
    emit(get) {
      const { ops } = node.graph;
      const [unit, first] = node.operands.map((v) => get(v!)) as [Value, Value];
      const { start, added } = steps(unit, first, ops);
      const chosen: Value[] = [];
      for (let largest: Value | undefined; chosen.length < count - 1; ) {
        largest = largest ? added(largest, chosen.at(-1)!) : start();
        chosen.push(leastOf(largest, ops));
      }
      return [ops.concat([ops.unsqueeze(first, [2]), ...chosen.map((index) => ops.squeeze(index, [3]))], 2)];
    },
  };
});

/**
 * The indices of rows of each head: a given one, then always the one whose largest |cosine| to those chosen before is the smallest, the first of equal ones.
 *
 * Shapes   unit vectors [batch, heads, n, dim] · first int64 [batch, heads] → int64 [batch, heads, count]; count ≤ n
 * Dtypes   float32
 * Throws   ShapeError when the operands do not fit
 * Lowers   cuda, webgpu: MatMul, ArgMin and others for each row · elsewhere: the same in a Loop
 */
export const mostOrthogonal = (unit: Value, first: Value, count: number): Value =>
  apply<MostOrthogonalAttrs>(MostOrthogonal, [unit, first], { count })[0]!;
