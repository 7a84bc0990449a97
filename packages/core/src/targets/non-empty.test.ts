// Products at sizes of 0, with and without the runtime's own optimisations. Memory that a kernel omits to write is not 0, because a larger run comes before.
import * as node from 'onnxruntime-node';
import * as web from 'onnxruntime-web';
import { describe, expect, it } from 'vitest';
import { compile } from '../compile/compile';
import type { Value } from '../ir/graph';
import { module } from '../module/module';
import * as ops from '../ops/index';
import type { Ort } from '../runtime/ort';
import { createRunner } from '../runtime/runner';
import { toTensor } from '../tensor/convert';
import { countOf } from '../tensor/tensor';
import { randomArray } from '../testing';
import { targets } from './index';

web.env.wasm.numThreads = 1;
type Dims = readonly (number | 'n')[];
type Product = (a: Value, b: Value) => Value;

const swapped = (x: Value): Value => ops.transpose(x, [...Array(x.rank - 2).keys(), x.rank - 1, x.rank - 2]);
const swappedDims = (dims: Dims): Dims => [...dims.slice(0, -2), dims.at(-1)!, dims.at(-2)!];
const same = (dims: Dims): Dims => dims;

/** Operands whose sum has n terms. */
const shapes: Readonly<Record<string, readonly [a: Dims, b: Dims]>> = {
  'two matrices': [
    [5, 'n'],
    ['n', 7],
  ],
  'two stacks': [
    [2, 5, 'n'],
    [2, 'n', 7],
  ],
  'a stack and a matrix': [
    [2, 5, 'n'],
    ['n', 7],
  ],
  'a matrix and a stack': [
    [5, 'n'],
    [2, 'n', 7],
  ],
  'stacks of stacks': [
    [3, 2, 5, 'n'],
    [3, 2, 'n', 7],
  ],
  'stacks that are repeated': [
    [3, 1, 5, 'n'],
    [3, 2, 'n', 7],
  ],
  'a stack and stacks': [
    [2, 5, 'n'],
    [3, 2, 'n', 7],
  ],
};
/** What the runtime makes one node with a product, and the dims that its operands then have. */
const forms: Readonly<Record<string, readonly [Product, a: (d: Dims) => Dims, b: (d: Dims) => Dims]>> = {
  plain: [(a, b) => ops.matmul(a, b), same, same],
  'left transposed': [(a, b) => ops.matmul(swapped(a), b), swappedDims, same],
  'right transposed': [(a, b) => ops.matmul(a, swapped(b)), same, swappedDims],
  'both transposed': [(a, b) => ops.matmul(swapped(a), swapped(b)), swappedDims, swappedDims],
  'scaled, right transposed': [(a, b) => ops.matmul(ops.mul(a, 0.37), swapped(b)), same, swappedDims],
  'result scaled': [(a, b) => ops.mul(ops.matmul(a, b), 0.37), same, same],
  'transposed before a function': [(a, b) => ops.matmul(ops.tanh(swapped(a)), b), swappedDims, same],
};

describe.each([
  [targets.portable(21), node],
  [targets.cpu, node],
  [targets.wasm, web],
] as const)('$name', (target, runtime) => {
  const sizesAt = (dims: Dims, n: number): number[] => dims.map((d) => (d === 'n' ? n : d));
  async function results(
    product: Product,
    a: Dims,
    b: Dims,
    graphOptimizationLevel: string,
  ): Promise<readonly (readonly number[])[]> {
    const larger = [4, 3, 2, 5, 7];
    const m = module({}, ({ before, a, b }: Readonly<Record<string, Value>>) => ({
      sum: ops.reduceSum(ops.mul(ops.exp(before!), 2), [0, 1, 2, 3, 4], { keepDims: false }),
      y: ops.abs(product(a!, b!)),
    }));
    const inputs = { before: ['float32', larger, 'data'], a: ['float32', a, 'data'], b: ['float32', b, 'data'] } as const;
    const run = await createRunner(compile(m, { target, inputs }), runtime as unknown as Ort, {
      session: { graphOptimizationLevel },
    });
    const called = (n: number) =>
      run({
        before: toTensor(randomArray('before', larger)),
        a: toTensor(randomArray('a', sizesAt(a, n))),
        b: toTensor(randomArray('b', sizesAt(b, n))),
      });
    await called(3);
    const { y } = await called(0);
    await run.dispose();
    return [y!.dims, Array.from(y!.data as Float32Array)];
  }

  describe.each(Object.entries(forms))('%s', (_, [product, ofA, ofB]) => {
    it.each(Object.entries(shapes))('a sum of no terms is 0: %s', async (_, [a, b]) => {
      const batch = [a, b]
        .map((d) => d.slice(0, -2))
        .sort((p, q) => q.length - p.length || countOf(q as number[]) - countOf(p as number[]))[0];
      const dims = [...(batch as number[]), 5, 7];
      for (const level of ['disabled', 'all'])
        expect(await results(product, ofA(a), ofB(b), level)).toEqual([dims, new Array(countOf(dims)).fill(0)]);
    });
  });
  it('no rows, moved from the front', async () => {
    const product: Product = (a, b) => ops.matmul(ops.transpose(a, [1, 2, 0, 3]), b);
    for (const level of ['disabled', 'all'])
      expect(await results(product, ['n', 2, 3, 5], [2, 3, 5, 7], level)).toEqual([[2, 3, 0, 7], []]);
  });
});
