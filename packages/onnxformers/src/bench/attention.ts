// Softmax attention by itself, over data made inside the graph.
import { scaledDotProduct } from '@onnxformers/attention';
import {
  add,
  and,
  type CompileOptions,
  cast,
  causal as causalMask,
  iota,
  type Mask,
  module,
  mul,
  newShared,
  none,
  type Ort,
  padded,
  reshape,
  type SequenceContext,
  sin,
  slice,
  slidingWindow,
  splitHeads,
  type Value,
} from '@onnxformers/core';
import { type Measured, type SlopeOptions, slope } from './slope';

/** Sizes of one attention call. */
export interface AttentionSizes {
  readonly batch: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly seq: number;
  readonly causal: boolean;
  /** Positions before the query that it sees, itself included; absent: all. */
  readonly window?: number;
}

/** What {@link benchAttention} found. */
export interface AttentionFigure extends Measured {
  readonly sizes: AttentionSizes;
  /** 10¹² floating-point operations per second, counting the pairs that the mask allows. */
  readonly tflops: number;
}

/** Floating-point operations of one call: two products over each pair of a query and a key that it may see. */
export function attentionFlops({ batch, heads, headDim, seq, causal, window }: AttentionSizes): number {
  const w = Math.min(window ?? seq, seq);
  const pairs = causal ? (w * (w + 1)) / 2 + (seq - w) * w : seq * seq;
  // Benchmarks of attention count a causal call as half a full one.
  return 4 * batch * heads * headDim * (causal && window === undefined ? (seq * seq) / 2 : pairs);
}

/** A chain of attention calls, each with the last result as its queries. */
export function attentionChain(s: AttentionSizes, copies: number) {
  const attention = scaledDotProduct({ causal: false });
  return module({ attention }, (inputs: Readonly<Record<string, Value>>) => {
    const shift = inputs.shift!;
    const g = shift.graph.root;
    const rows = (heads: number, rate: number): Value => {
      const width = heads * s.headDim;
      const along = (size: number, dims: readonly number[], factor: number): Value =>
        mul(reshape(cast(iota(g, size), 'float32'), dims), factor);
      const places = add(along(s.batch, [s.batch, 1, 1], 0.9), along(s.seq, [1, s.seq, 1], rate));
      const angles = add(places, add(along(width, [1, 1, width], 1.7 * rate), cast(shift, 'float32')));
      return splitHeads(cast(sin(angles), g.dtype), heads, padded);
    };
    const [k, v] = [rows(s.kvHeads, 0.731), rows(s.kvHeads, 1.317)];
    const window: Mask<never> = s.window === undefined ? none : slidingWindow({ left: s.window - 1 });
    const ctx = {
      mask: and(s.causal ? causalMask : none, window),
      layout: padded,
      shared: newShared(),
    } as unknown as SequenceContext;
    let q = rows(s.heads, 0.3191);
    for (let i = 0; i < copies; i++) q = attention(q, k, v, ctx);
    return { y: cast(slice(q, { axes: [0, 1, 2, 3], starts: [0, 0, 0, 0], ends: [1, 1, 1, 4] }), 'float32') };
  });
}

/**
 * Measures one attention call on a target.
 *
 * Throws   RunError when the runtime cannot load or run the graphs
 */
export async function benchAttention(
  sizes: AttentionSizes,
  o: Omit<CompileOptions, 'inputs'>,
  ort: Ort,
  options: SlopeOptions = {},
): Promise<AttentionFigure> {
  const measured = await slope((copies) => attentionChain(sizes, copies), o, ort, options);
  return { ...measured, sizes, tflops: attentionFlops(sizes) / measured.median / 1e9 };
}
