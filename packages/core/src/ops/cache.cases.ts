// Sample applications of the ops of cache.ts.
import type { Dim } from '../dim/dim';
import type { CaseInput, OpCase } from '../testing/op-suite';
import { cacheAppend, tensorScatter } from './cache';

const float = (...dims: Dim[]): CaseInput => ({ dtype: 'float32', dims });
const int64 = (values: readonly number[]): CaseInput => ({ dtype: 'int64', dims: ['batch'], values });

export const cases: readonly OpCase[] = [
  {
    name: 'cache append, growing',
    inputs: [float('batch', 3, 'past', 2), float('batch', 3, 'seq', 2)],
    build: (_, past, rows) => cacheAppend(past!, rows!),
  },
  {
    name: 'cache append, growing from nothing',
    inputs: [float('batch', 3, 'past', 2), float('batch', 3, 'seq', 2)],
    build: (_, past, rows) => cacheAppend(past!, rows!),
    sizes: { past: 0 },
  },
  {
    name: 'cache append, fixed capacity',
    inputs: [float('batch', 3, 11, 5), float('batch', 3, 'seq', 5), int64([8, 0])],
    build: (_, past, rows, pastLengths) => cacheAppend(past!, rows!, pastLengths),
    sizes: { batch: 2, seq: 3 },
  },
  {
    name: 'cache append, fixed capacity, one row',
    inputs: [float('batch', 2, 'capacity', 3), float('batch', 2, 1, 3), int64([6, 0, 3])],
    build: (_, past, rows, pastLengths) => cacheAppend(past!, rows!, pastLengths),
    sizes: { batch: 3, capacity: 7 },
  },
  {
    name: 'cache append, no rows',
    inputs: [float('batch', 2, 7, 3), float('batch', 2, 'seq', 3), int64([6, 0])],
    build: (_, past, rows, pastLengths) => cacheAppend(past!, rows!, pastLengths),
    sizes: { batch: 2, seq: 0 },
  },
  {
    name: 'cache append, bool of fixed capacity',
    inputs: [
      { dtype: 'bool', dims: ['batch', 1, 5, 1], values: [1, 0, 1, 0, 1, 0, 0, 0, 0, 0] },
      { dtype: 'bool', dims: ['batch', 1, 2, 1], values: [0, 1, 1, 1] },
      int64([2, 0]),
    ],
    build: (_, past, rows, pastLengths) => cacheAppend(past!, rows!, pastLengths),
    sizes: { batch: 2 },
    expected: [[1, 0, 0, 1, 1, 1, 1, 0, 0, 0]],
  },
  {
    name: 'tensor scatter, circular',
    inputs: [float('batch', 'capacity', 3), float('batch', 2, 3), int64([4, 1])],
    build: (_, cache, rows, start) => tensorScatter(cache!, rows!, start, { circular: true }),
    sizes: { batch: 2, capacity: 5 },
  },
  {
    name: 'tensor scatter, from row 0 on another axis',
    inputs: [float('batch', 3, 2, 7, 5), float('batch', 3, 2, 7, 2)],
    build: (_, cache, rows) => tensorScatter(cache!, rows!, undefined, { axis: -1 }),
    sizes: { batch: 2 },
  },
];
