import { ConfigError, type NDArray, ShapeError } from '@onnxformers/core';
import { expectClose, randomArray, runBlock, traceBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { attention, dot, perHead, softmaxOf } from '../plain.test-helper';
import { scaledDotProduct } from './scaled-dot-product';

const feeds = (seq: number, kvSeq = seq, kvHeads = 2) => ({
  q: randomArray('q', [2, 4, seq, 3]),
  k: randomArray('k', [2, kvHeads, kvSeq, 3]),
  v: randomArray('v', [2, kvHeads, kvSeq, 5]),
});
type Config = Parameters<typeof scaledDotProduct>[0];
const run = (config: Config, given: Record<string, NDArray>) => runBlock(scaledDotProduct(config), given).outputs.y!;

describe('scaled_dot_product', () => {
  it.each([
    [7, 7, 4],
    [7, 11, 2],
    [3, 2, 1],
  ])('of %i queries and %i keys in %i heads is what plain loops give', (seq, kvSeq, kvHeads) => {
    const given = feeds(seq, kvSeq, kvHeads);
    expectClose(
      run({}, given),
      perHead(given.q, given.k, given.v, (q, k, v) => attention(q, k, v)),
    );
  });

  it('attends to no later key if causal; the last query is at the position of the last key', () => {
    const given = feeds(5, 8);
    const expected = perHead(given.q, given.k, given.v, (q, k, v) => attention(q, k, v, (i, j) => j <= i + 3));
    expectClose(run({ causal: true }, given), expected);
  });

  it('scales and caps scores', () => {
    const given = feeds(5);
    const expected = perHead(given.q, given.k, given.v, (q, k, v) =>
      q.map((row) => {
        const weights = softmaxOf(
          k.map((key) => 0.7 * Math.tanh((2 * dot(row, key)) / 0.7)),
          () => true,
        );
        return v[0]!.map((_, c) => weights.reduce((sum, w, j) => sum + w * v[j]![c]!, 0));
      }),
    );
    expectClose(run({ scale: 2, softcap: 0.7 }, given), expected);
  });

  it.each(['learned', 'zero'] as const)('%s sinks take a share of each softmax', (sinks) => {
    const given = feeds(5);
    const lengths: NDArray = { dtype: 'int64', dims: [2], data: Float64Array.of(3, 0) };
    const { outputs, parameters } = runBlock(
      scaledDotProduct({ causal: true, sinks, ...(sinks === 'learned' && { heads: 4 }) }),
      { ...given, lengths },
      { assumptions: ['finite padding'] },
    );
    const expected = perHead(given.q, given.k, given.v, (q, k, v, b, h) =>
      q.map((row, i) => {
        const powers = k.map((key, j) => (j <= i && j < lengths.data[b]! ? Math.exp(dot(row, key) / Math.sqrt(3)) : 0));
        const sum = powers.reduce((a, e) => a + e, Math.exp(parameters.sinks?.data[h] ?? 0));
        return v[0]!.map((_, c) => powers.reduce((all, e, j) => all + (e / sum) * v[j]![c]!, 0));
      }),
    );
    expectClose(outputs.y!, expected);
    expect(Object.keys(parameters)).toEqual(sinks === 'learned' ? ['sinks'] : []);
  });

  it('refuses learned sinks for an unknown number of heads', () => {
    expect(() => scaledDotProduct({ sinks: 'learned' })).toThrow(
      /scaled_dot_product\.heads: sinks: 'learned' has one for each query head; expected an integer >= 1, got nothing/,
    );
  });

  it('honours lengths, padding masks and any other, and adds a bias', () => {
    const given = feeds(5);
    const lengths: NDArray = { dtype: 'int64', dims: [2], data: Float64Array.of(4, 0) };
    const padding: NDArray = { dtype: 'bool', dims: [2, 5], data: Float64Array.of(1, 0, 1, 1, 1, 0, 1, 1, 0, 1) };
    const pairs: NDArray = {
      dtype: 'bool',
      dims: [1, 1, 5, 5],
      data: Float64Array.from({ length: 25 }, (_, i) => Number(i % 3 !== 0)),
    };
    const bias = randomArray('bias', [1, 4, 5, 5]);
    const expected = perHead(given.q, given.k, given.v, (q, k, v, b, h) =>
      q.map((row, i) => {
        const weights = softmaxOf(
          k.map((key, j) => dot(row, key) / Math.sqrt(3) + bias.data[(h * 5 + i) * 5 + j]!),
          (j) => j < lengths.data[b]! && padding.data[b * 5 + j] === 1 && pairs.data[i * 5 + j] === 1,
        );
        return v[0]!.map((_, c) => weights.reduce((sum, w, j) => sum + w * v[j]![c]!, 0));
      }),
    );
    const masks = { lengths, attention_mask: padding, pairs, attention_bias: bias };
    const roles = { pairs: 'denseMask' } as const;
    expectClose(
      runBlock(scaledDotProduct({}), { ...given, ...masks }, { roles, assumptions: ['finite padding'] }).outputs.y!,
      expected,
    );
  });

  it('drops weights while training, and only then', () => {
    const shapes = {
      q: ['float32', ['batch', 2, 'seq', 3]],
      k: ['float32', ['batch', 2, 'rows', 3]],
      v: ['float32', ['batch', 2, 'rows', 3]],
    } as const;
    const draws = (training: boolean) =>
      traceBlock(scaledDotProduct({ dropout: 0.2 }), shapes, { training })
        .inputs.filter((v) => v.leaf?.kind === 'draw')
        .map((v) => v.dims);
    expect(draws(true)).toEqual([['batch', 2, 'seq', 'rows']]);
    expect(draws(false)).toEqual([]);
  });

  it('refuses heads of other widths and wrong options', () => {
    const given = { ...feeds(5), k: randomArray('k', [2, 2, 5, 4]) };
    expect(() => run({}, given)).toThrow(ShapeError);
    expect(() => scaledDotProduct({ dropout: 1.5 })).toThrow(ConfigError);
    expect(() => scaledDotProduct({ softcap: 0 })).toThrow(/softcap: wrong value; expected a number > 0, got 0/);
    expect(() => scaledDotProduct({ scale: -0.5 })).toThrow(/scale: wrong value; expected a number > 0, got -0.5/);
  });
});
