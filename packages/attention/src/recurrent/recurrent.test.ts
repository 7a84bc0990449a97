// Recurrent mixers against plain loops, call by call, and with padding.
import { type AnyModule, ConfigError, causal, type NDArray, slidingWindow } from '@onnxformers/core';
import { expectClose, randomArray, runBlock, traceBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { rotated, turn } from '../turn.test-helper';
import { callByCall, rowsOf } from './decoding.test-helper';
import { gatedDeltaNet } from './gated-delta-net';
import { gatedLinearAttention } from './gated-linear-attention';
import { linearAttention } from './linear-attention';
import { mamba2 } from './mamba2';
import {
  convolvedRows,
  mapped,
  normed,
  perSequence,
  type Row,
  sigmoid,
  silu,
  softplus,
  zeroState,
} from './plain-recurrence.test-helper';
import { retention } from './retention';

type Parameters = Readonly<Record<string, NDArray>>;

const delta = { dim: 7, heads: 6, keyHeads: 2, headDim: 3, valueHeadDim: 5, convWidth: 4 };
const plainDelta =
  (p: Parameters) =>
  (rows: readonly Row[]): readonly Row[] => {
    const { heads, keyHeads, headDim: n, valueHeadDim: m } = delta;
    const group = heads / keyHeads;
    const width = 2 * n + 2 * group * m;
    const projected = rows.map((x) => mapped(p['in_proj_qkvz.weight']!, x));
    const ofHead = (row: Row, h: number, from: number, size: number) => row.slice(h * width + from, h * width + from + size);
    const eachHead = (row: Row, from: number, size: number) =>
      Array.from({ length: keyHeads }, (_, h) => ofHead(row, h, from, size)).flat();
    const mixed = convolvedRows(
      projected.map((row) => [...eachHead(row, 0, n), ...eachHead(row, n, n), ...eachHead(row, 2 * n, group * m)]),
      p['conv1d.weight']!,
    );
    const gates = rows.map((x) => mapped(p['in_proj_ba.weight']!, x));
    const states = Array.from({ length: heads }, () => zeroState(n, m));
    const unit = (x: Row) => x.map((v) => v / Math.sqrt(x.reduce((sum, w) => sum + w * w, 1e-6)));
    return mixed.map((row, t) => {
      const results = states.flatMap((state, h) => {
        const [key, inKey] = [Math.floor(h / group), h % group];
        const q = unit(row.slice(key * n, (key + 1) * n));
        const k = unit(row.slice((keyHeads + key) * n, (keyHeads + key + 1) * n));
        const v = row.slice(2 * keyHeads * n + h * m, 2 * keyHeads * n + (h + 1) * m);
        const z = ofHead(projected[t]!, key, 2 * n + group * m + inKey * m, m);
        const beta = sigmoid(gates[t]![key * 2 * group + inKey]!);
        const rate = softplus(gates[t]![key * 2 * group + group + inKey]! + p.dt_bias!.data[h]!);
        const alpha = Math.exp(-Math.exp(p.A_log!.data[h]!) * rate);
        for (const line of state) for (let c = 0; c < m; c++) line[c]! *= alpha;
        const change = v.map((value, c) => beta * (value - k.reduce((sum, w, i) => sum + w * state[i]![c]!, 0)));
        for (let i = 0; i < n; i++) for (let c = 0; c < m; c++) state[i]![c]! += k[i]! * change[c]!;
        const o = v.map((_, c) => q.reduce((sum, w, i) => sum + w * state[i]![c]!, 0) / Math.sqrt(n));
        return normed(o, p['norm.weight']!, 1e-6).map((value, c) => value * silu(z[c]!));
      });
      return mapped(p['out_proj.weight']!, results);
    });
  };

const space = { dim: 5, heads: 4, headDim: 3, stateDim: 7, groups: 2, convWidth: 3, maxTimeStep: 0.9 };
const plainSpace =
  (p: Parameters) =>
  (rows: readonly Row[]): readonly Row[] => {
    const { heads, headDim: m, stateDim: n, groups } = space;
    const inner = heads * m;
    const projected = rows.map((x) => mapped(p['in_proj.weight']!, x));
    const channels = inner + 2 * groups * n;
    const mixed = convolvedRows(
      projected.map((row) => row.slice(inner, inner + channels)),
      p['conv1d.weight']!,
      p['conv1d.bias']!,
    );
    const states = Array.from({ length: heads }, () => zeroState(n, m));
    return mixed.map((row, t) => {
      const y = states.flatMap((state, h) => {
        const group = Math.floor((h * groups) / heads);
        const x = row.slice(h * m, (h + 1) * m);
        const [B, C] = [0, 1].map((i) => row.slice(inner + (i * groups + group) * n, inner + (i * groups + group + 1) * n));
        const step = Math.min(softplus(projected[t]![inner + channels + h]! + p.dt_bias!.data[h]!), space.maxTimeStep);
        const decay = Math.exp(-step * Math.exp(p.A_log!.data[h]!));
        for (let i = 0; i < n; i++) for (let c = 0; c < m; c++) state[i]![c] = decay * state[i]![c]! + step * B![i]! * x[c]!;
        return x.map((v, c) => C!.reduce((sum, w, i) => sum + w * state[i]![c]!, 0) + p.D!.data[h]! * v);
      });
      const gated = y.map((v, i) => v * silu(projected[t]![i]!));
      return mapped(p['out_proj.weight']!, normed(gated, p['norm.weight']!, 1e-5));
    });
  };

const sums = { dim: 7, heads: 2, headDim: 3, valueHeadDim: 5 };
const plainSums =
  (ordered: boolean) =>
  (p: Parameters) =>
  (rows: readonly Row[]): readonly Row[] => {
    const { heads, headDim: n, valueHeadDim: m } = sums;
    const map = (name: string) => rows.map((x) => mapped(p[`${name}.weight`]!, x, p[`${name}.bias`]));
    const [q, k, v] = ['q_proj', 'k_proj', 'v_proj'].map(map);
    const phi = (x: Row) => x.map((w) => (w > 0 ? w + 1 : Math.exp(w)));
    return rows.map((_, t) => {
      const y = Array.from({ length: heads }, (_, h) => {
        const of = (x: Row, size: number) => x.slice(h * size, (h + 1) * size);
        const weights = rows.map((_, j) =>
          ordered && j > t ? 0 : phi(of(q![t]!, n)).reduce((sum, w, i) => sum + w * phi(of(k![j]!, n))[i]!, 0),
        );
        const total = weights.reduce((a, b) => a + b, 0);
        return Array.from({ length: m }, (_, c) => weights.reduce((sum, w, j) => sum + w * of(v![j]!, m)[c]!, 0) / total);
      }).flat();
      return mapped(p['o_proj.weight']!, y, p['o_proj.bias']);
    });
  };

const headsOf = (row: Row, heads: number): readonly Row[] => {
  const width = row.length / heads;
  return Array.from({ length: heads }, (_, h) => row.slice(h * width, (h + 1) * width));
};
const dot = (a: Row, b: Row): number => a.reduce((sum, v, i) => sum + v * b[i]!, 0);

// Pairs of positions at once: the parallel form.
const fading = { dim: 7, heads: 3, headDim: 4, valueHeadDim: 5 };
const turned = { ...fading, rotaryEmbedding: turn({}) };
const plainRetention =
  (withTurn: boolean) =>
  (p: Parameters) =>
  (rows: readonly Row[]): readonly Row[] => {
    const { heads, headDim: n, valueHeadDim: m } = fading;
    const map = (name: string) => rows.map((x) => headsOf(mapped(p[`${name}.weight`]!, x), heads));
    const [q, k, v] = ['q_proj', 'k_proj', 'v_proj'].map(map);
    const at = (x: Row, t: number) => (withTurn ? rotated(x, t) : x);
    return rows.map((x, t) => {
      const gate = mapped(p['g_proj.weight']!, x);
      const y = Array.from({ length: heads }, (_, h) => {
        const weights = rows.map((_, j) =>
          j > t ? 0 : ((1 - 2 ** (-5 - h)) ** (t - j) * dot(at(q![t]![h]!, t), at(k![j]![h]!, j))) / Math.sqrt(n),
        );
        const o = Array.from({ length: m }, (_, c) => weights.reduce((sum, w, j) => sum + w * v![j]![h]![c]!, 0));
        const mean = o.reduce((a, b) => a + b, 0) / m;
        const deviation = Math.sqrt(o.reduce((sum, w) => sum + (w - mean) ** 2, 0) / m + 1e-5);
        const [weight, bias] = ['weight', 'bias'].map((part) => p[`group_norm.${part}`]!.data);
        return o.map((w, c) => ((w - mean) / deviation) * weight![h * m + c]! + bias![h * m + c]!);
      }).flat();
      return mapped(
        p['o_proj.weight']!,
        y.map((w, i) => w * silu(gate[i]!)),
      );
    });
  };

const channels = { dim: 5, heads: 2, headDim: 3, valueHeadDim: 4, gateRank: 3, temperature: 2 };
const plainChannels =
  (p: Parameters) =>
  (rows: readonly Row[]): readonly Row[] => {
    const { heads, headDim: n, valueHeadDim: m, temperature } = channels;
    const states = Array.from({ length: heads }, () => zeroState(n, m));
    return rows.map((x) => {
      const ofHeads = (name: string) => headsOf(mapped(p[`${name}.weight`]!, x), heads);
      const [q, k, v] = ['q_proj', 'k_proj', 'v_proj'].map(ofHeads);
      const gates = mapped(p['gk_proj.1.weight']!, mapped(p['gk_proj.0.weight']!, x), p['gk_proj.1.bias']);
      const alpha = headsOf(gates, heads).map((row) => row.map((z) => sigmoid(z) ** (1 / temperature)));
      const gate = ofHeads('g_proj');
      const y = states.flatMap((state, h) => {
        for (let i = 0; i < n; i++)
          for (let c = 0; c < m; c++) state[i]![c] = alpha[h]![i]! * state[i]![c]! + k![h]![i]! * v![h]![c]!;
        const o = v![h]!.map((_, c) => q![h]!.reduce((sum, w, i) => sum + w * state[i]![c]!, 0) / Math.sqrt(n));
        return normed(o, p['g_norm.weight']!, 1e-5).map((w, c) => w * silu(gate[h]![c]!));
      });
      return mapped(p['o_proj.weight']!, y);
    });
  };

interface Mixer {
  readonly name: string;
  readonly m: AnyModule;
  readonly dim: number;
  readonly plain: (p: Parameters) => (rows: readonly Row[]) => readonly Row[];
  /** It reads positions, which nothing counts in a state without keys but past_lengths. */
  readonly positions?: true;
}
const causalMixers: readonly Mixer[] = [
  { name: 'gated_delta_net', m: gatedDeltaNet(delta), dim: 7, plain: plainDelta },
  { name: 'mamba2', m: mamba2(space), dim: 5, plain: plainSpace },
  { name: 'retention', m: retention(fading), dim: 7, plain: plainRetention(false) },
  { name: 'retention with a rotation', m: retention(turned), dim: 7, plain: plainRetention(true), positions: true },
  { name: 'gated_linear_attention', m: gatedLinearAttention(channels), dim: 5, plain: plainChannels },
  { name: 'linear_attention', m: linearAttention({ ...sums, causal: true }), dim: 7, plain: plainSums(true) },
];
const all: readonly Mixer[] = [
  ...causalMixers,
  { name: 'linear_attention in both directions', m: linearAttention(sums), dim: 7, plain: plainSums(false) },
];
// Constants are float32.
const tolerance = { atol: 1e-6, rtol: 1e-6 };
const int64 = (...data: readonly number[]): NDArray => ({ dtype: 'int64', dims: [data.length], data: Float64Array.from(data) });
const flags = (...rows: readonly string[]): NDArray => ({
  dtype: 'bool',
  dims: [rows.length, rows[0]!.length],
  data: Float64Array.from(rows.join(''), Number),
});

describe.each(all.map((c) => [c.name, c] as const))('%s', (_, { m, dim, plain }) => {
  // Within a chunk of 64 positions, and beyond it.
  it.each([1, 11, 67])('is what plain loops give for %i positions', (seq) => {
    const x = randomArray('x', [2, seq, dim]);
    const { outputs, parameters } = runBlock(m, { x });
    expectClose(outputs.y!, perSequence(x, plain(parameters)), tolerance);
  });

  it('refuses masks of pairs', () => {
    const run = () => traceBlock(m, { x: ['float32', ['batch', 'seq', dim]] }, { mask: slidingWindow({ left: 3 }) });
    expect(run).toThrow(ConfigError);
  });
});

describe.each(causalMixers.map((c) => [c.name, c] as const))('%s with a state', (_, { m, dim, plain, positions }) => {
  const x = randomArray('x', [2, 13, dim]);
  const whole = (seq: NDArray) => perSequence(seq, plain(runBlock(m, { x }).parameters));

  it('computes call by call what it computes for the whole', () => {
    const cuts = [0, 2, 3, 4, 5, 10, 11, 12, 13];
    const calls = cuts.slice(1).map((to, i) => ({ x: rowsOf(x, cuts[i]!, to) }));
    const expected = whole(x);
    callByCall(m, calls, dim, positions ? { io: 16 } : 'io').forEach((y, i) =>
      expectClose(y, rowsOf(expected, cuts[i]!, cuts[i + 1]!), tolerance),
    );
  });

  it.each([{ io: 16 }])('continues after prompts of different lengths', (state) => {
    const lengths = [5, 2];
    const calls = [
      { x: rowsOf(x, 0, 5), lengths: int64(...lengths) },
      ...[5, 6, 7].map((t) => ({ x: rowsOf(x, t, t + 1), lengths: int64(1, 1) })),
    ];
    const results = callByCall(m, calls, dim, state);
    lengths.forEach((length, b) => {
      const own = (from: number, to: number) => matrixOf(x, b, from, to);
      const expected = whole(joined(own(0, length), own(5, 8)));
      const got = [matrixOf(results[0]!, b, 0, length), ...results.slice(1).map((y) => matrixOf(y, b, 0, 1))].reduce(joined);
      expectClose(got, expected, tolerance);
    });
  });

  it.each([
    ['left', ['00111', '11111'], [2, 0]],
    ['right', ['11100', '11111'], [0, 0]],
  ] as const)('continues after padding on the %s', (_, rows, starts) => {
    const calls = [5, 6, 7].map((to, i) => ({
      x: i ? rowsOf(x, to - 1, to) : rowsOf(x, 0, 5),
      attention_mask: flags(...rows.map((row) => `${row}${'1'.repeat(i)}`)),
    }));
    const results = callByCall(m, calls, dim);
    starts.forEach((from, b) => {
      const count = rows[b]!.replaceAll('0', '').length;
      const expected = whole(joined(matrixOf(x, b, from, from + count), matrixOf(x, b, 5, 7)));
      const got = [matrixOf(results[0]!, b, from, from + count), ...results.slice(1).map((y) => matrixOf(y, b, 0, 1))];
      expectClose(got.reduce(joined), expected, tolerance);
    });
  });

  it('reads the positions before, and not the padding on the left of a later call', () => {
    const rows = [
      ['11111', '011', '1'],
      ['01111', '111', '1'],
      ['00111', '001', '1'],
      ['11111', '000', '1'],
    ];
    const x = randomArray('x', [rows.length, 9, dim]);
    const cuts = [0, 5, 8, 9];
    const calls = [1, 2, 3].map((n) => ({
      x: rowsOf(x, cuts[n - 1]!, cuts[n]!),
      attention_mask: flags(...rows.map((row) => row.slice(0, n).join(''))),
    }));
    const results = callByCall(m, calls, dim);
    rows.forEach((row, b) => {
      const real = [...row.join('')].flatMap((flag, t) => (flag === '1' ? [t] : []));
      const expected = whole(real.map((t) => matrixOf(x, b, t, t + 1)).reduce(joined));
      const at = (t: number) => cuts.findIndex((cut, i) => t >= cut && t < cuts[i + 1]!);
      const got = real.map((t) => matrixOf(results[at(t)]!, b, t - cuts[at(t)]!, t - cuts[at(t)]! + 1)).reduce(joined);
      expectClose(got, expected, tolerance);
    });
  });
});

/** Rows of one sequence of a batch. */
const matrixOf = (x: NDArray, b: number, from: number, to: number): NDArray => {
  const rows = rowsOf(x, from, to);
  const size = rows.data.length / rows.dims[0]!;
  return { ...rows, dims: [1, to - from, x.dims[2]!], data: rows.data.slice(b * size, (b + 1) * size) };
};
const joined = (a: NDArray, b: NDArray): NDArray => ({
  ...a,
  dims: [1, a.dims[1]! + b.dims[1]!, a.dims[2]!],
  data: Float64Array.from([...a.data, ...b.data]),
});

describe('linear_attention in both directions', () => {
  const m = linearAttention(sums);
  it('is causal under a causal mask', () => {
    const x = randomArray('x', [2, 11, 7]);
    const { outputs, parameters } = runBlock(m, { x }, { mask: causal });
    expectClose(outputs.y!, perSequence(x, plainSums(true)(parameters)), tolerance);
  });
  it('refuses a state', () => {
    expect(() => callByCall(m, [{ x: randomArray('x', [2, 3, 7]) }], 7)).toThrow(/expected causal: true, or no state/);
  });
});

it.each([
  [() => gatedDeltaNet({ dim: 7, heads: 6, keyHeads: 4 }), 'gated_delta_net.keyHeads'],
  [() => mamba2({ dim: 7, heads: 6, groups: 4 }), 'mamba2.groups'],
  [() => mamba2({ dim: 7, heads: 6, minTimeStep: 0.1, maxTimeStep: 0.1 }), 'mamba2.maxTimeStep'],
])('refuses options that do not fit %#', (make, path) => {
  expect(make).toThrow(path);
});
