// Cases of sizes as values, of arrays made from sizes, and of claims.

import { addDims, ceilDivDims, floorDivDims, mulDims, subDims } from '../dim/dim';
import type { CaseInput, OpCase } from '../testing/op-suite';
import { mul } from './elementwise';
import { eye, fill, iota, refine, shapeOf, size, sizes } from './shape';

const float = (...dims: CaseInput['dims']): CaseInput => ({ dtype: 'float32', dims });

export const cases: readonly OpCase[] = [
  {
    name: 'shapeOf',
    inputs: [float('batch', 'seq', 3)],
    differentiable: false,
    build: (_, x) => shapeOf(x!),
    expected: [[7, 5, 3]],
  },
  {
    name: 'shapeOf some axes',
    inputs: [float('batch', 'seq', 3)],
    differentiable: false,
    build: (_, x) => shapeOf(x!, 1, -1),
    expected: [[5]],
  },
  {
    name: 'size',
    inputs: [float('batch', 'seq')],
    differentiable: false,
    build: (g, x) => size(g, x!.dims[1]!),
    expected: [[5]],
  },
  {
    name: 'sizes: arithmetic',
    inputs: [float('batch', 'seq'), float('past')],
    sizes: { batch: 3, seq: 11, past: 5 },
    differentiable: false,
    build: (g, x, p) => {
      const [batch, seq, past] = [...x!.dims, ...p!.dims] as [string, string, string];
      return sizes(g, [
        batch,
        seq,
        13,
        mulDims(batch, seq),
        addDims(past, mulDims(2, seq), -1),
        subDims(mulDims(3, seq), past),
        floorDivDims(seq, 4),
        ceilDivDims(addDims(seq, past), 3),
        floorDivDims(subDims(past, seq), 4),
        floorDivDims(subDims(past, seq), batch),
        0,
      ]);
    },
    expected: [[3, 11, 13, 33, 26, 28, 2, 6, -2, -2, 0]],
  },
  {
    name: 'sizes solved for',
    inputs: [float('2*a + 1'), float('b + c', 'c')],
    sizes: { a: 7, b: 5, c: 3 },
    differentiable: false,
    build: (g, x, y) => sizes(g, [floorDivDims(subDims(x!.dims[0]!, 1), 2), subDims(y!.dims[0]!, y!.dims[1]!)]),
    expected: [[7, 5]],
  },
  {
    name: 'iota',
    inputs: [float('seq')],
    differentiable: false,
    build: (g, x) => iota(g, x!.dims[0]!),
    expected: [[0, 1, 2, 3, 4, 5, 6]],
  },
  {
    name: 'iota of nothing',
    inputs: [float('seq')],
    sizes: { seq: 0 },
    differentiable: false,
    build: (g, x) => iota(g, x!.dims[0]!, 'float32'),
  },
  { name: 'fill', inputs: [float('seq', 3)], build: (g, x) => mul(x!, fill(g, x!.dims, 2.5, 'float32')) },
  {
    name: 'eye',
    inputs: [float('n')],
    sizes: { n: 3 },
    differentiable: false,
    build: (g, x) => eye(g, x!.dims[0]!, 'float32'),
    expected: [[1, 0, 0, 0, 1, 0, 0, 0, 1]],
  },
  {
    name: 'refine',
    inputs: [float('past', 3), float('seq')],
    sizes: { past: 5, seq: 5 },
    build: (_, x, s) => refine(x!, [s!.dims[0]!, 3]),
  },
];
