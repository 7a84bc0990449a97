import * as ort from 'onnxruntime-node';
import { expect, it } from 'vitest';
import { compile } from '../compile/compile';
import { module } from '../module/module';
import * as ops from '../ops/index';
import { createRunner } from '../runtime/runner';
import { cpu } from '../targets/cpu';
import { webgpu } from '../targets/webgpu';
import { toArray, toTensor } from '../tensor/convert';

// The arithmetic of the CPU, with the refusals of WebGPU.
const target = { ...cpu, kernels: { ...cpu.kernels, Sin: webgpu.kernels.Sin!, Cos: webgpu.kernels.Cos! } };

it.each([1, 50, 8192, 300_000])('angles up to %d are reduced exactly', async (limit) => {
  const m = module({}, ({ x }) => ({ sine: ops.sin(x!), cosine: ops.cos(x!) }));
  const model = compile(m, { target, inputs: { x: ['float32', ['n']] }, weights: new Map() });
  expect(model.decisions.map((d) => d.chosen)).toEqual(['Sin → Sin after range reduction', 'Cos → Cos after range reduction']);
  const angles = Float64Array.from({ length: 5003 }, (_, i) => Math.fround(limit * (i / 2501 - 1)));
  const run = await createRunner(model, ort, { session: { graphOptimizationLevel: 'disabled' } });
  const { sine, cosine } = await run({ x: toTensor({ dtype: 'float32', dims: [5003], data: angles }) });
  await run.dispose();
  const worst = (got: Float64Array, f: (x: number) => number) =>
    got.reduce((most, y, i) => Math.max(most, Math.abs(y - f(angles[i]!))), 0);
  expect(worst(toArray(sine!).data, Math.sin)).toBeLessThan(2 ** -21);
  expect(worst(toArray(cosine!).data, Math.cos)).toBeLessThan(2 ** -21);
});
