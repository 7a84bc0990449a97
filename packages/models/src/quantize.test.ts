import { fileURLToPath } from 'node:url';
import { compile, createRunner, targets, tensor, toArray } from 'onnxformers';
import * as ort from 'onnxruntime-node';
import { expect, it } from 'vitest';
import { fromPretrained, toPretrained } from './node';

const folder = fileURLToPath(new URL('../fixtures/llama', import.meta.url));
const ids = [5, 17, 2, 11];

it('quantises a checkpoint while it is read', async () => {
  const logits = [];
  for (const quantize of [undefined, 'int8', { bits: 4, roles: { head: 'int8', embedding: 'float16' } }] as const) {
    const { module, inputs, weights, formats } = await fromPretrained(folder, quantize && { quantize });
    expect(formats.size > 0).toBe(quantize !== undefined);
    const model = compile(module, { target: targets.cpu, inputs, weights });
    const maps = model.graph.nodes.filter((n) => n.op.key === 'com.microsoft.MatMulNBits').length;
    expect(maps).toBe([...formats].filter(([path, f]) => typeof f !== 'string' && !/embedding/.test(path)).length);
    const run = await createRunner(model, ort);
    const row = (x: readonly number[]) => tensor('int64', [1, x.length], x);
    logits.push(toArray((await run({ ids: row(ids), attention_mask: row(ids.map(() => 1)) })).logits!).data);
    await run.dispose();
  }
  const [exact, int8, mixed] = logits as [Float64Array, Float64Array, Float64Array];
  const norm = (x: Float64Array): number => Math.hypot(...x);
  const away = (x: Float64Array): number => norm(x.map((v, i) => v - exact[i]!)) / norm(exact);
  expect(away(int8)).toBeGreaterThan(0);
  expect(away(int8)).toBeLessThan(0.03);
  expect(away(mixed)).toBeGreaterThan(away(int8));
  expect(away(mixed)).toBeLessThan(0.4);
});

it('quantised weights are not written as a checkpoint', async () => {
  const model = await fromPretrained(folder, { quantize: 'int4' });
  await expect(toPretrained(model, '/nowhere')).rejects.toThrow('quantised weights have no names in a checkpoint');
});
