// Calls of kernels that look at sizes and attributes: one node, in which each size and each feature that the op names in `asks` can be varied.
import { GroupQueryAttention } from '../../packages/attention/src/kernels/group-query-attention';
import { MultiHeadAttention } from '../../packages/attention/src/kernels/multi-head-attention';
import { PackedMultiHeadAttention } from '../../packages/attention/src/kernels/packed-multi-head-attention';
import { PagedAttention } from '../../packages/attention/src/kernels/paged-attention';
import { addDims, type Dim } from '../../packages/core/src/dim/dim';
import type { Attrs, Op } from '../../packages/core/src/ir/define-op';
import type { Value } from '../../packages/core/src/ir/graph';
import { inOrder, type NamedOperands, type OperandNames } from '../../packages/core/src/ir/operands';
import { GatherBlockQuantized } from '../../packages/core/src/kernels/gather-block-quantized';
import { MatMulNBits } from '../../packages/core/src/kernels/mat-mul-n-bits';
import { DFT } from '../../packages/core/src/ops/fourier';
import { Attention, Attention24 } from '../../packages/core/src/ops/onnx-attention';
import type { CodeBits } from '../../packages/core/src/ops/quantized';
import { RotaryEmbedding } from '../../packages/core/src/ops/rotary';
import type { DType } from '../../packages/core/src/tensor/tensor';
import { MicrosoftRotaryEmbedding } from '../../packages/positional/src/kernels/rotary-embedding';
import { SkipLayerNormalization } from '../../packages/residual/src/kernels/skip-layer-normalization';
import { SkipSimplifiedLayerNormalization } from '../../packages/residual/src/kernels/skip-simplified-layer-normalization';

/** Makes the operands of a call: floats of the dtype that is probed, and data that means something. */
export interface Parts {
  readonly dtype: DType;
  floats(...dims: readonly number[]): Value;
  /** Floats eight times as large: scores that 16 bits do not hold. */
  loud(...dims: readonly number[]): Value;
  /** Floats with a size that the model knows only by name. */
  sized(dims: readonly Dim[], known: readonly number[]): Value;
  data(dtype: DType, dims: readonly number[], numbers: readonly number[]): Value;
  state(...dims: readonly number[]): Value;
}

/** What a call should ask for. */
export interface Wanted {
  /** Which of the sample's calls. */
  readonly call: Readonly<Record<string, number>>;
  /** True for a feature that is wanted. */
  has(feature: string): boolean;
  /** The value of a size, or what it usually is. */
  size(name: string, usual: number): number;
}

/** A node to make. */
export interface Call {
  readonly op: Op;
  readonly operands: readonly (Value | undefined)[];
  readonly attrs: Attrs;
  /** The outputs that are compared, by index, and how many elements of the last axis but one in each row of the batch (all if absent). Default: output 0. */
  readonly compared?: Readonly<Record<number, readonly number[] | 'all'>>;
  /** The least precise dtype in it, if that is not the dtype that is probed. */
  readonly precision?: DType;
}

/** An op whose limits are probed. */
export interface LimitSample {
  readonly key: string;
  /** Sizes that each feature is tried with; with `loud` only the plainest call, on large scores. */
  readonly calls: readonly Readonly<Record<string, number>>[];
  /** Values to try for a size, by its name; at the first two calls. */
  readonly sizes: Readonly<Record<string, readonly number[]>>;
  /** Features that come with a size: it is asked only with them. */
  readonly sizesOf?: Readonly<Record<string, string>>;
  /** Features by name; tried alone, and in pairs at the first call that allows them. */
  readonly features: readonly string[];
  /** Features for which the calls differ: their pairs are tried at every call. */
  readonly varying?: readonly string[];
  /** Undefined where the features exclude each other, or the call. */
  build(p: Parts, w: Wanted): Call | undefined;
}

const headDims = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 264, 512];
const ranks = [1, 2, 3, 4, 5];
const scales = ['negative scale', 'scale of 0'];
const scaleOf = ({ has }: Wanted): number | undefined => (has('scale of 0') ? 0 : has('negative scale') ? -0.75 : undefined);
const both = ({ has }: Wanted, a: string, b: string): boolean => has(a) && has(b);
const call = <A extends Attrs, N extends OperandNames>(
  op: Op<A, N>,
  operands: NamedOperands<N, Value>,
  attrs: A,
  more: Omit<Call, 'op' | 'operands' | 'attrs'> = {},
): Call => ({ op: op as unknown as Op, operands: inOrder({ key: op.key, operands: op.operands! }, operands), attrs, ...more });

