// Positions that the graph computes, so that the runner cannot check them: kernels of the CPU refuse one before the cache.
import { causal, compile, createRunner, module, RunError, targets, tensor, toArray, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { kernels } from './index';

const [batch, heads, capacity, headDim] = [2, 3, 7, 8];
const dims = (rows: number) => ['float32', [batch, heads, rows, headDim], 'data'] as const;
const filled = (rows: number, seed: number) => {
  const count = batch * heads * rows * headDim;
  return tensor(
    'float32',
    [batch, heads, rows, headDim],
    Array.from({ length: count }, (_, i) => Math.sin(1.3 * i + seed)),
  );
};

async function attending(seq: number) {
  const attention = module({}, ({ q, k, v, keys, values, places }: Readonly<Record<string, Value>>) => {
    const at = ops.sub(places!, 3);
    const [allKeys, allValues] = [ops.cacheAppend(keys!, k!, at), ops.cacheAppend(values!, v!, at)];
    return { y: ops.attendOp(q!, allKeys, allValues, { mask: causal, queryOffset: at }), allKeys, allValues };
  });
  const [now, cached] = [dims(seq), dims(capacity)];
  const inputs = { q: now, k: now, v: now, keys: cached, values: cached, places: ['int64', [batch], 'data'] } as const;
  const model = compile(attention, { target: targets.cpu, inputs, rules: kernels });
  const run = await createRunner(model, ort);
  const [q, k, v, keys, values] = [seq, seq, seq, capacity, capacity].map(filled);
  const at = (...places: number[]) =>
    run({ q: q!, k: k!, v: v!, keys: keys!, values: values!, places: tensor('int64', [batch], places) });
  return { at, ops: model.graph.nodes.map(({ op }) => op.key) };
}

describe.each([
  [1, 'com.microsoft.GroupQueryAttention'],
  [3, 'TensorScatter'],
])('%i queries, by %s', (seq, kernel) => {
  it('run from the first position on, and are refused before it', async () => {
    const { at, ops: made } = await attending(seq);
    expect(made).toContain(kernel);
    const { y } = await at(3, 5);
    expect(toArray(y!).data.every(Number.isFinite)).toBe(true);
    for (const places of [
      [2, 5],
      [5, 1],
      [-97, 3],
    ])
      await expect(at(...places), String(places)).rejects.toBeInstanceOf(RunError);
  });
});
