import type { NDArray } from '@onnxformers/core';
import { expectClose, randomArray, runBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { dot, type Rows, softmaxOf } from '../plain.test-helper';
import { compositional } from './compositional';

type Parameters = Readonly<Record<string, NDArray>>;
const matrix = ({ data, dims }: NDArray): number[][] =>
  Array.from({ length: dims[0]! }, (_, i) => [...data.slice(i * dims[1]!, (i + 1) * dims[1]!)]);
const relu = (x: readonly number[]) => x.map((v) => Math.max(v, 0));

/** The block on the rows of one sequence. */
function plain(
  x: Rows,
  parameters: Parameters,
  o: { heads: number; rules: number; select: number; causal?: boolean; keyed?: boolean; nonlinear?: boolean; compose?: boolean },
): number[][] {
  const map = (name: string, row: readonly number[]): number[] =>
    matrix(parameters[`${name}.weight`]!).map((w, i) => dot(w, row) + (parameters[`${name}.bias`]?.data[i] ?? 0));
  const part = (row: readonly number[], n: number, of: number) => row.slice((n * row.length) / of, ((n + 1) * row.length) / of);
  const [q, k, v] = ['q_proj', 'k_proj', 'v_proj'].map((name) => x.map((row) => map(name, row))) as unknown as [Rows, Rows, Rows];
  const scale = Math.sqrt(x[0]!.length / o.heads);
  return x.map((row, i) => {
    const found = Array.from({ length: o.heads }, (_, h) => {
      const query = part(q[i]!, h, o.heads).map((value) => value / scale);
      const weights = softmaxOf(
        k.map((key) => dot(query, part(key, h, o.heads))),
        (j) => !o.causal || j <= i,
      );
      const retrieved = Array.from({ length: o.rules }, (__, r) =>
        part(v[0]!, r, o.rules).map((___, c) => weights.reduce((sum, w, j) => sum + w * part(v[j]!, r, o.rules)[c]!, 0)),
      );
      const z = o.compose ? map('value_q', query) : part(map('value_q', row), h, o.heads);
      const scores = retrieved.map((t) => {
        if (o.keyed) return dot(z, map('value_k', t)) / Math.sqrt(o.select);
        if (o.nonlinear) return map('score_network.down', relu(map('score_network.up', [...t, ...z])))[0]!;
        return map('score_network', [...t, ...z])[0]!;
      });
      const shares = softmaxOf(scores, () => true);
      return retrieved[0]!.map((__, c) => shares.reduce((sum, s, r) => sum + s * retrieved[r]![c]!, 0));
    });
    return map('o_proj', found.flat());
  });
}

describe('compositional', () => {
  it.each([
    [{ heads: 3 }, { heads: 3, rules: 3, select: 4 }],
    [
      { heads: 2, rules: 3, dimAttention: 9, causal: true },
      { heads: 2, rules: 3, select: 6, causal: true },
    ],
    [
      { heads: 3, rules: 2, dimSelection: 5, nonlinear: true, bias: false },
      { heads: 3, rules: 2, select: 5, nonlinear: true },
    ],
    [
      { heads: 3, rules: 2, keyedRules: true, nonlinear: true },
      { heads: 3, rules: 2, select: 4, keyed: true },
    ],
    [
      { heads: 3, rules: 2, composeQueries: true },
      { heads: 3, rules: 2, select: 4, compose: true },
    ],
  ] as const)('%o is what plain loops give', (config, o) => {
    const [seq, dim] = [7, 12];
    const x = randomArray('x', [2, seq, dim]);
    const { outputs, parameters } = runBlock(compositional({ dim, ...config }), { x });
    const rows = matrix({ ...x, dims: [2 * seq, dim] });
    const data = [0, 1].flatMap((b) => plain(rows.slice(b * seq, (b + 1) * seq), parameters, o)).flat();
    expectClose(outputs.y!, { ...x, data: Float64Array.from(data) });
  });

  it('refuses numbers that do not divide', () => {
    expect(() => compositional({ dim: 10, heads: 3 })).toThrow(
      /heads: does not divide dim; expected a divisor of dim = 10, got 3/,
    );
    expect(() => compositional({ dim: 10, heads: 2, rules: 3 })).toThrow(/rules: does not divide dimAttention/);
  });
});
