// Sample applications of Attend: every kind of mask, every operand, every layout.
import type { Dim } from '../dim/dim';
import { lookup, lookupFlag } from '../expression/term';
import type { GraphBuilder, Value } from '../ir/graph';
import { and, causal, dense, documents, keyLengths, keyPadding, type Mask, none, not, or, slidingWindow } from '../mask/index';
import type { CaseInput, OpCase } from '../testing/op-suite';
import { type AttendOpOptions, attendOp } from './attend';
import { attendBlockwise } from './attend-window';
import { scoreMod, weightMod } from './score-mod';

interface Sample {
  readonly batch?: Dim;
  readonly heads?: number;
  readonly kvHeads?: number;
  readonly seq?: Dim;
  readonly kvSeq?: Dim;
  readonly sizes?: Readonly<Record<string, number>>;
  readonly dtype?: CaseInput['dtype'];
  /** Inputs after q, k and v, and the options made of them. */
  readonly more?: readonly CaseInput[];
  readonly options: (...more: Value[]) => AttendOpOptions;
  readonly attend?: (q: Value, k: Value, v: Value, options: AttendOpOptions) => Value;
}

function sample(name: string, s: Sample): OpCase {
  const {
    batch = 'batch',
    heads = 3,
    kvHeads = heads,
    seq = 'seq',
    kvSeq = seq,
    dtype = 'float32',
    more = [],
    attend = attendOp,
  } = s;
  return {
    name: `attend: ${name}`,
    inputs: [
      { dtype, dims: [batch, heads, seq, 5] },
      { dtype, dims: [batch, kvHeads, kvSeq, 5] },
      { dtype, dims: [batch, kvHeads, kvSeq, 7] },
      ...more,
    ],
    build: (_: GraphBuilder, q, k, v, ...rest) => attend(q!, k!, v!, s.options(...rest)),
    sizes: { batch: 2, seq: 5, kv: 7, sequences: 3, ...s.sizes },
    // The scale is rounded to float32.
    tolerance: dtype === 'float64' ? {} : { atol: 1e-6, rtol: 1e-6 },
  };
}

const int64 = (dims: readonly Dim[], values: readonly number[]): CaseInput => ({ dtype: 'int64', dims, values });
const bool = (dims: readonly Dim[]): CaseInput => ({ dtype: 'bool', dims });
const float = (dims: readonly Dim[]): CaseInput => ({ dtype: 'float32', dims });
const masked = (mask: Mask<Value>) => (): AttendOpOptions => ({ mask });

const lowest = Number.NEGATIVE_INFINITY;
const packed = { batch: 1, seq: 'tokens', kvSeq: 'tokens', sizes: { tokens: 11 } };
const offsets = int64(['sequences + 1'], [0, 3, 3, 10]);
const keyOffsets = int64(['sequences + 1'], [0, 2, 4, 12]);

const modified: readonly OpCase[] = [
  sample('scores squared with a factor for each head', {
    kvSeq: 'kv',
    more: [float([3])],
    options: (factor) => ({ mask: causal, scoreMod: scoreMod((s, _b, h) => s.mul(s).mul(lookup(factor!, h))) }),
  }),
  sample('a function of scores, hidden and biased by tables, counted from the top left, grouped', {
    heads: 6,
    kvHeads: 3,
    kvSeq: 'kv',
    more: [bool(['batch', 'kv']), float([6, 5])],
    options: (keep, bias) => ({
      mask: none,
      scoreMod: scoreMod(
        (s, b, h, q, k) =>
          lookupFlag(keep!, b, k).select(
            s
              .add(lookup(bias!, h, k.sub(q).add(2)))
              .tanh()
              .mul(s),
            lowest,
          ),
        { align: 'topLeft' },
      ),
    }),
  }),
  sample('a function of weights, packed', {
    ...packed,
    more: [offsets, float(['sequences'])],
    options: (at, factor) => ({
      mask: and(documents(at!), causal),
      weightMod: weightMod((w, b, _h, q, k) =>
        q
          .sub(k)
          .lt(2)
          .select(w.mul(lookup(factor!, b)), w.mul(w)),
      ),
    }),
  }),
];

