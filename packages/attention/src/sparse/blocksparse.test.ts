import { expectClose, randomArray, runBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { attention, perHead } from '../plain.test-helper';
import { blocksparse } from './blocksparse';

const feeds = (seq: number) => ({
  q: randomArray('q', [2, 6, seq, 3]),
  k: randomArray('k', [2, 2, seq, 3]),
  v: randomArray('v', [2, 2, seq, 5]),
});
const one = [
  [
    [1, 0, 1],
    [0, 1, 0],
    [0, 0, 0],
  ],
];
// Six heads: the flags of head h are the bits of h + 1.
const each = Array.from({ length: 6 }, (_, h) => [0, 1, 2].map((r) => [0, 1, 2].map((c) => ((h + 1) >> ((r + c) % 3)) & 1)));

describe('blocksparse', () => {
  it.each([
    [{ layout: one, blockSize: 5 }, false, 1],
    [{ layout: each, blockSize: 5 }, false, 1],
    [{ layout: each, blockSize: 5, causal: true, scale: 0.5 }, true, 0.5],
  ] as const)('is what plain loops give (%#)', (config, causal, scale) => {
    // The last block is not full.
    const given = feeds(13);
    const { layout } = config;
    const expected = perHead(given.q, given.k, given.v, (q, k, v, _, h) => {
      const flags = layout[h % layout.length]!;
      const allowed = (i: number, j: number) => flags[Math.floor(i / 5)]![Math.floor(j / 5)]! === 1 && (!causal || j <= i);
      return attention(q, k, v, allowed, scale / Math.sqrt(3));
    });
    expectClose(runBlock(blocksparse(config as never), given).outputs.y!, expected, { rtol: 1e-6, atol: 1e-6 });
  });

  it('refuses layouts that are not square or of other heads, and longer sequences', () => {
    expect(() => blocksparse({ layout: [[[1, 0]]] })).toThrow(
      /layout: the heads of the layout are not squares of one size.*got 1 rows of 2/,
    );
    expect(() => blocksparse({ layout: [] })).toThrow(/got no heads/);
    expect(() => runBlock(blocksparse({ layout: each.slice(0, 4) }), feeds(13))).toThrow(
      /another number of heads; expected 1 or 6 heads, got 4/,
    );
    expect(() => runBlock(blocksparse({ layout: one, blockSize: 4 }), feeds(13))).toThrow(
      /at most 12, by blocksparse\.layout|13/,
    );
  });
});