const groupQueryAttention: LimitSample = {
  key: GroupQueryAttention.key,
  calls: [
    { batch: 2, seq: 5 },
    { batch: 2, seq: 1 },
    { batch: 1, seq: 3 },
    { batch: 2, seq: 7, loud: 1 },
  ],
  sizes: {
    head_dim: headDims,
    'head_dim with rotary': [16, 20, 24, 32, 40, 48, 64, 96, 128, 256],
    'rotary pairs': [1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 32],
  },
  sizesOf: { 'head_dim with rotary': 'rotary', 'rotary pairs': 'rotary' },
  features: [
    'rotary',
    'interleaved rotary',
    'partial rotary',
    'grouped heads',
    'softcap',
    'window',
    'bias',
    'sinks',
    'growing cache',
    'growing cache of known size',
    'fixed cache',
    ...scales,
  ],
  build(p, w) {
    const { has, call: at } = w;
    const [batch, seq] = [at.batch!, at.seq!];
    const turning = ['rotary', 'interleaved rotary', 'partial rotary'].some(has);
    const grows = has('growing cache') || has('growing cache of known size');
    const cached = grows || has('fixed cache');
    if ((grows && has('fixed cache')) || both(w, ...(scales as [string, string]))) return undefined;
    if (cached && batch > 1 && seq > 1) return undefined; // only into an empty cache, which no size says
    const [heads, kvHeads] = [4, has('grouped heads') ? 2 : 4];
    const [pairs, turnedDim] = [w.size('rotary pairs', 0), w.size('head_dim with rotary', 0)];
    const headDim = turning ? turnedDim || (pairs ? 64 : 32) : w.size('head_dim', 32);
    const halves = pairs || (turnedDim || has('partial rotary') ? 8 : headDim / 2);
    const pasts = cached ? (has('fixed cache') && batch > 1 ? [6, 3] : Array(batch).fill(4)) : Array(batch).fill(0);
    const total = Math.max(...pasts) + seq;
    const rows = has('fixed cache') ? 11 : total;
    const held: Dim[] = [batch, kvHeads, has('fixed cache') ? 11 : 4, headDim];
    const named = grows && !has('growing cache of known size');
    const past = cached ? [0, 1].map(() => p.sized(named ? held.with(2, 'past') : held, held as number[])) : [];
    const present = named ? addDims('past', seq) : rows;
    const valid = pasts.map((n: number) => n + seq);
    return call(
      GroupQueryAttention,
      {
        query: (at.loud ? p.loud : p.floats)(batch, seq, heads * headDim),
        key: (at.loud ? p.loud : p.floats)(batch, seq, kvHeads * headDim),
        value: p.floats(batch, seq, kvHeads * headDim),
        past_key: past[0],
        past_value: past[1],
        seqlens_k: p.data(
          'int32',
          [batch],
          valid.map((n: number) => n - 1),
        ),
        total_sequence_length: p.data('int32', [], [total]),
        cos_cache: turning ? p.floats(16, halves) : undefined,
        sin_cache: turning ? p.floats(16, halves) : undefined,
        attention_bias: has('bias') ? p.sized([batch, heads, seq, present], [batch, heads, seq, rows]) : undefined,
        head_sink: has('sinks') ? p.floats(heads) : undefined,
      },
      {
        num_heads: heads,
        kv_num_heads: kvHeads,
        scale: scaleOf(w),
        softcap: has('softcap') ? 1.5 : undefined,
        local_window_size: has('window') ? 2 : undefined,
        do_rotary: turning ? 1 : undefined,
        rotary_interleaved: has('interleaved rotary') ? 1 : undefined,
        present,
      },
      cached ? { compared: { 0: 'all', 1: valid, 2: valid } } : {},
    );
  },
};

