// Cases of convolutions and pooling.
import type { CaseInput, OpCase } from '../testing/op-suite';
import { conv, convTranspose } from './conv';
import { averagePool, globalAveragePool, maxPool } from './pool';

const float = (...dims: CaseInput['dims']): CaseInput => ({ dtype: 'float32', dims });
const known = (dims: readonly number[], ...values: number[]): CaseInput => ({ dtype: 'float32', dims, values });

const convolutions: readonly OpCase[] = [
  {
    name: 'conv of a row, known elements',
    inputs: [known([1, 1, 5], 1, 2, 3, 4, 5), known([1, 1, 2], 10, 1)],
    build: (_, x, w) => conv(x!, w),
    expected: [[12, 23, 34, 45]],
  },
  {
    name: 'conv of a row',
    inputs: [float('batch', 3, 'seq'), float(2, 3, 5), float(2)],
    sizes: { seq: 13 },
    build: (_, x, w, b) => conv(x!, w, b, { pads: [1, 2], strides: 2 }),
  },
  {
    name: 'conv of a row, dilated',
    inputs: [float('batch', 2, 'seq'), float(3, 2, 2)],
    sizes: { seq: 11 },
    build: (_, x, w) => conv(x!, w, undefined, { dilations: 3, strides: 3 }),
  },
  {
    name: 'conv of a row, causal',
    inputs: [float('batch', 2, 'seq'), float(2, 1, 3)],
    build: (_, x, w) => conv(x!, w, undefined, { pads: [2, 0], group: 2 }),
  },
  {
    name: 'conv of an image',
    inputs: [float(2, 3, 'height', 'width'), float(5, 3, 3, 2), float(5)],
    sizes: { height: 7, width: 11 },
    build: (_, x, w, b) => conv(x!, w, b, { strides: [2, 3], pads: [1, 0, 2, 1], dilations: [1, 2] }),
  },
  {
    name: 'conv of an image, patches',
    inputs: [float(1, 2, 6, 4), float(3, 2, 3, 2)],
    build: (_, x, w) => conv(x!, w, undefined, { strides: [3, 2] }),
  },
  {
    name: 'conv of an image, in groups',
    inputs: [float(2, 4, 5, 3), float(6, 2, 3, 3)],
    build: (_, x, w) => conv(x!, w, undefined, { pads: 1, group: 2 }),
  },
  {
    name: 'conv of an image, each channel alone',
    inputs: [float(2, 3, 5, 7), float(3, 1, 3, 3), float(3)],
    build: (_, x, w, b) => conv(x!, w, b, { pads: 1, group: 3 }),
  },
  {
    name: 'conv that leaves a rest',
    inputs: [float(1, 1, 8), float(1, 1, 2)],
    build: (_, x, w) => conv(x!, w, undefined, { strides: 3 }),
  },
  { name: 'conv of no rows', inputs: [float(0, 2, 5), float(3, 2, 2)], build: (_, x, w) => conv(x!, w) },
];

const transposed: readonly OpCase[] = [
  {
    name: 'convTranspose of a row, known elements',
    inputs: [known([1, 1, 3], 1, 2, 3), known([1, 1, 2], 10, 1)],
    build: (_, x, w) => convTranspose(x!, w),
    expected: [[10, 21, 32, 3]],
  },
  {
    name: 'convTranspose of a row',
    inputs: [float('batch', 3, 'seq'), float(3, 2, 5), float(2)],
    build: (_, x, w, b) => convTranspose(x!, w, b, { strides: 2, pads: [1, 2], outputPadding: [1] }),
  },
  {
    name: 'convTranspose of an image',
    inputs: [float(2, 4, 'height', 3), float(4, 3, 3, 2)],
    build: (_, x, w) => convTranspose(x!, w, undefined, { strides: [2, 3], dilations: [2, 1], pads: [1, 0], group: 2 }),
  },
];

const pools: readonly OpCase[] = [
  {
    name: 'averagePool of a row',
    inputs: [float('batch', 2, 'seq')],
    sizes: { seq: 11 },
    build: (_, x) => averagePool(x!, 3, { strides: 2 }),
  },
  {
    name: 'averagePool of an image with pads left out',
    inputs: [float(2, 3, 'height', 5)],
    build: (_, x) => averagePool(x!, [3, 3], { pads: 1 }),
  },
  {
    name: 'averagePool of an image with pads',
    inputs: [float(2, 3, 5, 7)],
    build: (_, x) => averagePool(x!, [3, 2], { pads: [1, 0, 0, 1], strides: [1, 2], countPads: true }),
  },
  {
    name: 'averagePool, known elements',
    inputs: [known([1, 1, 3], 1, 2, 6)],
    build: (_, x) => averagePool(x!, 3, { pads: 1 }),
    expected: [[1.5, 3, 4]],
  },
  { name: 'globalAveragePool', inputs: [float('batch', 3, 'height', 5)], build: (_, x) => globalAveragePool(x!) },
  {
    name: 'maxPool of a row',
    inputs: [float('batch', 2, 'seq')],
    sizes: { seq: 11 },
    build: (_, x) => maxPool(x!, 3, { strides: 2, dilations: 2 }),
  },
  {
    name: 'maxPool of an image',
    inputs: [float(2, 3, 'height', 5)],
    build: (_, x) => maxPool(x!, [3, 2], { pads: [1, 0, 1, 1], strides: [2, 1] }),
  },
  {
    name: 'maxPool of negative numbers with pads',
    inputs: [known([1, 1, 3], -3, -1, -2)],
    build: (_, x) => maxPool(x!, 2, { pads: [1, 1], strides: 2 }),
    expected: [[-3, -1]],
  },
];

export const cases: readonly OpCase[] = [...convolutions, ...transposed, ...pools];
