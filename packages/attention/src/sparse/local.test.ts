import { type Dim, type DType, interpret, type Target, targets } from '@onnxformers/core';
import { lower } from '@onnxformers/core/lowering';
import { expectClose, randomArray, runBlock, traceBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { attention, perHead } from '../plain.test-helper';
import { local, useBlocks } from './local';

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

const target = targets.portable(21);
const chosenIn = (decisions: ReturnType<typeof lower>['decisions']) =>
  decisions.filter((d) => d.op === 'onnxformers.Attend').map((d) => d.chosen);

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

describe('Attend → blocks', () => {
  const lowered = (config: Parameters<typeof local>[0], inputs: Parameters<typeof traceBlock>[1]) =>
    lower(traceBlock(local(config), inputs), target, { rules: [useBlocks] });

  it.each([
    [{ window: 5 }, 53],
    [{ window: 23, causal: true }, 71],
  ] as const)('%o gives the same at length %i, without scores of all pairs', (config, seq) => {
    const { graph, decisions } = lowered(config, { ...shapes('seq'), lengths: ['int64', ['batch']] });
    expect(chosenIn(decisions)).toContain('Attend → blocks');
    const pairs = graph.nodes.flatMap((n) => n.outputs).filter((v) => v.dims.filter((d) => d === 'seq').length > 1);
    expect(pairs).toEqual([]);
    const given = { ...feeds(seq), lengths: int64([seq, 29]) };
    // The scale is a float32 constant once lowered.
    expectClose(interpret(graph, given).y!, runBlock(local(config), given).outputs.y!, { rtol: 1e-7, atol: 1e-7 });
  });

  it.each([
    [{ ...shapes('seq'), attention_bias: ['float32', [1, 6, 'seq', 'seq']] }, 'a bias has a number for every pair'],
    [shapes('seq', 'rows'), 'there may be fewer keys than queries: rows keys, seq queries'],
    [shapes(31), 'one block would cover all 31 keys'],
    [{ ...shapes('seq'), attention_mask: ['bool', [1, 1, 'seq', 'seq']] }, 'it cannot express the mask: dense'],
  ] as [Parameters<typeof traceBlock>[1], string][])('is refused where blocks cannot serve (%#)', (inputs, reason) => {
    const { decisions } = lowered({ window: 5 }, inputs);
    const { chosen, refused } = decisions.find((d) => d.op === 'onnxformers.Attend')!;
    expect(chosen).toBe('decomposed');
    expect(refused.map((r) => r.reason.text).join()).toContain(reason);
  });

  it('prefers a kernel with causal windows', () => {
    const ways = (target: Target, dtype: DType, causal: boolean, seq: Dim = 'seq') => {
      const rows = (heads: number) => [dtype, ['batch', heads, seq, 8]] as const;
      const block = local({ window: 5, causal });
      const graph = traceBlock(block, { q: rows(6), k: rows(2), v: rows(2) });
      return chosenIn(lower(graph, target, { rules: block.about.rules! }).decisions);
    };
    const chosen = (...call: Parameters<typeof ways>) =>
      ways(...call).find((way) => way === 'Attend → blocks') ?? ways(...call)[0];
    expect(chosen(targets.cpu, 'float32', true, 64)).toBe('Attend → GroupQueryAttention');
    expect(chosen(targets.cpu, 'float32', true, 512)).toBe('Attend → blocks');
    // Where the length is not known, both are there.
    expect(ways(targets.cpu, 'float32', true).sort()).toEqual(['Attend → GroupQueryAttention', 'Attend → blocks']);
    expect(chosen(targets.cuda, 'float16', true)).toBe('Attend → GroupQueryAttention');
    expect(chosen(targets.cuda, 'float32', true)).toBe('Attend → blocks');
    expect(chosen(targets.cpu, 'float32', false)).toBe('Attend → blocks');
    expect(chosen(targets.portable(21), 'float32', true)).toBe('Attend → blocks');
  });

  it.each([11, 300])('takes what was not known before the run as it comes: %i rows', (seq) => {
    const config = { window: 4, causal: true };
    const given = feeds(seq);
    for (const to of [targets.portable(21), targets.cpu]) {
      const { graph } = lower(traceBlock(local(config), shapes('seq')), to, { rules: local(config).about.rules! });
      const branches = graph.nodes.filter((n) => n.op.key === 'If');
      expect(branches).toHaveLength(1);
      expectClose(interpret(graph, given).y!, runBlock(local(config), given).outputs.y!, { rtol: 1e-6, atol: 1e-6 });
    }
  });

  it.each([4097, 2 ** 31 - 1])('builds no larger constants than necessary for a window of %i', (window) => {
    const started = performance.now();
    const { graph, decisions } = lowered({ window }, shapes('seq'));
    expect(performance.now() - started).toBeLessThan(2000);
    expect(chosenIn(decisions).includes('Attend → blocks')).toBe(window < 65_536);
    // At few keys it costs what plain attention does: no more scores than pairs.
    const taken = performance.now();
    expectClose(interpret(graph, feeds(20)).y!, runBlock(local({ window: 41 }), feeds(20)).outputs.y!, { atol: 1e-6 });
    expect(performance.now() - taken).toBeLessThan(2000);
  });
});