const multiHeadAttention: LimitSample = {
  key: MultiHeadAttention.key,
  calls: [
    { seq: 5, kvSeq: 7 },
    { seq: 7, kvSeq: 5 },
    { seq: 1, kvSeq: 7 },
    { seq: 11, kvSeq: 11, loud: 1 },
  ],
  sizes: { head_dim: headDims },
  features: [
    'v_head_dim other than head_dim',
    'kv_seq other than seq',
    'biases of the projections',
    'lengths',
    'bias',
    'causal mask',
    ...scales,
  ],
  varying: ['kv_seq other than seq'],
  build(p, w) {
    const { has, call: at } = w;
    if (both(w, ...(scales as [string, string]))) return undefined;
    const [batch, heads, seq] = [2, 4, at.seq!];
    const kvSeq = has('kv_seq other than seq') ? at.kvSeq! : seq;
    const headDim = w.size('head_dim', 16);
    const width = has('v_head_dim other than head_dim') ? headDim + 8 : headDim;
    return call(
      MultiHeadAttention,
      {
        query: (at.loud ? p.loud : p.floats)(batch, seq, heads * headDim),
        key: (at.loud ? p.loud : p.floats)(batch, kvSeq, heads * headDim),
        value: p.floats(batch, kvSeq, heads * width),
        bias: has('biases of the projections') ? p.floats(heads * (2 * headDim + width)) : undefined,
        key_padding_mask: has('lengths') ? p.data('int32', [batch], [Math.max(1, kvSeq - 2), kvSeq]) : undefined,
        attention_bias: has('bias') ? p.floats(batch, heads, seq, kvSeq) : undefined,
      },
      {
        num_heads: heads,
        scale: scaleOf(w),
        unidirectional: has('causal mask') ? 1 : undefined,
        mask_filter_value: has('lengths') ? Number.NEGATIVE_INFINITY : undefined,
      },
    );
  },
};

const scoresShown = ['scores before softcap', 'scores after softcap', 'scores after mask', 'weights'];
const precisions = { 'softmax in float32': 1, 'softmax in float16': 10, 'softmax in float64': 11, 'softmax in bfloat16': 16 };
const attention: LimitSample = {
  key: Attention.key,
  calls: multiHeadAttention.calls,
  sizes: { head_dim: headDims },
  features: [
    'v_head_dim other than head_dim',
    '4-D operands',
    'grouped heads',
    'kv_seq other than seq',
    'causal mask',
    'bool mask',
    'float mask',
    'mask broadcast over queries',
    'mask shorter than kv_seq',
    'past',
    'nonpad_kv_seqlen',
    'softcap',
    ...scales,
    ...scoresShown,
    ...Object.keys(precisions),
  ],
  varying: ['kv_seq other than seq'],
  build(p, w) {
    const { has, call: at } = w;
    const several = (names: readonly string[]): boolean => names.filter(has).length > 1;
    if (several(scales) || several(scoresShown) || several(Object.keys(precisions)) || both(w, 'bool mask', 'float mask'))
      return undefined;
    if (both(w, 'past', 'nonpad_kv_seqlen')) return undefined;
    const [batch, heads, seq] = [2, 4, at.seq!];
    const kvHeads = has('grouped heads') ? 2 : heads;
    const kvSeq = has('kv_seq other than seq') ? at.kvSeq! : seq;
    const total = kvSeq + (has('past') ? 3 : 0);
    const headDim = w.size('head_dim', 16);
    const width = has('v_head_dim other than head_dim') ? headDim + 8 : headDim;
    const apart = has('4-D operands');
    const rows = (n: number, count: number, of: number): Value =>
      at.loud ? p.loud(batch, count, n * of) : apart ? p.floats(batch, n, count, of) : p.floats(batch, count, n * of);
    const first = has('mask shorter than kv_seq');
    const masked = has('bool mask') || has('float mask') || has('mask broadcast over queries') || first;
    if ((first && total < 3) || (has('mask broadcast over queries') && seq === 1)) return undefined;
    const dims = [has('mask broadcast over queries') ? 1 : seq, first ? total - 1 : total];
    const mask = !masked
      ? undefined
      : has('bool mask')
        ? // Also a query that may attend to no key, where there are several.
          p.data(
            'bool',
            dims,
            Array.from({ length: dims[0]! * dims[1]! }, (_, i) => (i < dims[1]! && seq > 1 ? 0 : i % 3 ? 1 : 0)),
          )
        : p.floats(...dims);
    const shown = scoresShown.findIndex(has);
    const precision = Object.entries(precisions).find(([name]) => has(name));
    const op = first || has('nonpad_kv_seqlen') ? Attention24 : Attention;
    return call(
      op,
      {
        q: rows(heads, seq, headDim),
        k: rows(kvHeads, kvSeq, headDim),
        v: rows(kvHeads, kvSeq, width),
        mask,
        pastKey: has('past') ? p.floats(batch, kvHeads, 3, headDim) : undefined,
        pastValue: has('past') ? p.floats(batch, kvHeads, 3, width) : undefined,
        nonpad: has('nonpad_kv_seqlen') ? p.data('int64', [batch], [Math.max(1, kvSeq - 2), kvSeq]) : undefined,
      },
      {
        is_causal: has('causal mask') ? 1 : undefined,
        ...(!apart && { q_num_heads: heads, kv_num_heads: kvHeads }),
        scale: scaleOf(w),
        softcap: has('softcap') ? 1.5 : undefined,
        softmax_precision: precision?.[1],
        qk_matmul_output_mode: shown < 0 ? undefined : shown,
        outputs: shown >= 0 ? 4 : has('past') ? 3 : 1,
      },
      {
        compared: { 0: 'all', ...(has('past') && { 1: 'all', 2: 'all' }), ...(shown >= 0 && { 3: 'all' }) },
        ...((has('softmax in float16') || has('softmax in bfloat16')) && {
          precision: has('softmax in float16') ? 'float16' : 'bfloat16',
        }),
      },
    );
  },
};

