import {
  compile,
  createRunner,
  interpret,
  mergeHeads,
  module,
  none,
  type Ort,
  padded,
  splitHeads,
  targets,
  toArray,
  toTensor,
  type Value,
} from '@onnxformers/core';
import { attendOp } from '@onnxformers/core/ops';
import { expectClose, randomArray } from '@onnxformers/core/testing';
import * as node from 'onnxruntime-node';
import { expect, it } from 'vitest';
import { attentionRules } from '../index';

const [heads, headDim] = [4, 16];
interface Sizes {
  readonly kvHeads?: number;
  readonly kv?: number | string;
}
function modelOf(queries: number | string, asHeads: boolean, { kvHeads = heads, kv = 1031 }: Sizes = {}) {
  const memory = ['float32', asHeads ? [1, kvHeads, kv, headDim] : [1, kv, kvHeads * headDim]] as const;
  const attention = module({}, ({ q, k, v }: Record<string, Value>) => {
    const split = (x: Value) => (asHeads ? x : splitHeads(x, kvHeads, padded));
    return { y: mergeHeads(attendOp(splitHeads(q!, heads, padded), split(k!), split(v!), { mask: none }), padded) };
  });
  const inputs = { q: ['float32', [1, queries, heads * headDim]], k: memory, v: memory } as const;
  return compile(attention, { target: targets.cpu, inputs, rules: attentionRules });
}
function opsOf(...args: Parameters<typeof modelOf>): { keys: string[]; reasons: string[] } {
  const { graph, decisions } = modelOf(...args);
  return {
    keys: graph.nodes.map((n) => n.op.key),
    reasons: decisions.flatMap((d) => d.refused.map((r) => r.reason.text)),
  };
}

it('keys stored as heads are not copied for one query on the CPU', () => {
  const { keys, reasons } = opsOf(1, true);
  // The heads of one query are moved by a Reshape; nothing moves keys.
  expect(keys).toEqual(['Reshape', 'Attention', 'Reshape']);
  expect(reasons.join('\n')).toContain('for one query it would copy all 1031 keys and values to transpose them');
});
it.each([
  [1, false, 'Attention'],
  [769, false, 'com.microsoft.MultiHeadAttention'],
  [769, true, 'com.microsoft.MultiHeadAttention'],
] as const)('%s queries, keys as heads: %s: %s', (queries, asHeads, kernel) => {
  expect(opsOf(queries, asHeads).keys).toContain(kernel);
});

it('where the number of queries is not known, few and many run different kernels', () => {
  const { decisions } = modelOf('seq', true, { kv: 'kv' });
  expect(decisions.filter((d) => d.op === 'onnxformers.Attend').map((d) => [d.where, d.chosen, d.variant])).toEqual([
    [undefined, 'Attend → by the number of queries', 'MultiHeadAttention for many'],
    ['seq <= 256', 'Attend → Attention', 'on heads'],
  ]);
});
it('as many queries as keys are not told apart, nor are keys as rows', () => {
  expect(opsOf('seq', true, { kv: 'seq' }).keys).toContain('com.microsoft.MultiHeadAttention');
  expect(opsOf('seq', false, { kv: 'kv' }).keys).toContain('com.microsoft.MultiHeadAttention');
});
it('shared key heads are not moved, in the whole and in chunks', () => {
  const { decisions } = modelOf('seq', true, { kv: 'kv', kvHeads: 2 });
  expect(decisions.filter((d) => d.chosen === 'Attend → Attention').map((d) => d.variant)).toEqual(['on heads', 'on heads']);
});

it.each([
  [1, 13, 4],
  [256, 5, 4],
  [257, 7, 4],
  [3, 11, 2],
  [521, 17, 2],
])('%s queries on %s keys of %s heads: the numbers', async (seq, kv, kvHeads) => {
  const model = modelOf('seq', true, { kv: 'kv', kvHeads });
  const arrays = {
    q: randomArray('q', [1, seq, heads * headDim], 'float32'),
    k: randomArray('k', [1, kvHeads, kv, headDim], 'float32'),
    v: randomArray('v', [1, kvHeads, kv, headDim], 'float32'),
  };
  const run = await createRunner(model, node as unknown as Ort);
  const feeds = Object.fromEntries(Object.entries(arrays).map(([name, a]) => [name, toTensor(a)]));
  const { y } = await run(feeds);
  const { y: expected } = interpret(model.traced, arrays);
  expectClose(toArray(y!), expected!, { atol: 1e-5, rtol: 1e-5 });
  await run.dispose();
});
