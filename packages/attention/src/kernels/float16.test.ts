// Scores and softmax of 16-bit floats are float32 in the plain definition and in blocks.
import {
  compile,
  createRunner,
  module,
  none,
  type Ort,
  slidingWindow,
  targets,
  toArray,
  toTensor,
  type Value,
} from '@onnxformers/core';
import { attendBlockwise } from '@onnxformers/core/lowering';
import { attendOp } from '@onnxformers/core/ops';
import * as node from 'onnxruntime-node';
import * as web from 'onnxruntime-web';
import { expect, it } from 'vitest';
import { kernels } from './index';

web.env.wasm.numThreads = 1;

const rows = (...firsts: number[]) =>
  toTensor({
    dtype: 'float16',
    dims: [1, 1, firsts.length, 8],
    data: Float64Array.from(firsts.flatMap((x) => [x, 0, 0, 0, 0, 0, 0, 0])),
  });

it.each([
  ['the plain definition', attendOp, none],
  ['blocks', attendBlockwise, slidingWindow({ left: 1, right: 1 })],
] as const)('%s', async (_, attend, mask) => {
  const model = module({}, ({ q, k, v }: Readonly<Record<string, Value>>) => ({ y: attend(q!, k!, v!, { mask, scale: 1 }) }));
  const type = ['float16', [1, 1, 'seq', 8]] as const;
  const compiled = compile(model, {
    target: targets.portable(21),
    dtype: 'float16',
    inputs: { q: type, k: type, v: type },
  });
  const run = await createRunner(compiled, node as unknown as Ort);
  // Scores 3003 and 3000: in 16 bits the first is 3004.
  const { y } = await run({ q: rows(3, 3), k: rows(1001, 1000), v: rows(0, 1) });
  await run.dispose();
  const weight = 1 / (1 + Math.exp(3));
  expect(Math.abs(toArray(y!).data[0]! - weight)).toBeLessThan(1e-4);
});

it.each([
  ['cpu', targets.cpu, node],
  ['wasm', targets.wasm, web],
] as const)('the kernels of %s', async (_, target, runtime) => {
  const model = module({}, ({ q, k, v }: Readonly<Record<string, Value>>) => ({
    y: attendOp(q!, k!, v!, { mask: none, scale: 1 }),
  }));
  const type = (n: number) => ['float16', [1, 1, n, 8]] as const;
  const compiled = compile(model, {
    target,
    dtype: 'float16',
    strictDtype: true,
    rules: kernels,
    inputs: { q: type(1), k: type(2), v: type(2) },
  });
  const run = await createRunner(compiled, runtime as unknown as Ort);
  const { y } = await run({ q: rows(3), k: rows(1001, 1000), v: rows(0, 1) });
  await run.dispose();
  expect(Math.abs(toArray(y!).data[0]! - 1 / (1 + Math.exp(3)))).toBeLessThan(1e-4);
});