const masks: readonly OpCase[] = [
  sample('plain', { options: masked(none) }),
  sample('cross attention', { kvSeq: 'kv', options: masked(none) }),
  sample('causal', { options: masked(causal) }),
  sample('causal behind a past', { kvSeq: 'past + seq', sizes: { past: 2 }, options: masked(causal) }),
  sample('causal, one query', { seq: 1, kvSeq: 'kv', options: masked(causal) }),
  sample('causal, fewer keys than queries', { seq: 'kv', kvSeq: 'seq', options: masked(causal) }),
  sample('window', { seq: 'kv', options: masked(slidingWindow({ left: 2, right: 1 })) }),
  sample('window of its own only', { options: masked(slidingWindow({ left: 0, right: 0 })) }),
  sample('window, past keys only', { options: masked(slidingWindow({ left: 2, right: -1 })) }),
  sample('causal window across', { kvSeq: 'kv', options: masked(and(causal, slidingWindow({ left: 3 }))) }),
  sample('lengths, one of them 0', {
    kvSeq: 'kv',
    more: [int64(['batch'], [0, 5])],
    options: (keys) => ({ mask: keyLengths(keys!) }),
  }),
  sample('lengths and causal', {
    more: [int64(['batch'], [2, 5])],
    options: (keys) => ({ mask: and(causal, keyLengths(keys!)) }),
  }),
  sample('keys', { kvSeq: 'kv', more: [bool(['batch', 'kv'])], options: (keep) => ({ mask: keyPadding(keep!) }) }),
  sample('no key at all', { options: masked(not(none)) }),
  sample('tensor for every head', {
    kvSeq: 'kv',
    more: [bool(['batch', 3, 'seq', 'kv'])],
    options: (keep) => ({ mask: dense(keep!) }),
  }),
  sample('tensor for all heads', {
    kvSeq: 'kv',
    more: [bool(['seq', 'kv'])],
    options: (keep) => ({ mask: dense(keep!) }),
  }),
  sample('or and not', {
    kvSeq: 'kv',
    more: [bool(['batch', 1, 1, 'kv']), int64(['batch'], [3, 6])],
    options: (keep, keys) => ({
      mask: or(not(and<Value>(causal, dense(keep!))), keyLengths(keys!)),
    }),
  }),
  sample('packed', { ...packed, more: [offsets], options: (o) => ({ mask: documents(o!, o!) }) }),
  sample('packed, causal window', {
    ...packed,
    more: [offsets],
    options: (o) => ({ mask: and(documents(o!, o!), causal, slidingWindow({ left: 1 })) }),
  }),
  sample('packed, keys of their own', {
    ...packed,
    kvSeq: 'rows',
    sizes: { tokens: 11, rows: 13 },
    more: [offsets, keyOffsets],
    options: (o, k) => ({ mask: and(documents(o!, k!), causal) }),
  }),
  sample('packed, padded keys', {
    ...packed,
    kvSeq: 'rows',
    sizes: { tokens: 11, rows: 13 },
    more: [offsets, keyOffsets, int64(['sequences'], [1, 0, 7])],
    options: (o, k, lengths) => ({ mask: and(documents(o!, k!, lengths!), causal) }),
  }),
];

