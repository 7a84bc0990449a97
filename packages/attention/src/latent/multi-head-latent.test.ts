import { type AnyModule, causal, type NDArray } from '@onnxformers/core';
import { expectClose, randomArray, runBlock, traceBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { callByCall, rowsOf } from '../recurrent/decoding.test-helper';
import { mapped, normed, perSequence, type Row } from '../recurrent/plain-recurrence.test-helper';
import { rotated, turn } from '../turn.test-helper';
import { multiHeadLatent } from './multi-head-latent';

const sizes = { dim: 7, heads: 3, rank: 5, headDim: 3, ropeHeadDim: 4, valueHeadDim: 2 };

type Parameters = Readonly<Record<string, NDArray>>;

// The formula, on the rows of a sequence; every position reads itself and earlier ones.
const plain =
  (p: Parameters, scale: number) =>
  (rows: readonly Row[]): readonly Row[] => {
    const { heads, rank, headDim: n, ropeHeadDim: r, valueHeadDim: m } = sizes;
    const bias = (name: string) => p[`${name}.bias`];
    const queries = rows.map((x) => {
      if (p['q_proj.weight']) return mapped(p['q_proj.weight'], x);
      const short = mapped(p['q_a_proj.weight']!, x, bias('q_a_proj'));
      return mapped(p['q_b_proj.weight']!, normed(short, p['q_a_layernorm.weight']!, 1e-6));
    });
    const compressed = rows.map((x) => mapped(p['kv_a_proj_with_mqa.weight']!, x, bias('kv_a_proj_with_mqa')));
    const both = compressed.map((c) =>
      mapped(p['kv_b_proj.weight']!, normed(c.slice(0, rank), p['kv_a_layernorm.weight']!, 1e-6)),
    );
    return rows.map((_, t) => {
      const y = Array.from({ length: heads }, (_, h) => {
        const query = queries[t]!.slice(h * (n + r), (h + 1) * (n + r));
        const q = [...query.slice(0, n), ...rotated(query.slice(n), t)];
        const scores = rows.slice(0, t + 1).map((_, j) => {
          const k = [...both[j]!.slice(h * (n + m), h * (n + m) + n), ...rotated(compressed[j]!.slice(rank), j)];
          return scale * q.reduce((sum, w, i) => sum + w * k[i]!, 0);
        });
        const powers = scores.map(Math.exp);
        const total = powers.reduce((a, b) => a + b, 0);
        const value = (j: number, c: number) => both[j]![h * (n + m) + n + c]!;
        return Array.from({ length: m }, (_, c) => powers.reduce((sum, w, j) => sum + (w / total) * value(j, c), 0));
      }).flat();
      return mapped(p['o_proj.weight']!, y, bias('o_proj'));
    });
  };

const tolerance = { atol: 1e-6, rtol: 1e-6 };
const forms = ['auto', 'expanded', 'absorbed'] as const;
const variants = forms.flatMap((form) => [
  { form, causal: true },
  { form, causal: true, queryRank: 6, bias: true, scale: 0.25 },
]);

describe.each(variants)('multi_head_latent %o', (options) => {
  const m: AnyModule = multiHeadLatent({ ...sizes, ...options, rotaryEmbedding: turn({}) });
  const x = randomArray('x', [2, 11, 7]);
  const expected = (): NDArray => perSequence(x, plain(runBlock(m, { x }).parameters, options.scale ?? 1 / Math.sqrt(7)));

  it('is what plain loops give', () => {
    expectClose(runBlock(m, { x }).outputs.y!, expected(), tolerance);
  });

  it.each(['io', { io: 17 }] as const)('computes call by call what it computes for the whole: %o', (state) => {
    const cuts = [0, 2, 3, 4, 10, 11];
    const calls = cuts.slice(1).map((to, i) => ({ x: rowsOf(x, cuts[i]!, to) }));
    callByCall(m, calls, 7, state).forEach((y, i) => expectClose(y, rowsOf(expected(), cuts[i]!, cuts[i + 1]!), tolerance));
  });
});

describe('multi_head_latent', () => {
  it('keeps a latent vector and one key of each position', () => {
    const m = multiHeadLatent({ ...sizes, rotaryEmbedding: turn({}) });
    const inputs = { x: ['float32', ['batch', 'seq', 7]] } as const;
    const names = traceBlock(m, inputs, { state: 'io', mask: causal }).inputs.map((v) => `${v}`);
    expect(names.filter((name) => name.includes('past_key_values'))).toEqual([
      'past_key_values.0.key: float32[batch, 1, past, 4]',
      'past_key_values.0.value: float32[batch, 1, past, 5]',
    ]);
  });

  it('takes the absorbed form for few new positions', () => {
    const m = multiHeadLatent({ ...sizes, rank: 16 });
    const traced = (seq: number | string, state?: 'io') =>
      traceBlock(m, { x: ['float32', ['batch', seq, 7]] }, state && { state }).nodes.map(({ op }) => op.key);
    // 16 · 5 products for each key and its value, or 2 · 16 − 5 more for each query.
    expect(traced('seq', 'io')).toContain('If');
    expect([traced(2, 'io'), traced(3, 'io'), traced('seq')].map((keys) => keys.includes('If'))).toEqual([false, false, false]);
    // Expanded, the latent vectors pass through one more linear map.
    const maps = (keys: readonly string[]) => keys.filter((key) => key === 'onnxformers.Linear').length;
    expect([maps(traced(2, 'io')), maps(traced(3, 'io')), maps(traced('seq'))]).toEqual([3, 4, 4]);
  });
});
