// Sample applications of the ops of normalization.ts.
import type { CaseInput, OpCase } from '../testing/op-suite';
import { groupNorm, layerNorm, rmsNorm } from './normalization';

const f = (dims: CaseInput['dims'], rest: Partial<CaseInput> = {}): CaseInput => ({ dtype: 'float32', dims, ...rest });
const d = (dims: CaseInput['dims'], values: readonly number[]): CaseInput => ({ dtype: 'float64', dims, values });

// Constants of an op's definition are rounded to the dtype.
const rounded = {
  float32: { rtol: 1e-7, atol: 1e-7 },
  float16: { rtol: 1e-3, atol: 1e-3 },
  bfloat16: { rtol: 1e-2, atol: 1e-2 },
};

const all: readonly OpCase[] = [
  { name: 'layerNorm', inputs: [f(['batch', 'seq', 5]), f([5]), f([5])], build: (_, x, s, b) => layerNorm(x, s, b) },
  { name: 'layerNorm: no bias', inputs: [f(['batch', 5]), f([5])], build: (_, x, s) => layerNorm(x, s) },
  {
    name: 'layerNorm: two axes, large epsilon',
    inputs: [f(['batch', 3, 5]), f([3, 5]), f([3, 5])],
    build: (_, x, s, b) => layerNorm(x, s, b, { axis: -2, epsilon: 0.3 }),
  },
  {
    name: 'layerNorm: scale and bias stretch',
    inputs: [f([2, 3, 5]), f([3, 1]), f([1])],
    build: (_, x, s, b) => layerNorm(x, s, b, { axis: 1 }),
  },
  {
    name: 'layerNorm: a symbolic axis',
    inputs: [f(['batch', 'n']), f(['n']), f(['n'])],
    build: (_, x, s, b) => layerNorm(x, s, b),
  },
  { name: 'layerNorm: nothing', inputs: [f([0, 5]), f([5]), f([5])], build: (_, x, s, b) => layerNorm(x, s, b) },
  {
    name: 'layerNorm: float16',
    inputs: [f(['n', 5], { dtype: 'float16' }), f([5], { dtype: 'float16' }), f([5], { dtype: 'float16' })],
    build: (_, x, s, b) => layerNorm(x, s, b),
  },
  {
    name: 'layerNorm: known values',
    inputs: [d([2, 3], [1, 2, 3, -4, 0, 4]), d([3], [1, 2, 3]), d([3], [0, 0.5, 1])],
    build: (_, x, s, b) => layerNorm(x, s, b, { epsilon: 0 }),
    // The rows are ±√(3/2) around their mean.
    expected: [[-Math.sqrt(1.5), 0.5, 3 * Math.sqrt(1.5) + 1, -Math.sqrt(1.5), 0.5, 3 * Math.sqrt(1.5) + 1]],
  },
  { name: 'rmsNorm', inputs: [f(['batch', 'seq', 5]), f([5])], build: (_, x, s) => rmsNorm(x, s) },
  {
    name: 'rmsNorm: two axes, large epsilon',
    inputs: [f(['batch', 3, 5]), f([3, 5])],
    build: (_, x, s) => rmsNorm(x, s, { axis: -2, epsilon: 0.3 }),
  },
  { name: 'rmsNorm: nothing', inputs: [f([0, 5]), f([5])], build: (_, x, s) => rmsNorm(x, s) },
  {
    name: 'rmsNorm: bfloat16',
    inputs: [f(['n', 5], { dtype: 'bfloat16' }), f([5], { dtype: 'bfloat16' })],
    build: (_, x, s) => rmsNorm(x, s),
  },
  {
    name: 'rmsNorm: known values',
    inputs: [d([1, 2], [3, -4]), d([2], [1, 2])],
    build: (_, x, s) => rmsNorm(x, s, { epsilon: 12.5 }),
    expected: [[3 / 5, -8 / 5]],
  },
  {
    name: 'groupNorm',
    inputs: [f(['batch', 6, 'h', 'w']), f([6]), f([6])],
    build: (_, x, s, b) => groupNorm(x, s, b, { groups: 3 }),
  },
  {
    name: 'groupNorm: one group',
    inputs: [f(['batch', 5, 3]), f([5]), f([5])],
    build: (_, x, s, b) => groupNorm(x, s, b, { groups: 1 }),
  },
  {
    name: 'groupNorm: no places, large epsilon',
    inputs: [f(['batch', 6]), f([6]), f([6])],
    build: (_, x, s, b) => groupNorm(x, s, b, { groups: 2, epsilon: 0.3 }),
  },
  {
    name: 'groupNorm: known values',
    inputs: [d([1, 4, 1], [1, 3, 10, 30]), d([4], [1, 2, 3, 4]), d([4], [0, 0, 5, 5])],
    build: (_, x, s, b) => groupNorm(x, s, b, { groups: 2, epsilon: 0 }),
    expected: [[-1, 2, 2, 9]],
  },
];

export const cases: readonly OpCase[] = all.map((c) => ({
  tolerance: rounded[c.inputs[0]!.dtype as keyof typeof rounded] ?? {},
  ...c,
}));
