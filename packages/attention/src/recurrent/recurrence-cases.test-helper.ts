// Calls of the recurrent ops, with and without every operand.
import type { CaseInput, OpCase } from '@onnxformers/core/testing';
import { causalConvolution } from './causal-convolution';
import { linearRecurrence } from './linear-recurrence';

const float = (...dims: readonly (number | string)[]): CaseInput => ({ dtype: 'float32', dims });
const rows = (heads: number, width: number): CaseInput => ({ ...float('batch', 'seq', heads, width), low: -0.7, high: 0.7 });
const decays = (heads: number): CaseInput => ({ ...float('batch', 'seq', heads), low: -1.5, high: 0 });
const decaysOfChannels = (heads: number, width: number): CaseInput => ({
  ...float('batch', 'seq', heads, width),
  low: -1.5,
  high: 0,
});
const strengths = (heads: number): CaseInput => ({ ...float('batch', 'seq', heads), low: 0, high: 1 });

const recurrences: readonly Omit<OpCase, 'sizes'>[] = [
  {
    name: 'sum',
    inputs: [rows(3, 5), rows(3, 5), rows(3, 2)],
    build: (_, q, k, v) => linearRecurrence({ q: q!, k: k!, v: v! }),
  },
  {
    name: 'sum with a state',
    inputs: [rows(3, 5), rows(3, 5), rows(3, 2), float('batch', 3, 5, 2)],
    build: (_, q, k, v, past) => linearRecurrence({ q: q!, k: k!, v: v!, past }),
  },
  {
    name: 'sum with decay, shared keys and a state',
    inputs: [rows(1, 5), rows(1, 5), rows(3, 2), float('batch', 3, 5, 2), decays(3)],
    build: (_, q, k, v, past, decay) => linearRecurrence({ q: q!, k: k!, v: v!, past, decay, scale: 0.25 }),
  },
  {
    name: 'sum with a decay of each channel, shared keys and a state',
    inputs: [rows(1, 5), rows(1, 5), rows(2, 3), float('batch', 2, 5, 3), decaysOfChannels(2, 5)],
    build: (_, q, k, v, past, decay) => linearRecurrence({ q: q!, k: k!, v: v!, past, decay, scale: 0.25 }),
  },
  {
    name: 'delta rule with a decay of each channel',
    inputs: [rows(2, 5), rows(2, 5), rows(2, 3), decaysOfChannels(2, 5), strengths(2)],
    build: (_, q, k, v, decay, beta) => linearRecurrence({ q: q!, k: k!, v: v!, decay, beta }),
  },
  {
    name: 'delta rule',
    inputs: [rows(2, 5), rows(2, 5), rows(2, 3), strengths(2)],
    build: (_, q, k, v, beta) => linearRecurrence({ q: q!, k: k!, v: v!, beta }),
  },
  {
    name: 'gated delta rule with shared keys and a state',
    inputs: [rows(2, 5), rows(2, 5), rows(6, 3), float('batch', 6, 5, 3), decays(6), strengths(6)],
    build: (_, q, k, v, past, decay, beta) => linearRecurrence({ q: q!, k: k!, v: v!, past, decay, beta, scale: 0.5 }),
  },
];

const convolutions: readonly Omit<OpCase, 'sizes'>[] = [
  {
    name: 'convolution',
    inputs: [float('batch', 5, 'seq'), float(5, 1, 4)],
    build: (_, x, weight) => causalConvolution(x!, weight!),
  },
  {
    name: 'convolution with bias, state and silu',
    inputs: [float('batch', 5, 'seq'), float(5, 1, 3), float(5), float('batch', 5, 2)],
    build: (_, x, weight, bias, past) => causalConvolution(x!, weight!, { bias, past, activation: 'silu' }),
  },
];

/** The cases over this many positions. */
export const casesOver = (seq: number, batch = 2): readonly OpCase[] =>
  [...recurrences, ...convolutions].map((c) => ({ ...c, name: `${c.name} over ${seq}`, sizes: { batch, seq } }));

/** The same with sizes that are known when the graph is made, so that a chunk is no longer than they are. */
export const knownCasesOver = (seq: number, batch = 2): readonly OpCase[] =>
  casesOver(seq, batch).map((c) => ({
    ...c,
    inputs: c.inputs.map((x) => ({ ...x, dims: x.dims.map((d) => (d === 'batch' ? batch : d === 'seq' ? seq : d)) })),
  }));
