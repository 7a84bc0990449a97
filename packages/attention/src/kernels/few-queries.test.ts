import { compile, mergeHeads, module, none, padded, splitHeads, targets, type Value } from '@onnxformers/core';
import { attendOp } from '@onnxformers/core/ops';
import { expect, it } from 'vitest';
import { attentionRules } from '../index';

const [heads, headDim] = [4, 16];
function opsOf(queries: number | string, asHeads: boolean): { keys: string[]; reasons: string[] } {
  const memory = ['float32', asHeads ? [1, heads, 1031, headDim] : [1, 1031, heads * headDim]] as const;
  const attention = module({}, ({ q, k, v }: Record<string, Value>) => {
    const split = (x: Value) => (asHeads ? x : splitHeads(x, heads, padded));
    return { y: mergeHeads(attendOp(splitHeads(q!, heads, padded), split(k!), split(v!), { mask: none }), padded) };
  });
  const inputs = { q: ['float32', [1, queries, heads * headDim]], k: memory, v: memory } as const;
  const { graph, decisions } = compile(attention, { target: targets.cpu, inputs, rules: attentionRules });
  return {
    keys: graph.nodes.map((n) => n.op.key),
    reasons: decisions.flatMap((d) => d.refused.map((r) => r.reason.text)),
  };
}

it('keys stored as heads are not copied for one query on the CPU', () => {
  const { keys, reasons } = opsOf(1, true);
  expect(keys.filter((key) => /Attention/.test(key))).toEqual([]);
  expect(reasons.join('\n')).toContain('for one query it would copy all 1031 keys and values to transpose them');
});
it.each([
  [1, false, 'Attention'],
  [769, false, 'com.microsoft.MultiHeadAttention'],
  ['seq', true, 'com.microsoft.MultiHeadAttention'],
] as const)('%s queries, keys as heads: %s: %s', (queries, asHeads, kernel) => {
  expect(opsOf(queries, asHeads).keys).toContain(kernel);
});
