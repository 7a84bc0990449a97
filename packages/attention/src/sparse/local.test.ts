import { type Dim, type DType, interpret } from '@onnxformers/core';
import { expectClose, randomArray, runBlock, traceBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { attention, dot, perHead } from '../plain.test-helper';
import { local } from './local';

const feeds = (seq: number, kvSeq = seq) => ({
  q: randomArray('q', [2, 6, seq, 3]),
  k: randomArray('k', [2, 2, kvSeq, 3]),
  v: randomArray('v', [2, 2, kvSeq, 5]),
});
const shapes = (seq: Dim, kvSeq: Dim = seq): Record<'q' | 'k' | 'v', [DType, Dim[]]> => ({
  q: ['float32', ['batch', 6, seq, 3]],
  k: ['float32', ['batch', 2, kvSeq, 3]],
  v: ['float32', ['batch', 2, kvSeq, 5]],
});
const int64 = (values: number[]) => ({ dtype: 'int64', dims: [values.length], data: Float64Array.from(values) }) as const;

describe('local', () => {
  it.each([
    [{ window: 3 }, (i: number, j: number) => Math.abs(i - j) <= 1],
    [{ window: 4, causal: true }, (i: number, j: number) => i - j >= 0 && i - j < 4],
    [{ window: 4, causal: true, compat: 'xformers' }, (i: number, j: number) => i - j >= 0 && i - j <= 4],
    [{}, (i: number, j: number) => Math.abs(i - j) <= 2],
  ] as const)('%o is what plain loops give', (config, allowed) => {
    const given = feeds(11);
    const expected = perHead(given.q, given.k, given.v, (q, k, v) => attention(q, k, v, allowed));
    expectClose(runBlock(local(config), given).outputs.y!, expected);
  });

  it('scales and caps scores within the window, and has sinks', () => {
    const given = feeds(11);
    const config = { window: 4, causal: true, scale: 2, softcap: 0.7, sinks: 'learned', heads: 6 } as const;
    const { outputs, parameters } = runBlock(local(config), given);
    const expected = perHead(given.q, given.k, given.v, (q, k, v, _, h) =>
      q.map((row, i) => {
        const score = (key: number[]) => 0.7 * Math.tanh((2 * dot(row, key)) / 0.7);
        const powers = k.map((key, j) => (i - j >= 0 && i - j < 4 ? Math.exp(score(key)) : 0));
        const sum = powers.reduce((a, e) => a + e, Math.exp(parameters.sinks!.data[h]!));
        return v[0]!.map((_, c) => powers.reduce((all, e, j) => all + (e / sum) * v[j]![c]!, 0));
      }),
    );
    expectClose(outputs.y!, expected);
  });

  it('joins its window with the masks of the context', () => {
    const given = feeds(11);
    const lengths = [7, 0];
    const { outputs } = runBlock(
      local({ window: 5 }),
      { ...given, lengths: int64(lengths) },
      { assumptions: ['finite padding'] },
    );
    const allowed = (b: number) => (i: number, j: number) => Math.abs(i - j) <= 2 && j < lengths[b]!;
    expectClose(
      outputs.y!,
      perHead(given.q, given.k, given.v, (q, k, v, b) => attention(q, k, v, allowed(b))),
    );
  });

  describe("compat: 'xformers'", () => {
    // A pattern of few pairs keeps, in row-major order, as many as the largest multiple of four.
    const inFours = (pairs: boolean[][]): boolean[][] => {
      let left = 4 * Math.floor(pairs.flat().filter(Boolean).length / 4);
      return pairs.map((row) => row.map((x) => x && left-- > 0));
    };
    const pattern = (seq: number, near: (i: number, j: number) => boolean) =>
      Array.from({ length: seq }, (_, i) => Array.from({ length: seq }, (_, j) => near(i, j)));
    const three = (i: number, j: number) => Math.abs(i - j) <= 1;
    const expected = (given: ReturnType<typeof feeds>, kept: boolean[][]) =>
      perHead(given.q, given.k, given.v, (q, k, v) => attention(q, k, v, (i, j) => kept[i]![j]!));
    const compat = 'xformers';

    it.each([
      // 37 of 169 pairs, 19 of 49 and 49 of 49, of which 1, 3 and 1 are left out where they are few
      [{ window: 3, compat }, 13, inFours(pattern(13, three))],
      [{ window: 3, compat }, 7, pattern(7, three)],
      [{ window: 3, compat, forceSparsity: true }, 7, inFours(pattern(7, three))],
      [{ window: 13, compat, forceSparsity: true }, 7, inFours(pattern(7, () => true))],
      [{ window: 3, causal: true, compat }, 23, inFours(pattern(23, (i, j) => i >= j && i - j <= 3))],
    ] as const)('leaves out the last of few pairs: %o at length %i', (config, seq, kept) => {
      const given = feeds(seq);
      expectClose(runBlock(local(config), given).outputs.y!, expected(given, kept));
    });

    it('drops more pairs under a mask, at symbolic sizes too', () => {
      const seq = 17;
      const given = feeds(seq);
      const user = pattern(seq, (i, j) => (3 * i + 5 * j) % 7 !== 0);
      const window = inFours(pattern(seq, three));
      const kept = inFours(window.map((row, i) => row.map((x, j) => x && user[i]![j]!)));
      expect(kept.flat().filter(Boolean)).toHaveLength(40);
      expect(window.flat().filter((x, at) => x && user.flat()[at])).toHaveLength(41);
      const mask = { dtype: 'bool', dims: [1, 1, seq, seq], data: Float64Array.from(user.flat(), Number) } as const;
      const block = local({ window: 3, compat });
      expectClose(runBlock(block, { ...given, attention_mask: mask }).outputs.y!, expected(given, kept));
      const graph = traceBlock(block, { ...shapes('seq'), attention_mask: ['bool', [1, 1, 'seq', 'seq']] });
      expectClose(interpret(graph, { ...given, attention_mask: mask }).y!, expected(given, kept));
    });
  });

  it("drops a bias with compat: 'xformers', and adds it without", () => {
    const given = feeds(13);
    const biased = { ...given, attention_bias: randomArray('bias', [1, 6, 13, 13]) };
    const y = (config: Parameters<typeof local>[0], feed: typeof given) => runBlock(local(config), feed).outputs.y!;
    expectClose(y({ window: 7, compat: 'xformers' }, biased), y({ window: 7 }, given));
    expect(() => expectClose(y({ window: 7 }, biased), y({ window: 7 }, given))).toThrow(/differ/);
  });

  it('refuses an even window around the query', () => {
    expect(() => local({ window: 4 })).toThrow(/local\.window: a window that is not causal.*expected an odd number/);
    expect(() => local({ window: 0 })).toThrow(/integer >= 1/);
  });
});