const packed: LimitSample = {
  key: PackedMultiHeadAttention.key,
  calls: [{}, { loud: 1 }],
  sizes: { head_dim: headDims },
  features: ['v_head_dim other than head_dim', 'biases of the projections', ...scales],
  build(p, w) {
    const { has, call: at } = w;
    if (both(w, ...(scales as [string, string]))) return undefined;
    const [heads, tokens, headDim] = [4, 8, w.size('head_dim', 16)];
    const width = has('v_head_dim other than head_dim') ? headDim + 8 : headDim;
    return call(
      PackedMultiHeadAttention,
      {
        query: (at.loud ? p.loud : p.floats)(tokens, heads * headDim),
        key: (at.loud ? p.loud : p.floats)(tokens, heads * headDim),
        value: p.floats(tokens, heads * width),
        bias: has('biases of the projections') ? p.floats(heads * (2 * headDim + width)) : undefined,
        token_offset: p.data('int32', [2, 5], [0, 1, 2, 5, 6, 7, 8, 9, 3, 4]),
        cumulative_sequence_length: p.data('int32', [3], [0, 3, 8]),
      },
      { num_heads: heads, scale: scaleOf(w) },
    );
  },
};

const sinkDims = {
  'block_size with sinks and a head_dim up to 64': 64,
  'block_size with sinks and a head_dim up to 128': 128,
  'block_size with sinks and a head_dim above 128': 192,
};
const paged: LimitSample = {
  key: PagedAttention.key,
  // Which kernel runs depends on the size of blocks, and on whether there is one token of each sequence.
  calls: [
    { seq: 1, block: 32 },
    { seq: 3, block: 32 },
    { seq: 3, block: 256 },
    { seq: 7, block: 32, loud: 1 },
  ],
  sizes: {
    head_dim: headDims.filter((n) => n <= 320),
    block_size: [16, 24, 32, 48, 64, 100, 128, 256, 512],
    ...Object.fromEntries(Object.keys(sinkDims).map((name) => [name, [16, 32, 64, 128, 256, 512]])),
  },
  sizesOf: Object.fromEntries(Object.keys(sinkDims).map((name) => [name, 'sinks'])),
  features: ['grouped heads', 'softcap', 'window', 'sinks', ...scales],
  build(p, w) {
    const { has, call: at } = w;
    if (both(w, ...(scales as [string, string]))) return undefined;
    const [width, sinkBlocks] = Object.entries(sinkDims)
      .map(([name, dim]) => [dim, w.size(name, 0)] as const)
      .find(([, blocks]) => blocks) ?? [64, 0];
    const [batch, seq, heads, headDim] = [2, at.seq!, 2, w.size('head_dim', width)];
    if (has('sinks') && !sinkBlocks && at.block !== 256) return undefined; // small blocks are tried as a size
    const [kvHeads, blockSize] = [has('grouped heads') ? 1 : heads, sinkBlocks || w.size('block_size', at.block!)];
    const pasts = [6, 3];
    return call(
      PagedAttention,
      {
        query: (at.loud ? p.loud : p.floats)(batch * seq, heads * headDim),
        key: (at.loud ? p.loud : p.floats)(batch * seq, kvHeads * headDim),
        value: p.floats(batch * seq, kvHeads * headDim),
        key_cache: p.state(3, blockSize, kvHeads, headDim),
        value_cache: p.state(3, blockSize, kvHeads, headDim),
        cumulative_sequence_length: p.data('int32', [3], [0, seq, 2 * seq]),
        past_seqlens: p.data('int32', [2], pasts),
        block_table: p.data('int32', [2, 1], [2, 0]),
        head_sink: has('sinks') ? p.floats(heads) : undefined,
        attention_metadata: p.data('int32', [2], [seq, blockSize]),
      },
      {
        num_heads: heads,
        kv_num_heads: kvHeads,
        scale: scaleOf(w),
        softcap: has('softcap') ? 1.5 : undefined,
        local_window_size: has('window') ? 3 : undefined,
      },
    );
  },
};

