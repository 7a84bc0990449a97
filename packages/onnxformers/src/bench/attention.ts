// Benchmark of one attention, on data generated inside the graph.
import { attentionRules, scaledDotProduct } from '@onnxformers/attention';
import {
  type AnyModule,
  and,
  type CompileOptions,
  causal as causalMask,
  initialize,
  keyLengths,
  type Mask,
  module,
  newShared,
  none,
  type Ort,
  padded,
  type SequenceContext,
  slidingWindow,
  splitHeads,
  tensor,
  type Value,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { type AttentionForm, type FormSizes, formChain, formFeeds, formInputs, rowsOf } from './attention-forms';
import { type Measured, type SlopeOptions, slope } from './slope';

/** Sizes and options of one attention call. */
export interface AttentionSizes {
  readonly batch: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly seq: number;
  /** Number of keys, if it differs from the number of queries; the queries are the last positions. */
  readonly kvSeq?: number;
  readonly causal: boolean;
  /** Number of positions that a query attends to, up to and including its own; absent: all. */
  readonly window?: number;
  /** Real keys of each sequence; the rest is padding. */
  readonly lengths?: readonly number[];
  /** An attention bias for every score, different for each head. */
  readonly bias?: boolean;
  /** Softcap: scores become c · tanh(score / c). */
  readonly softcap?: number;
}

/** The result of {@link benchAttention}. */
export interface AttentionFigure extends Measured {
  readonly sizes: AttentionSizes;
  /** 10¹² floating-point operations per second, counting the pairs that the mask allows. */
  readonly tflops: number;
}

/** Floating-point operations of one call: two products over each pair of a query and a key that the mask allows. */
export function attentionFlops(s: AttentionSizes): number {
  const { batch, heads, headDim, seq, kvSeq = seq, causal, window, lengths } = s;
  // By convention, a causal call counts as half of a full one.
  const half = causal && window === undefined && lengths === undefined && kvSeq === seq;
  const rows = lengths ?? Array.from({ length: batch }, () => kvSeq);
  const pairs = half ? (batch * seq * seq) / 2 : rows.reduce((sum, length) => sum + pairsOf(s, length), 0);
  return 4 * heads * headDim * pairs;
}

/** Number of pairs of a query and a key among `length` that the mask allows. */
function pairsOf({ seq, kvSeq = seq, causal, window }: AttentionSizes, length: number): number {
  let pairs = 0;
  for (let at = kvSeq - seq; at < kvSeq; at++) {
    const end = Math.min(length, causal ? at + 1 : kvSeq);
    pairs += Math.max(0, end - (window === undefined ? 0 : Math.max(0, at - window + 1)));
  }
  return pairs;
}

/** A chain of attention calls, each with the previous result as its queries. `attention` is a module of that kind; absent: softmax attention. */
export function attentionChain(s: AttentionSizes, copies: number, attention: AnyModule = softmaxAttention(s)): AnyModule {
  return module({ attention }, ({ shift }: Readonly<Record<string, Value>>) => {
    const g = shift!.graph.root;
    const { kvSeq = s.seq } = s;
    const data = (dims: readonly number[], rate: number): Value => wave(shift!, dims, rate);
    const rows = (heads: number, seq: number, rate: number): Value =>
      splitHeads(ops.cast(data([s.batch, seq, heads * s.headDim], rate), g.dtype), heads, padded);
    const [k, v] = [rows(s.kvHeads, kvSeq, 0.731), rows(s.kvHeads, kvSeq, 1.317)];
    const ctx = {
      mask: maskOf(s, shift!),
      layout: padded,
      shared: newShared(g),
      ...(s.bias && { bias: ops.cast(data([1, s.heads, s.seq, kvSeq], 0.517), g.dtype) }),
    } as unknown as SequenceContext;
    let q = rows(s.heads, s.seq, 0.3191);
    for (let i = 0; i < copies; i++) q = attention(q, k, v, ctx) as Value;
    return { y: firstOf(q) };
  });
}

/** The first element, float32 [1, 1, 1, 1]. */
const firstOf = (y: Value): Value =>
  ops.cast(ops.slice(y, { axes: [0, 1, 2, 3], starts: [0, 0, 0, 0], ends: [1, 1, 1, 1] }), 'float32');

const softmaxAttention = ({ softcap }: AttentionSizes): AnyModule =>
  scaledDotProduct({ causal: false, ...(softcap !== undefined && { softcap }) }) as unknown as AnyModule;

function maskOf({ causal, window, lengths }: AttentionSizes, shift: Value): Mask<Value> {
  return and<Value>(
    causal ? causalMask : none,
    window === undefined ? none : slidingWindow({ left: window - 1 }),
    lengths === undefined ? none : keyLengths(lengthsOf(lengths, shift)),
  );
}

/** int64 [batch] */
export const lengthsOf = (lengths: readonly number[], shift: Value): Value =>
  shift.graph.root.constant(tensor('int64', [lengths.length], lengths));

/** float32 numbers from −1 to 1 that differ along every axis. */
export function wave(shift: Value, dims: readonly number[], rate: number): Value {
  const g = shift.graph.root;
  const along = (axis: number): Value => {
    const shape = dims.map((d, i) => (i === axis ? d : 1));
    return ops.mul(ops.reshape(ops.cast(ops.iota(g, dims[axis]!), 'float32'), shape), rate * (0.9 + 0.47 * axis));
  };
  return ops.sin(dims.map((_, axis) => along(axis)).reduce(ops.add, ops.cast(shift, 'float32')));
}

/**
 * Measures one attention call on a target; weights of the mechanism are initialised from a seed.
 *
 * Throws   RunError when the runtime cannot load or run the graphs
 */
export async function benchAttention(
  sizes: AttentionSizes,
  o: Omit<CompileOptions, 'inputs' | 'weights'>,
  ort: Ort,
  options: SlopeOptions = {},
  attention?: AnyModule,
): Promise<AttentionFigure> {
  const weights = initialize(attentionChain(sizes, 1, attention), { seed: 1 });
  const chain = (copies: number) => attentionChain(sizes, copies, attention);
  const measured = await slope(chain, { ...o, weights }, ort, options);
  return { ...measured, sizes, tflops: attentionFlops(sizes) / measured.median / 1e9 };
}

/**
 * Measures one call of a form of attention on a target.
 *
 * Throws   RunError when the runtime cannot load or run the graphs
 */
export function benchForm(
  form: AttentionForm,
  sizes: FormSizes,
  o: Omit<CompileOptions, 'inputs' | 'weights'>,
  ort: Ort,
  options: SlopeOptions = {},
): Promise<Measured> {
  const { batch, seq, kvSeq } = rowsOf(form, sizes);
  const chain = (copies: number): AnyModule => {
    const attention = formChain(form, sizes, copies);
    return module({ attention }, ({ shift, ...data }: Readonly<Record<string, Value>>) => {
      const rows = (heads: number, length: number, rate: number): Value =>
        splitHeads(ops.cast(wave(shift!, [batch, length, heads * sizes.headDim], rate), shift!.graph.root.dtype), heads, padded);
      const [k, v] = [rows(sizes.kvHeads, kvSeq, 0.731), rows(sizes.kvHeads, kvSeq, 1.317)];
      const y = attention(rows(sizes.heads, seq, 0.3191), k, v, data) as Value;
      return { y: firstOf(y) };
    });
  };
  const weights = initialize(chain(1), { seed: 1 });
  return slope(chain, { ...o, weights, rules: [...(o.rules ?? []), ...attentionRules] }, ort, {
    ...options,
    inputs: formInputs(form, sizes),
    feeds: formFeeds(form, sizes),
  });
}
