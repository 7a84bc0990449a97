// What a runtime does with single ops of the standard at the edges of dtypes and sizes.
import * as ort from 'onnxruntime-node';
import { expect, it } from 'vitest';
import { compile } from '../compile/compile';
import type { Value } from '../ir/graph';
import { module } from '../module/module';
import * as ops from '../ops/index';
import { createRunner } from '../runtime/runner';
import { tensor, toArray } from '../tensor/convert';
import type { Tensor } from '../tensor/tensor';
import { cpu } from './cpu';
import { portable } from './portable';

const each = [portable(18), portable(23), cpu] as const;

async function resultOf(target: (typeof each)[number], x: Tensor, f: (x: Value) => Value): Promise<number[]> {
  const dtype = x.dtype as 'float32' | 'float16';
  const model = compile(
    module({}, ({ x }: Record<string, Value>) => ({ y: f(x!) })),
    { target, dtype, strictDtype: true, inputs: { x: [dtype, ['n', 'm'], 'data'] } },
  );
  const run = await createRunner(model, ort);
  try {
    return [...toArray((await run({ x })).y!).data];
  } finally {
    await run.dispose();
  }
}

it.each(each)('exponentials in float16 do not overflow: $name', async (target) => {
  const x = tensor('float16', [1, 3], [300, 11.5, -20]);
  const close = (got: readonly number[], expected: readonly number[]) =>
    got.forEach((y, i) => {
      expect(Math.abs(y - expected[i]!)).toBeLessThanOrEqual(2 ** -10 * Math.max(1, Math.abs(expected[i]!)));
    });
  const softplus = [300, 11.5, -20].map((v) => Math.max(v, 0) + Math.log1p(Math.exp(-Math.abs(v))));
  close(await resultOf(target, x, ops.softplus), softplus);
  close(
    await resultOf(target, x, ops.mish),
    [300, 11.5, -20].map((v, i) => v * Math.tanh(softplus[i]!)),
  );
  close(await resultOf(target, x, (v) => ops.logSumExp(v, [1])), [300]);
});

it.each(each)('sums by scattering, and tests for infinity, run in float16: $name', async (target) => {
  const x = tensor('float16', [2, 2], [1, 2, 3, Number.POSITIVE_INFINITY]);
  const added = (v: Value) => {
    const [rows, places] = [
      [0, 1],
      [0, 0],
    ].map((list) => v.graph.root.number(list, 'int64')) as [Value, Value];
    const finite = ops.where(ops.isInf(v), 4, v);
    return ops.scatterND(finite, ops.reshape(places, [2, 1]), ops.gather(finite, rows), 'add');
  };
  expect(await resultOf(target, x, added)).toEqual([1 + 1 + 3, 2 + 2 + 4, 3, 4]);
});

it.each(each)('the mean of nothing is 0, and the greatest of nothing is refused: $name', async (target) => {
  const nothing = tensor('float32', [2, 0], []);
  expect(await resultOf(target, nothing, (x) => ops.reduceMean(x, [1]))).toEqual([0, 0]);
  await expect(resultOf(target, nothing, (x) => ops.cast(ops.argMax(x, 1), 'float32'))).rejects.toThrow(
    /no elements to choose from; expected 1 or more, got 0 \(m\)/,
  );
});
