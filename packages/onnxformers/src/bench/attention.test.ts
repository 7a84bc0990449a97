// The attention that is measured: how much it computes, and that each copy is computed.
import { compile, targets } from '@onnxformers/core';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type AttentionSizes, attentionChain, attentionFlops } from './attention';

const sizes: AttentionSizes = { batch: 2, heads: 3, kvHeads: 3, headDim: 5, seq: 7, causal: false };

it('counts the pairs that the mask allows', () => {
  const option = { kvSeq: fc.integer({ min: 1, max: 9 }), window: fc.integer({ min: 1, max: 9 }) };
  fc.assert(
    fc.property(
      fc.record({ seq: fc.integer({ min: 1, max: 7 }), causal: fc.boolean(), ...option }, { requiredKeys: ['seq', 'causal'] }),
      fc.option(fc.tuple(fc.nat(9), fc.nat(9)), { nil: undefined }),
      (s, lengths) => {
        const { seq, kvSeq = seq, causal, window } = s;
        let pairs = 0;
        for (const length of lengths ?? [kvSeq, kvSeq])
          for (let q = kvSeq - seq; q < kvSeq; q++)
            for (let k = 0; k < kvSeq; k++)
              if (k < length && (!causal || k <= q) && (window === undefined || q - k < window)) pairs++;
        const flops = attentionFlops({ ...sizes, ...s, ...(lengths && { lengths }) });
        if (causal && kvSeq === seq && window === undefined && !lengths) expect(flops).toBe((2 * 4 * 3 * 5 * (seq * seq)) / 2);
        else expect(flops).toBe(4 * 3 * 5 * pairs);
      },
    ),
  );
});

it.each<[string, Partial<AttentionSizes>]>([
  ['plain', {}],
  ['causal in a window', { causal: true, window: 3 }],
  ['of other keys', { kvSeq: 11 }],
  ['padded, with a bias and a cap', { kvSeq: 11, lengths: [4, 11], bias: true, softcap: 20 }],
])('is computed as often as it is copied: %s', (_, more) => {
  const calls = (copies: number) =>
    compile(attentionChain({ ...sizes, ...more }, copies), {
      target: targets.portable(),
      inputs: { shift: ['float32', [1]] },
    }).graph.nodes.filter((n) => n.op.key === 'Softmax').length;
  expect([1, 2, 5].map(calls)).toEqual([1, 2, 5]);
});