const operands: readonly OpCase[] = [
  sample('start, ragged', {
    kvSeq: 11,
    more: [int64(['batch'], [4, 0])],
    options: (queryOffset) => ({ mask: none, queryOffset: queryOffset! }),
  }),
  sample('queryOffset, causal', {
    kvSeq: 11,
    more: [int64(['batch'], [6, 1])],
    options: (queryOffset) => ({ mask: causal, queryOffset: queryOffset! }),
  }),
  sample('queryOffset, window', {
    kvSeq: 'kv + seq',
    more: [int64(['batch'], [6, 1])],
    options: (queryOffset) => ({ mask: slidingWindow({ left: 2, right: 1 }), queryOffset: queryOffset! }),
  }),
  sample('bias', { kvSeq: 'kv', more: [float(['batch', 3, 'seq', 'kv'])], options: (bias) => ({ mask: none, bias: bias! }) }),
  sample('bias for all rows, causal', {
    more: [float([1, 3, 'seq', 'seq'])],
    options: (bias) => ({ mask: causal, bias: bias! }),
  }),
  sample('bias for all heads, grouped', {
    heads: 6,
    kvHeads: 2,
    more: [float(['batch', 1, 'seq', 'seq'])],
    options: (bias) => ({ mask: none, bias: bias! }),
  }),
  sample('sinks', { more: [float([3])], options: (sinks) => ({ mask: none, sinks: sinks! }) }),
  sample('sinks where no key is', {
    more: [float([3]), int64(['batch'], [0, 3])],
    options: (sinks, keys) => ({ mask: keyLengths(keys!), sinks: sinks! }),
  }),
  sample('scale', { options: () => ({ mask: none, scale: 0.37 }) }),
  sample('softcap', { options: () => ({ mask: causal, softcap: 1.3 }) }),
  sample('softcap and scale', { options: () => ({ mask: none, scale: 2, softcap: 0.7 }) }),
  sample('dropout', {
    kvSeq: 'kv',
    more: [{ dtype: 'float32', dims: ['batch', 3, 'seq', 'kv'], low: 0, high: 1 }],
    options: (noise) => ({ mask: none, dropout: { probability: 0.3, noise: noise! } }),
  }),
  sample('dropout of everything', {
    more: [{ dtype: 'float32', dims: ['batch', 3, 'seq', 'seq'], low: 0, high: 0.99 }],
    options: (noise) => ({ mask: none, dropout: { probability: 1, noise: noise! } }),
  }),
  sample('grouped heads', { heads: 6, kvHeads: 3, kvSeq: 'kv', options: masked(none) }),
  sample('grouped heads, causal', { heads: 6, kvHeads: 2, kvSeq: 'kv', options: masked(causal) }),
  sample('one head for all', { heads: 5, kvHeads: 1, options: masked(slidingWindow({ left: 1, right: 2 })) }),
  sample('grouped heads with everything', {
    heads: 6,
    kvHeads: 2,
    kvSeq: 11,
    more: [
      int64(['batch'], [6, 0]),
      float(['batch', 6, 'seq', 11]),
      float([6]),
      { dtype: 'float32', dims: ['batch', 6, 'seq', 11], low: 0, high: 1 },
      bool(['batch', 11]),
    ],
    options: (queryOffset, bias, sinks, noise, keep) => ({
      mask: and(causal, keyPadding(keep!)),
      queryOffset: queryOffset!,
      bias: bias!,
      sinks: sinks!,
      scale: 0.9,
      softcap: 1.7,
      dropout: { probability: 0.2, noise: noise! },
    }),
  }),
  sample('float64', {
    dtype: 'float64',
    more: [int64(['batch'], [0, 3])],
    options: (keys) => ({ mask: keyLengths(keys!) }),
  }),
  sample('float16', { dtype: 'float16', options: masked(causal) }),
  sample('bfloat16', {
    dtype: 'bfloat16',
    more: [int64(['batch'], [0, 3])],
    options: (keys) => ({ mask: keyLengths(keys!) }),
  }),
  sample('no queries', { sizes: { seq: 0 }, kvSeq: 'kv', options: masked(causal) }),
  sample('no keys', { sizes: { kv: 0 }, kvSeq: 'kv', options: masked(none) }),
  sample('no keys, causal', { sizes: { kv: 0 }, kvSeq: 'kv', options: masked(causal) }),
  sample('empty batch', { sizes: { batch: 0 }, options: masked(causal) }),
];

const blockwise = (name: string, s: Sample): OpCase =>
  sample(`blockwise, ${name}`, { attend: attendBlockwise, sizes: { seq: 37 }, ...s });

const windows: readonly OpCase[] = [
  blockwise('both sides', { options: masked(slidingWindow({ left: 2, right: 3 })) }),
  blockwise('causal, grouped heads', { heads: 6, kvHeads: 2, options: masked(and(causal, slidingWindow({ left: 17 }))) }),
  blockwise('behind a past', {
    kvSeq: 'past + seq',
    sizes: { seq: 29, past: 5 },
    options: masked(slidingWindow({ left: 4, right: 0 })),
  }),
  blockwise('lengths and sinks', {
    more: [int64(['batch'], [31, 1]), float([3])],
    options: (keys, sinks) => ({
      mask: and(slidingWindow({ left: 1, right: 1 }), keyLengths(keys!)),
      sinks: sinks!,
      softcap: 2,
    }),
  }),
  blockwise('keys', {
    more: [bool(['batch', 'seq'])],
    options: (keep) => ({ mask: and(slidingWindow({ left: 1, right: 0 }), keyPadding(keep!)), scale: 0.4 }),
  }),
  blockwise('packed', {
    ...packed,
    sizes: { tokens: 23 },
    more: [int64(['sequences + 1'], [0, 3, 3, 21])],
    options: (o) => ({ mask: and(documents(o!, o!), slidingWindow({ left: 5, right: 1 })) }),
  }),
];

export const cases: readonly OpCase[] = [...masks, ...operands, ...modified, ...windows];
