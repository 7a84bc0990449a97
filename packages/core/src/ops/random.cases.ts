// Sample applications of the ops of random.ts.
import { addDims } from '../dim/dim';
import type { CaseInput, OpCase } from '../testing/op-suite';
import { noise } from './random';

const run = (value: number): CaseInput => ({ dtype: 'int64', dims: [], values: [value] });
const sized: CaseInput = { dtype: 'float32', dims: ['batch', 'seq'] };

export const cases: readonly OpCase[] = [
  { name: 'noise: uniform', inputs: [run(0)], build: (_, r) => noise(r!, [0x12345678, 0x9abcdef0], [7, 5], 'uniform') },
  { name: 'noise: normal', inputs: [run(3)], build: (_, r) => noise(r!, [0xffffffff, 0], [11, 3], 'normal') },
  { name: 'noise: scalar', inputs: [run(2 ** 52)], build: (_, r) => noise(r!, [1, 2], [], 'uniform') },
  {
    name: 'noise: symbolic sizes',
    inputs: [run(1), sized],
    build: (_, r, x) => [
      noise(r!, [5, 7], [...x!.dims, 3], 'uniform'),
      noise(r!, [5, 7], [addDims(x!.dims[1]!, 1), x!.dims[0]!], 'normal'),
    ],
    differentiable: [],
  },
];
