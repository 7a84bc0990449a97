import { causal, interpret, type NDArray } from '@onnxformers/core';
import { expectClose, randomArray, runBlock, traceBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { dot, perHead, type Rows, rowsOf, softmaxOf } from '../plain.test-helper';
import { sigmoidAttention } from './sigmoid';
import { talkingHeads } from './talking-heads';

const feeds = (seq: number, kvSeq = seq, heads = 4, kvHeads = 2) => ({
  q: randomArray('q', [2, heads, seq, 3]),
  k: randomArray('k', [2, kvHeads, kvSeq, 3]),
  v: randomArray('v', [2, kvHeads, kvSeq, 5]),
});
type Given = ReturnType<typeof feeds>;
const lengths: NDArray = { dtype: 'int64', dims: [2], data: Float64Array.of(4, 0) };
// Constants are float32.
const float32 = { atol: 1e-6, rtol: 1e-6 };
const finite = { assumptions: ['finite padding'] } as const;
const sum = (v: Rows, weights: readonly number[]) => v[0]!.map((_, c) => weights.reduce((all, w, j) => all + w * v[j]![c]!, 0));

describe('talking_heads', () => {
  /** The four steps of the paper: scores, mixed scores, weights, mixed weights. */
  function talking(
    { q, k, v }: Given,
    p: Readonly<Record<string, NDArray>>,
    o: { scale?: number; keep?: (b: number, i: number, j: number) => boolean; bias?: NDArray } = {},
  ): NDArray {
    const heads = q.dims[1]!;
    const { scale = 1 / Math.sqrt(3), keep = () => true } = o;
    const row = (b: number, h: number, i: number) => rowsOf(q, b, h)[i]!;
    const keys = (b: number, h: number) => rowsOf(k, b, Math.floor((h * k.dims[1]!) / heads));
    const mixed = (name: string, by: number, of: (h: number) => number[]): number[] => {
      const all = Array.from({ length: heads }, (_, h) => of(h));
      const start = p[`${name}.bias`]?.data[by] ?? 0;
      return all[0]!.map((_, j) =>
        all.reduce((s, numbers, h) => s + p[`${name}.weight`]!.data[by * heads + h]! * numbers[j]!, start),
      );
    };
    return perHead(q, k, v, (queries, ks, vs, b, h) =>
      queries.map((_, i) => {
        const scores = (f: number) => keys(b, f).map((key) => scale * dot(row(b, f, i), key));
        const added = (g: number) =>
          mixed('proj_l', g, scores).map((s, j) => s + (o.bias?.data[(g * queries.length + i) * ks.length + j] ?? 0));
        const weights = (g: number) => softmaxOf(added(g), (j) => keep(b, i, j));
        return sum(
          vs,
          mixed('proj_w', h, weights).map((w, j) => (keep(b, i, j) ? w : 0)),
        );
      }),
    );
  }

  it.each([
    [{ heads: 4 }, 7, 7],
    [{ heads: 4, bias: true, scale: 0.3 }, 3, 11],
  ])('%o mixes heads before and after the softmax', (config, seq, kvSeq) => {
    const given = feeds(seq, kvSeq);
    const { outputs, parameters } = runBlock(talkingHeads(config), given);
    expectClose(outputs.y!, talking(given, parameters, 'scale' in config ? { scale: config.scale! } : {}), float32);
  });

  it('masks the mixed scores, and adds the bias to them', () => {
    const given = feeds(5);
    const bias = randomArray('bias', [1, 4, 5, 5]);
    const block = talkingHeads({ heads: 4, bias: true });
    const { outputs, parameters } = runBlock(block, { ...given, lengths, attention_bias: bias }, { ...finite, mask: causal });
    const keep = (b: number, i: number, j: number) => j <= i && j < lengths.data[b]!;
    expectClose(outputs.y!, talking(given, parameters, { keep, bias }), float32);
  });

  it('refuses another number of heads', () => {
    expect(() => runBlock(talkingHeads({ heads: 3 }), feeds(5))).toThrow(/3/);
  });
});

describe('sigmoid_attention', () => {
  const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
  const plain = (
    { q, k, v }: Given,
    keep: (b: number, i: number, j: number) => boolean,
    o: { scale?: number; offset?: number } = {},
  ) =>
    perHead(q, k, v, (queries, ks, vs, b) =>
      queries.map((row, i) => {
        const n = ks.filter((_, j) => keep(b, i, j)).length;
        const score = (key: number[]) => (o.scale ?? 1 / Math.sqrt(3)) * dot(row, key) + (o.offset ?? -Math.log(n));
        return sum(
          vs,
          ks.map((key, j) => (keep(b, i, j) ? sigmoid(score(key)) : 0)),
        );
      }),
    );

  it.each([
    [{}, 7, 7],
    [{ scale: 0.3, offset: -2 }, 3, 11],
  ])('%o weights each key by itself', (config, seq, kvSeq) => {
    const given = feeds(seq, kvSeq);
    expectClose(
      runBlock(sigmoidAttention(config), given).outputs.y!,
      plain(given, () => true, config),
      float32,
    );
  });

  it('counts the keys that a query may attend to', () => {
    const given = feeds(5);
    const { outputs } = runBlock(sigmoidAttention({}), { ...given, lengths }, { ...finite, mask: causal });
    expectClose(
      outputs.y!,
      plain(given, (b, i, j) => j <= i && j < lengths.data[b]!),
      float32,
    );
  });

  it('gives the same at symbolic sizes', () => {
    const given = feeds(7);
    const rows = (heads: number, width: number) => ['float32', ['batch', heads, 'seq', width]] as const;
    const graph = traceBlock(sigmoidAttention({}), { q: rows(4, 3), k: rows(2, 3), v: rows(2, 5) });
    expectClose(
      interpret(graph, given).y!,
      plain(given, () => true),
      float32,
    );
  });
});