const even = [2, 4, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 80, 128, 256, 512];
const rotary: LimitSample = {
  key: RotaryEmbedding.key,
  calls: [{ seq: 5 }, { seq: 1 }],
  sizes: { head_dim: even, 'rotated channels': even.filter((n) => n <= 64) },
  features: ['interleaved', 'partial', '4-D operands', 'positions'],
  build(p, w) {
    const { has, call: at } = w;
    const [batch, heads, seq] = [2, 3, at.seq!];
    const channels = w.size('rotated channels', 0);
    const headDim = w.size('head_dim', channels ? 128 : 32);
    const turned = channels || (has('partial') ? headDim / 2 : headDim);
    const angles = (): Value => (has('positions') ? p.floats(9, turned / 2) : p.floats(batch, seq, turned / 2));
    return call(
      RotaryEmbedding,
      {
        x: has('4-D operands') ? p.floats(batch, heads, seq, headDim) : p.floats(batch, seq, heads * headDim),
        cos: angles(),
        sin: angles(),
        positions: has('positions')
          ? p.data(
              'int64',
              [batch, seq],
              Array.from({ length: batch * seq }, (_, i) => (3 * i) % 7),
            )
          : undefined,
      },
      {
        interleaved: has('interleaved') ? 1 : undefined,
        num_heads: has('4-D operands') ? undefined : heads,
        rotary_embedding_dim: turned === headDim ? undefined : turned,
      },
    );
  },
};
const microsoftRotary: LimitSample = {
  key: MicrosoftRotaryEmbedding.key,
  calls: rotary.calls,
  sizes: rotary.sizes,
  features: ['interleaved', 'partial'],
  build(p, w) {
    const { has, call: at } = w;
    const [batch, heads, seq] = [2, 3, at.seq!];
    const channels = w.size('rotated channels', 0);
    const headDim = w.size('head_dim', channels ? 128 : 32);
    const turned = channels || (has('partial') ? headDim / 2 : headDim);
    return call(
      MicrosoftRotaryEmbedding,
      {
        x: p.floats(batch, seq, heads * headDim),
        positions: p.data(
          'int64',
          [batch, seq],
          Array.from({ length: batch * seq }, (_, i) => (3 * i) % 7),
        ),
        cos: p.floats(9, turned / 2),
        sin: p.floats(9, turned / 2),
      },
      {
        interleaved: has('interleaved') ? 1 : undefined,
        num_heads: heads,
        rotary_embedding_dim: turned === headDim ? undefined : turned,
      },
    );
  },
};

