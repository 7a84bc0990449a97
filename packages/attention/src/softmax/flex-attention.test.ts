import {
  ConfigError,
  compile,
  lookup,
  type NDArray,
  ShapeError,
  standalone,
  type Term,
  targets,
  tensor,
} from '@onnxformers/core';
import { expectClose, randomArray, runBlock, traceBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { dot, perHead, softmaxOf } from '../plain.test-helper';
import { flexAttention } from './flex-attention';
import { scaledDotProduct } from './scaled-dot-product';

const feeds = (seq: number, kvSeq = seq) => ({
  q: randomArray('q', [2, 4, seq, 3]),
  k: randomArray('k', [2, 2, kvSeq, 3]),
  v: randomArray('v', [2, 2, kvSeq, 5]),
});
type Config = Parameters<typeof flexAttention>[0];
const run = (config: Config, given: Record<string, NDArray>) => runBlock(flexAttention(config), given).outputs.y!;

describe('flex_attention', () => {
  it('of 5 queries and 7 keys is what plain loops give, with positions aligned at the ends', () => {
    const given = feeds(5, 7);
    const expected = perHead(given.q, given.k, given.v, (q, k, v, b, h) =>
      q.map((row, i) => {
        const at = i + 2;
        const weights = softmaxOf(
          k.map((key, j) => (dot(row, key) / Math.sqrt(3)) ** 2 - Math.abs(at - j) * (h + 1) + b),
          (j) => j <= at && (h === 0 || (at - j) % 3 < 2),
        );
        return v[0]!.map((_, c) => weights.reduce((sum, w, j) => sum + w * v[j]![c]!, 0));
      }),
    );
    const config: Config = {
      maskMod: (_b, h, q, k) => q.ge(k).and(h.eq(0).or(q.sub(k).mod(3).lt(2))),
      scoreMod: (s, b, h, q, k) =>
        s
          .mul(s)
          .sub(q.sub(k).abs().mul(h.add(1)))
          .add(b),
    };
    expectClose(run(config, given), expected);
  });

  it('is scaled dot-product attention where its functions are', () => {
    const given = feeds(7);
    expectClose(
      run({ maskMod: (_b, _h, q, k) => k.le(q), scoreMod: (s) => s.div(2).tanh().mul(2), scale: 0.3 }, given),
      runBlock(scaledDotProduct({ causal: true, softcap: 2, scale: 0.3 }), given).outputs.y!,
      { atol: 1e-15 },
    );
    const inputs = {
      q: ['float32', ['batch', 4, 'seq', 8]],
      k: ['float32', ['batch', 2, 'seq', 8]],
      v: ['float32', ['batch', 2, 'seq', 8]],
    } as const;
    const lowered = (config: Config) =>
      compile(standalone(flexAttention(config)), { target: targets.cpu, inputs }).decisions.map((d) => d.chosen);
    expect(lowered({ maskMod: (_b, _h, q, k) => k.le(q) })).toEqual(
      compile(standalone(scaledDotProduct({ causal: true })), { target: targets.cpu, inputs }).decisions.map((d) => d.chosen),
    );
    expect(lowered({ scoreMod: (s) => s.mul(s) })).not.toContain('Attend → GroupQueryAttention');
  });

  it('says what a function of the scores costs', () => {
    const inputs = {
      q: ['float32', [1, 2, 'seq', 8]],
      k: ['float32', [1, 2, 'seq', 8]],
      v: ['float32', [1, 2, 'seq', 8]],
    } as const;
    const { decisions } = compile(standalone(flexAttention({ scoreMod: (s) => s.mul(s) })), { target: targets.cpu, inputs });
    const decision = decisions.find((d) => d.op === 'onnxformers.FlexAttend')!;
    expect(JSON.stringify(decision)).toContain(
      'in memory seq · kv_seq for each head, which no fused kernel does: scores score * score',
    );
  });

  it('looks up tensors and inputs of the model', () => {
    const given = {
      ...feeds(5),
      ids: { dtype: 'int64', dims: [2, 5], data: Float64Array.of(0, 0, 1, 1, 1, 2, 2, 2, 2, 3) } as NDArray,
    };
    const slopes = tensor('float32', [4], [1, 0.5, 0.25, 0.125]);
    const expected = perHead(given.q, given.k, given.v, (q, k, v, b, h) =>
      q.map((row, i) => {
        const id = (j: number) => given.ids.data[b * 5 + j];
        const weights = softmaxOf(
          k.map((key, j) => dot(row, key) / Math.sqrt(3) - (i - j) * (slopes.data as Float32Array)[h]!),
          (j) => id(i) === id(j),
        );
        return v[0]!.map((_, c) => weights.reduce((sum, w, j) => sum + w * v[j]![c]!, 0));
      }),
    );
    const block = flexAttention({
      maskMod: (b, _h, q, k, { ids }) => lookup(ids!, b, q).eq(lookup(ids!, b, k)),
      scoreMod: (s, _b, h, q, k) => s.sub(q.sub(k).mul(lookup(slopes, h))),
    });
    expectClose(runBlock(block, given).outputs.y!, expected);
    expect(() => runBlock(block, feeds(5))).toThrow('lookup: the table is missing');
  });

  it('refuses what is wrong', () => {
    const shapes = { q: ['float32', [1, 2, 5, 3]], k: ['float32', [1, 2, 5, 3]], v: ['float32', [1, 2, 5, 3]] } as const;
    const traced = (config: Config) => () => traceBlock(flexAttention(config), shapes);
    expect(traced({ maskMod: ((_b: Term, _h: Term, q: Term, k: Term) => (q as never) >= (k as never)) as never })).toThrow(
      ConfigError,
    );
    expect(traced({ scoreMod: (s, b) => s.add(lookup(tensor('float32', [2], [1, 2]), b)) })).toThrow(ShapeError);
  });
});
