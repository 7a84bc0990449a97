import { type AnyModule, compile, footprint, interpret, targets } from '@onnxformers/core';
import { expectClose, randomArray, runBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { attention, perHead } from '../plain.test-helper';
import { sparse } from './sparse';

const feeds = (seq: number) => ({
  q: randomArray('q', [2, 6, seq, 3]),
  k: randomArray('k', [2, 2, seq, 3]),
  v: randomArray('v', [2, 2, seq, 5]),
});
const listed = (count: number, allows: (i: number, j: number) => boolean): number[][] =>
  Array.from({ length: count }, (_, i) => Array.from({ length: count }, (__, j) => j).filter((j) => allows(i, j)));

const few = [listed(13, (i, j) => i !== 4 && (i * 5 + j) % 7 === 0)];
const many = [listed(13, (i, j) => i !== 4 && (i + j) % 3 !== 0)];
const each = Array.from({ length: 6 }, (_, h) => listed(13, (i, j) => (i * 3 + j + h) % 5 === 0));

describe('sparse', () => {
  it.each([
    [{ keys: few }, false],
    [{ keys: many }, false],
    [{ keys: each, causal: true }, true],
    [{ keys: each, threshold: 0 }, false],
  ] as const)('is what plain loops give (%#)', (config, causal) => {
    const given = feeds(11);
    const expected = perHead(given.q, given.k, given.v, (q, k, v, _, h) => {
      const rows = config.keys[h % config.keys.length]!;
      return attention(q, k, v, (i, j) => rows[i]!.includes(j) && (!causal || j <= i));
    });
    expectClose(runBlock(sparse(config as never), given).outputs.y!, expected, { rtol: 1e-6, atol: 1e-6 });
  });

  const inputs = Object.fromEntries(['q', 'k', 'v'].map((name) => [name, ['float32', ['batch', 2, 'seq', 8]] as const]));
  const compiled = (keys: readonly (readonly number[])[], threshold = 0.3) => {
    const model = compile(sparse({ keys: [keys.map((row) => [...row])], threshold }) as unknown as AnyModule, {
      target: targets.portable(),
      inputs,
    });
    return { model, chosen: model.decisions.find(({ op }) => op === 'onnxformers.Attend')!.chosen };
  };

  it.each([
    ['single pairs', (i: number, j: number) => (i * 7 + j) % 401 === 0, true],
    ['blocks of 32', (i: number, j: number) => (Math.floor(i / 32) * 3 + Math.floor(j / 32)) % 5 === 0, true],
    ['too many single pairs', (i: number, j: number) => (i * 7 + j) % 10 === 0, false],
  ] as const)('gathers keys where that costs less: %s', (_, allows, gathers) => {
    const { model, chosen } = compiled(listed(640, allows));
    expect(chosen === 'Attend → gathered blocks').toBe(gathers);
    const given = Object.fromEntries(Object.keys(inputs).map((name) => [name, randomArray(name, [1, 2, 333, 8])]));
    const sizes = { batch: 1, seq: 333 };
    expectClose(interpret(model.graph, given, { sizes }).y!, interpret(model.traced, given, { sizes }).y!, {
      rtol: 1e-6,
      atol: 1e-6,
    });
  });

  it('takes memory and operations in proportion to the pairs, and all of them above the threshold', () => {
    const at = (every: number, threshold?: number) => {
      const keys = listed(1024, (i, j) => (Math.floor(i / 64) + Math.floor(j / 64)) % every === 0);
      const { largest, flops } = footprint(compiled(keys, threshold).model.graph, { batch: 1, seq: 1024 });
      return [largest.at, flops] as const;
    };
    const [[sixteenth, fewOperations], [eighth, moreOperations]] = [at(16), at(8)];
    expect(eighth / sixteenth).toBeCloseTo(2, 1);
    expect(moreOperations / fewOperations).toBeCloseTo(2, 1);
    expect(at(8, 0.1)[0]).toBeGreaterThanOrEqual(2 * 1024 * 128);
    expect(at(8, 0.1)[1]).toBeGreaterThan(3 * moreOperations);
  });

  it('refuses keys that do not exist or are listed twice, heads that differ, and longer sequences', () => {
    expect(() => sparse({ keys: [[[0], [2]]] })).toThrow(/keys\[0\]\[1\]: there is no such position; expected 0 to 1, got 2/);
    expect(() => sparse({ keys: [[[0, 0]]] })).toThrow(/keys\[0\]\[0\]: a key is listed twice/);
    expect(() => sparse({ keys: [[[0]], [[0], [1]]] })).toThrow(/the same number of queries.*got 1, 2/);
    expect(() => sparse({ keys: [] })).toThrow(/got no heads/);
    expect(() => runBlock(sparse({ keys: each.slice(0, 4) }), feeds(11))).toThrow(
      /another number of heads; expected 1 or 6 heads, got 4/,
    );
    expect(() => runBlock(sparse({ keys: few }), feeds(17))).toThrow(/at most 13|17/);
  });
});