const dft: LimitSample = {
  key: DFT.key,
  calls: [{}],
  sizes: {
    length: [
      1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 16, 17, 24, 31, 32, 48, 60, 64, 97, 100, 128, 192, 255, 256, 384, 500, 512,
      768, 1000, 1024,
    ],
  },
  features: ['inverse', 'one-sided transform', 'complex signal'],
  build(p, w) {
    const { has } = w;
    const [inverse, onesided] = [has('inverse'), has('one-sided transform')];
    if (onesided && has('complex signal') !== inverse) return undefined;
    const length = w.size('length', 16);
    const x = p.floats(3, inverse && onesided ? length / 2 + 1 : length, has('complex signal') ? 2 : 1);
    const back = inverse && onesided;
    return {
      op: DFT as unknown as Op,
      operands: back ? [x, p.data('int64', [], [length])] : [x],
      attrs: { axis: 1, inverse: inverse ? 1 : 0, onesided: onesided ? 1 : 0, ...(back && { length }) },
    };
  },
};

const bytes = (p: Parts, ...dims: readonly number[]): Value =>
  p.data(
    'uint8',
    dims,
    Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => (37 * i * i + 11 * i + 5) % 256),
  );
const matMulNBits: LimitSample = {
  key: MatMulNBits.key,
  calls: [{ rows: 3 }, { rows: 1 }],
  sizes: { rank: ranks.slice(1) },
  features: ['zero points', 'an incomplete block', '8 bits'],
  build(p, w) {
    const [N, size] = [11, 32];
    const bits: CodeBits = w.has('8 bits') ? 8 : 4;
    const K = w.has('an incomplete block') ? 88 : 96;
    const lead = Array.from({ length: w.size('rank', 3) - 2 }, () => 2);
    return call(
      MatMulNBits,
      {
        x: p.floats(...lead, w.call.rows!, K),
        packed: bytes(p, N, 3, (size * bits) / 8),
        scales: p.floats(N, 3),
        zeroPoints: w.has('zero points') ? bytes(p, N, Math.ceil((3 * bits) / 8)) : undefined,
      },
      { K, N, bits, block_size: size },
    );
  },
};
const gatherBlockQuantized: LimitSample = {
  key: GatherBlockQuantized.key,
  calls: [{}],
  sizes: { 'rank of the ids': [1, 2, 3] },
  features: ['zero points', '8 bits'],
  build(p, w) {
    const bits: CodeBits = w.has('8 bits') ? 8 : 4;
    const ids = [2, 3, 2].slice(0, w.size('rank of the ids', 2));
    const count = ids.reduce((a, b) => a * b, 1);
    return call(
      GatherBlockQuantized,
      {
        packed: bytes(p, 7, 8 * bits),
        ids: p.data(
          'int64',
          ids,
          Array.from({ length: count }, (_, i) => (3 * i) % 7),
        ),
        scales: p.floats(7, 2),
        zeroPoints: w.has('zero points') ? bytes(p, 7, bits / 4) : undefined,
      },
      { gather_axis: 0, quantize_axis: 1, block_size: 32, bits },
    );
  },
};

const skipSample = (
  op: typeof SkipLayerNormalization | typeof SkipSimplifiedLayerNormalization,
  shifted: boolean,
): LimitSample => ({
  key: op.key,
  calls: [{}],
  sizes: { rank: ranks },
  features: ['broadcast skip', 'sum'],
  build(p, w) {
    const rank = w.size('rank', 3);
    const dims = [2, 3, 2, 5, 24].slice(5 - rank);
    const skip = w.has('broadcast skip') ? [1, ...dims.slice(1)] : dims;
    const rows = { scale: p.floats(24), bias: p.floats(24), ...(shifted && { shift: p.floats(24) }) };
    const sum = w.has('sum');
    return call(
      op as Op<{ readonly epsilon: number; readonly sum: boolean }, typeof SkipLayerNormalization.operands & {}>,
      { x: p.floats(...dims), skip: p.floats(...skip), ...rows },
      { epsilon: 1e-3, sum },
      { compared: { 0: 'all', ...(sum && { 1: 'all' }) } },
    );
  },
});

/** Every op whose limits are probed. */
export const limitSamples: readonly LimitSample[] = [
  groupQueryAttention,
  multiHeadAttention,
  attention,
  packed,
  paged,
  rotary,
  microsoftRotary,
  dft,
  matMulNBits,
  gatherBlockQuantized,
  skipSample(SkipLayerNormalization, true),
  skipSample(SkipSimplifiedLayerNormalization, false),
];
