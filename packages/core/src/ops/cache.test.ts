import * as ort from 'onnxruntime-node';
import { describe, expect, test } from 'vitest';
import { compile } from '../compile/compile';
import type { Value } from '../ir/graph';
import { module } from '../module/module';
import type { Ort } from '../runtime/ort';
import { createRunner } from '../runtime/runner';
import { cpu } from '../targets/cpu';
import { portable } from '../targets/portable';
import { tensor } from '../tensor/convert';
import { checkOp } from '../testing';
import { cacheAppend, tensorScatter } from './cache';
import { cases } from './cache.cases';
import { sub } from './elementwise';
import { GraphBuilder } from './vocabulary';

test.each(cases.map((c) => [c.name, c] as const))('%s', (_, c) => checkOp(c));

test('a growing cache is one Concat, a fixed one becomes a ScatterND where there is no TensorScatter', () => {
  const g = new GraphBuilder();
  const [past, rows, pastLengths] = [
    g.input('past', 'float32', ['batch', 3, 11, 5]),
    g.input('rows', 'float32', ['batch', 3, 'seq', 5]),
    g.input('past_lengths', 'int64', ['batch']),
  ];
  const defined = (y: Value): Value => y.producer!.op.decompose!(y.producer!.operands, y.producer!.attrs, y.graph.ops)[0]!;
  const grown = cacheAppend(past, rows);
  expect(grown.dims).toEqual(['batch', 3, 'seq + 11', 5]);
  expect(defined(grown).producer!.op.key).toBe('Concat');
  const fixed = cacheAppend(past, rows, pastLengths);
  expect(fixed.dims).toEqual(past.dims);
  expect(defined(fixed).producer!.op.key).toBe('TensorScatter');
  expect(defined(defined(fixed)).producer!.op.key).toBe('ScatterND');
});

describe('operands that do not fit', () => {
  const g = new GraphBuilder();
  const input = (...dims: (string | number)[]): Value => g.input(`x${g.inputs.length}`, 'float32', dims);
  const places = g.input('places', 'int32', ['batch']);
  test.each<readonly [string, () => Value]>([
    ['the cache does not have 4 axes', () => cacheAppend(input('batch', 11, 5), input('batch', 3, 5))],
    [
      'the update does not fit the cache; expected [batch, 3, rows, 5]',
      () => cacheAppend(input('batch', 3, 11, 5), input('batch', 3, 'seq', 7)),
    ],
    ['the dtypes differ', () => cacheAppend(input('batch', 3, 11, 5), g.input('half', 'float16', ['batch', 3, 'seq', 5]))],
    [
      'the update does not fit the cache; expected [batch, rows, 5]',
      () => tensorScatter(input('batch', 11, 5), input('other', 2, 5)),
    ],
    [
      'the update has more positions than the cache; expected at most 3, got 5',
      () => tensorScatter(input('batch', 3, 2), input('batch', 5, 2)),
    ],
    ['axis 0 is the batch', () => tensorScatter(input('batch', 3), input('batch', 3))],
    [
      'the start positions do not fit; expected int64[batch], got int32[batch]',
      () => tensorScatter(input('batch', 3, 2), input('batch', 1, 2), places),
    ],
  ])('%s', (message, build) => expect(build).toThrow(message));
  test('positions past the capacity are refused at run time', () => {
    const [cache, rows, start] = [input(1, 3, 2), input(1, 2, 2), g.input('start', 'int64', [1])];
    const { op, attrs } = tensorScatter(cache, rows, start).producer!;
    const array = (dims: number[], data: number[], dtype: 'float32' | 'int64' = 'float32') => ({
      dtype,
      dims,
      data: Float64Array.from(data),
    });
    const sizes = { of: Number };
    const run = () =>
      op.evaluate!(
        [array([1, 3, 2], [1, 2, 3, 4, 5, 6]), array([1, 2, 2], [7, 8, 9, 10]), array([1], [2], 'int64')],
        attrs,
        sizes,
      );
    expect(run).toThrow('a position is written outside of the cache; expected 0 to 2, got 3');
  });
});

describe('positions that the graph computes', () => {
  const inputs = { cache: ['float32', [2, 3, 1]], rows: ['float32', [2, 1, 1]], a: ['int64', [2]], b: ['int64', [2]] } as const;
  const feeds = (a: readonly number[], b: readonly number[]) => ({
    cache: tensor('float32', [2, 3, 1], [1, 2, 3, 4, 5, 6]),
    rows: tensor('float32', [2, 1, 1], [7, 8]),
    a: tensor('int64', [2], a),
    b: tensor('int64', [2], b),
  });
  const scatter = (circular: boolean) =>
    module({}, ({ cache, rows, a, b }: Record<string, Value>) => ({
      y: tensorScatter(cache!, rows!, sub(a!, b!), { axis: 1, circular }),
    }));
  test.each([
    ['portable', false],
    ['portable', true],
    ['cpu', false],
  ] as const)('are refused below 0 on %s (circular: %s)', async (name, circular) => {
    const model = compile(scatter(circular), { target: name === 'cpu' ? cpu : portable(18), inputs });
    const run = await createRunner(model, ort as unknown as Ort);
    const { y } = await run(feeds([2, 1], [0, 1]));
    expect([...y!.data]).toEqual([1, 2, 7, 8, 5, 6]);
    await expect(run(feeds([2, 1], [0, 2]))).rejects.toThrow(/scatter|indice/i);
    await run.dispose();
  });
});
