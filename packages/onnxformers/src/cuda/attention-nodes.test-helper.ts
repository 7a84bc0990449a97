// One node of attention in every form that the CUDA provider has: all operands are inputs of a model.
import {
  type AnyModule,
  compile,
  type Dim,
  type DType,
  type InputType,
  type Model,
  type ModelDType,
  module,
  type Target,
  type TensorType,
  targets,
  type Value,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';

/** A form of attention: the node, and what is fed to it. */
export interface AttentionNode {
  readonly name: string;
  readonly key: string;
  /** The operands by name, in order: the dims of a float, or dtype and dims. */
  readonly operands: Readonly<Record<string, readonly number[] | readonly [dtype: DType, dims: readonly number[]]>>;
  readonly attrs?: Readonly<Record<string, number | string>>;
  /** The dims of the outputs. */
  readonly outputs: readonly (readonly number[])[];
  /** What integers are filled with. */
  readonly fill?: Readonly<Record<string, number>>;
  /** The dtypes of the outputs that are not that of the first operand. */
  readonly outputDtypes?: readonly DType[];
  /** Operands that are the same value as another one. */
  readonly same?: Readonly<Record<string, string>>;
  readonly since?: number;
}

const names: Readonly<Record<string, readonly string[]>> = {
  'com.microsoft.MultiHeadAttention': [
    'query',
    'key?',
    'value?',
    'bias?',
    'key_padding_mask?',
    'attention_bias?',
    'past_key?',
    'past_value?',
  ],
  'com.microsoft.GroupQueryAttention': [
    'query',
    'key?',
    'value?',
    'past_key?',
    'past_value?',
    'seqlens_k',
    'total_sequence_length',
    'cos_cache?',
    'sin_cache?',
    'position_ids?',
    'attention_bias?',
    'head_sink?',
    'k_scale?',
    'v_scale?',
  ],
  'com.microsoft.PackedMultiHeadAttention': [
    'query',
    'key?',
    'value?',
    'bias?',
    'token_offset',
    'cumulative_sequence_length',
    'attention_bias?',
  ],
  'com.microsoft.Attention': ['input', 'weights', 'bias?', 'mask_index?', 'past?', 'attention_bias?'],
  'com.microsoft.PackedAttention': ['input', 'weights', 'bias', 'token_offset', 'cumulative_sequence_length', 'attention_bias?'],
  Attention: ['q', 'k', 'v', 'mask?', 'pastKey?', 'pastValue?', 'nonpad?'],
  'com.microsoft.PagedAttention': [
    'query',
    'key?',
    'value?',
    'key_cache',
    'value_cache',
    'cumulative_sequence_length',
    'past_seqlens',
    'block_table',
    'cos_cache?',
    'sin_cache?',
    'slot_mapping?',
    'head_sink?',
    'q_norm_weight?',
    'k_norm_weight?',
    'k_scale?',
    'v_scale?',
    'attention_metadata?',
  ],
};

const threeDtypes = ['float32', 'float16', 'bfloat16'] as const;
const twoDtypes = ['float32', 'float16'] as const; // its schema has no bfloat16

/** Everything that the provider has, without what the library knows about it. */
const bare: Target = {
  ...targets.cuda,
  kernels: Object.fromEntries(
    [...Object.keys(targets.cuda.kernels), ...Object.keys(names)].map((key) => [
      key,
      { dtypes: targets.cuda.kernels[key]?.dtypes ?? (key === 'com.microsoft.PackedAttention' ? twoDtypes : threeDtypes) },
    ]),
  ),
};

const typeOf = (
  operand: AttentionNode['operands'][string],
  dtype: ModelDType,
): { readonly dtype: DType; readonly dims: readonly number[] } =>
  typeof operand[0] === 'string'
    ? { dtype: operand[0], dims: operand[1] as readonly number[] }
    : { dtype, dims: operand as readonly number[] };

/** A model of the node alone. */
export function modelOfNode(node: AttentionNode, dtype: ModelDType): Model {
  const attributes = Object.fromEntries(
    Object.entries(node.attrs ?? {}).map(
      ([name, x]) => [name, typeof x === 'string' ? 'string' : Number.isInteger(x) ? 'int' : 'float'] as const,
    ),
  );
  const op = ops.onnxOp({
    key: node.key,
    operands: names[node.key]!,
    attributes,
    ...(node.since !== undefined && { since: node.since }),
    infer: ([first]: readonly (TensorType | undefined)[]) =>
      node.outputs.map((dims, i) => ({ dtype: node.outputDtypes?.[i] ?? first!.dtype, dims: dims as readonly Dim[] })),
  } as never);
  const inputs = Object.fromEntries(
    Object.entries(node.operands).map(([name, operand]) => {
      // Models in bfloat16 have inputs in float32.
      const type = typeOf(operand, dtype === 'bfloat16' ? 'float32' : dtype);
      return [`in_${name}`, [type.dtype, type.dims, 'data'] as InputType];
    }),
  );
  const alone: AnyModule = module({}, (given: Readonly<Record<string, Value>>) => {
    const operands = names[node.key]!.map((optional) => {
      const name = optional.replace('?', '');
      const operand = given[`in_${node.same?.[name] ?? name}`];
      // Inputs become the model's dtype; scales are float32 in every model.
      return operand && /_scale$/.test(name) ? ops.cast(operand, 'float32') : operand;
    });
    return Object.fromEntries(op(operands, (node.attrs ?? {}) as never).map((y, i) => [`y${i}`, y]));
  });
  return compile(alone, { target: bare, dtype, inputs });
}

// ---- The forms ------------------------------------------------------------------------------------------------------

const [batch, heads, kvHeads, headDim, seq] = [2, 8, 2, 64, 512] as const;

interface Sizes {
  readonly seq?: number;
  readonly kvSeq?: number;
  readonly headDim?: number;
  readonly valueDim?: number;
}
type Operands = AttentionNode['operands'];
type More = Partial<Omit<AttentionNode, 'name' | 'key'>>;

const mha = (name: string, s: Sizes = {}, { operands, ...more }: More = {}): AttentionNode => {
  const { seq: queries = seq, kvSeq = queries, headDim: d = headDim, valueDim = d } = s;
  return {
    name: `MultiHeadAttention, ${name}`,
    key: 'com.microsoft.MultiHeadAttention',
    operands: {
      query: [batch, queries, heads * d],
      key: [batch, kvSeq, heads * d],
      value: [batch, kvSeq, heads * valueDim],
      ...operands,
    },
    outputs: [[batch, queries, heads * valueDim]],
    ...more,
    attrs: { num_heads: heads, ...more.attrs },
  };
};
const causal = { attrs: { unidirectional: 1 } };
const int32 = (...dims: number[]) => ['int32', dims] as const;
const lengths = { operands: { key_padding_mask: int32(batch) } };
const scores = (queries: number, keys: number): Operands => ({ attention_bias: [1, heads, queries, keys] });
const past = (length: number): Operands => ({
  past_key: [batch, heads, length, headDim],
  past_value: [batch, heads, length, headDim],
});
const present = (count: number, total: number): readonly (readonly number[])[] => [
  [batch, count, total, headDim],
  [batch, count, total, headDim],
];
const packedQkv = { query: [batch, seq, heads, 3, headDim] } as const;

const multiHead: readonly AttentionNode[] = [
  mha('no mask'),
  mha('no mask, causal', {}, causal),
  mha('no mask, 384 positions', { seq: 384 }),
  mha('no mask, 128 positions', { seq: 128 }),
  mha('no mask, 64 positions, causal', { seq: 64 }, causal),
  mha('cross attention', { kvSeq: 200 }),
  mha('biases of the projections', {}, { operands: { bias: [3 * heads * headDim] } }),
  mha('past and present', { seq: 1 }, { operands: past(64), outputs: [[batch, 1, heads * headDim], ...present(heads, 65)] }),
  mha('present', {}, { outputs: [[batch, seq, heads * headDim], ...present(heads, seq)] }),
  mha('lengths', {}, lengths),
  mha('lengths, causal', {}, { ...lengths, ...causal }),
  mha('lengths, cross attention', { kvSeq: 200 }, lengths),
  mha('mask of keys', {}, { operands: { key_padding_mask: int32(batch, seq) } }),
  mha('mask of pairs', {}, { operands: { key_padding_mask: int32(batch, seq, seq) } }),
  mha('lengths and offsets', {}, { operands: { key_padding_mask: int32(3 * batch + 2) } }),
  mha('bias', {}, { operands: scores(seq, seq) }),
  mha('bias, causal', {}, { operands: scores(seq, seq), ...causal }),
  mha('bias, 510 queries', { seq: 510 }, { operands: scores(510, 510) }),
  mha('bias, 7 queries of 8 keys', { seq: 7, kvSeq: 8 }, { operands: scores(7, 8) }),
  mha('bias and lengths', {}, { operands: { ...lengths.operands, ...scores(seq, seq) } }),
  mha('causal, more queries than keys', { kvSeq: 256 }, causal),
  mha('causal, more keys than queries', { kvSeq: 768 }, causal),
  mha('values of another width', { valueDim: 32 }),
  mha('head_dim 128', { headDim: 128 }),
  mha('head_dim 32', { headDim: 32 }),
  mha('head_dim 256', { headDim: 256 }),
  mha('head_dim 264', { headDim: 264 }),
  mha('head_dim 512', { headDim: 512 }),
  mha('head_dim 44', { headDim: 44 }),
  mha('head_dim 60', { headDim: 60 }),
  { ...mha('packed queries, keys and values'), operands: packedQkv },
  {
    ...mha('packed keys and values'),
    operands: { query: [batch, seq, heads * headDim], key: [batch, seq, heads, 2, headDim] },
  },
  {
    ...mha('keys and values of heads'),
    operands: {
      query: [batch, seq, heads * headDim],
      key: [batch, heads, seq, headDim],
      value: [batch, heads, seq, headDim],
    },
  },
];

const gqa = (name: string, s: Sizes = {}, { operands, ...more }: More = {}): AttentionNode => {
  const { seq: queries = seq, headDim: d = headDim } = s;
  return {
    name: `GroupQueryAttention, ${name}`,
    key: 'com.microsoft.GroupQueryAttention',
    operands: {
      query: [batch, queries, heads * d],
      key: [batch, queries, kvHeads * d],
      value: [batch, queries, kvHeads * d],
      seqlens_k: int32(batch),
      total_sequence_length: int32(),
      ...operands,
    },
    outputs: [
      [batch, queries, heads * d],
      [batch, kvHeads, queries, d],
      [batch, kvHeads, queries, d],
    ],
    fill: { seqlens_k: queries - 1, total_sequence_length: queries },
    ...more,
    attrs: { num_heads: heads, kv_num_heads: kvHeads, ...more.attrs },
  };
};
const cache = (length: number): Operands => ({
  past_key: [batch, kvHeads, length, headDim],
  past_value: [batch, kvHeads, length, headDim],
});
const decoding = (capacity: number): More => ({
  operands: cache(capacity),
  outputs: [[batch, 1, heads * headDim], ...present(kvHeads, capacity)],
  fill: { seqlens_k: 99, total_sequence_length: 100 },
});
const quantized = { k_quant_type: 'PER_TENSOR', v_quant_type: 'PER_TENSOR' };
/** Decoding with a cache of bytes, with as many query heads for each key head. */
function decodingInBytes(name: string, shared: number, same?: Readonly<Record<string, string>>): AttentionNode {
  const all = kvHeads * shared;
  const bytes = ['int8', [batch, kvHeads, 256, headDim]] as const;
  const node = gqa(
    name,
    { seq: 1 },
    {
      ...decoding(256),
      operands: { past_key: bytes, past_value: bytes, k_scale: ['float32', [1]], v_scale: ['float32', [1]] },
      attrs: { ...quantized, kv_cache_bit_width: 8, num_heads: all },
    },
  );
  const { v_scale: _, ...shareScale } = node.operands;
  return {
    ...node,
    operands: { ...(same ? shareScale : node.operands), query: [batch, 1, all * headDim] },
    ...(same && { same }),
    outputs: [[batch, 1, all * headDim], ...node.outputs.slice(1)],
    outputDtypes: [undefined as never, 'int8', 'int8'],
  };
}
const groupQuery: readonly AttentionNode[] = [
  gqa('plain'),
  gqa('9 positions', { seq: 9 }),
  {
    ...gqa('packed queries, keys and values'),
    operands: {
      query: [batch, seq, (heads + 2 * kvHeads) * headDim],
      seqlens_k: int32(batch),
      total_sequence_length: int32(),
    },
  },
  gqa('rotation', {}, { operands: { cos_cache: [seq, headDim / 2], sin_cache: [seq, headDim / 2] }, attrs: { do_rotary: 1 } }),
  gqa(
    'decoding, a cache that grows',
    { seq: 1 },
    {
      operands: cache(99),
      outputs: [[batch, 1, heads * headDim], ...present(kvHeads, 100)],
      fill: { seqlens_k: 99, total_sequence_length: 100 },
    },
  ),
  gqa('decoding, a cache of fixed capacity', { seq: 1 }, decoding(256)),
  gqa('window', {}, { attrs: { local_window_size: 128 } }),
  gqa('softcap', {}, { attrs: { softcap: 30.5 } }),
  gqa('smooth softmax', {}, { attrs: { smooth_softmax: 1 } }),
  gqa('sinks', {}, { operands: { head_sink: [heads] } }),
  gqa('bias', {}, { operands: { attention_bias: [1, heads, seq, seq] } }),
  gqa('head_dim 128', { headDim: 128 }),
  gqa('head_dim 256', { headDim: 256 }),
  gqa('head_dim 512', { headDim: 512 }),
  decodingInBytes('decoding, a cache of int8', 8, { v_scale: 'k_scale' }),
  decodingInBytes('decoding, a cache of int8 with two scales', 8),
  decodingInBytes('decoding, a cache of int8, 2 heads on a key head', 2, { v_scale: 'k_scale' }),
];

interface Pages {
  readonly blockSize: number;
  readonly rows: number;
  readonly d: number;
}
const pages: Pages = { blockSize: 256, rows: batch * seq, d: headDim };
const pagedNode = (name: string, sizes: Partial<Pages> = {}, { operands, ...more }: More = {}): AttentionNode => {
  const { blockSize, rows, d } = { ...pages, ...sizes };
  const kv = kvHeads;
  const cache = [8, blockSize, kv, d] as const;
  return {
    name: `PagedAttention, ${name}`,
    key: 'com.microsoft.PagedAttention',
    operands: {
      query: [rows, heads * d],
      key: [rows, kv * d],
      value: [rows, kv * d],
      key_cache: cache,
      value_cache: cache,
      cumulative_sequence_length: int32(batch + 1),
      past_seqlens: int32(batch),
      block_table: int32(batch, 4),
      attention_metadata: int32(2),
      ...operands,
    },
    outputs: [[rows, heads * d]],
    fill: { attention_metadata: rows / batch, block_table: 0, cumulative_sequence_length: 0, past_seqlens: 0 },
    ...more,
    attrs: { num_heads: heads, kv_num_heads: kv, ...more.attrs },
  };
};
const inBytes = (blockSize: number, d: number): Operands => ({
  key_cache: ['int8', [8, blockSize, 2, d]],
  value_cache: ['int8', [8, blockSize, 2, d]],
  k_scale: ['float32', [1]],
  v_scale: ['float32', [1]],
});
const pagedForms: readonly AttentionNode[] = [
  pagedNode('prompts'),
  pagedNode('prompts, all pairs', {}, { attrs: { is_causal: 0 } }),
  pagedNode('prompts, window', {}, { attrs: { local_window_size: 128 } }),
  pagedNode('prompts, softcap', {}, { attrs: { softcap: 30.5 } }),
  pagedNode('prompts, sinks', {}, { operands: { head_sink: [heads] } }),
  pagedNode('prompts, blocks of 16', { blockSize: 16 }),
  pagedNode('prompts, blocks of 128, head_dim 128', { blockSize: 128, d: 128 }),
  pagedNode('prompts, blocks of 128', { blockSize: 128 }),
  pagedNode('one query', { rows: batch }),
  pagedNode('one query, blocks of 16', { rows: batch, blockSize: 16 }),
  pagedNode('one query, a cache of int8', { rows: batch }, { operands: inBytes(256, headDim), attrs: quantized }),
  pagedNode('prompts, a cache of int8', {}, { operands: inBytes(256, headDim), attrs: quantized }),
];

const standard = (
  name: string,
  s: Sizes & { readonly kvHeads?: number } = {},
  { operands, ...more }: More = {},
): AttentionNode => {
  const { seq: queries = seq, kvSeq = queries, headDim: d = headDim, valueDim = d, kvHeads: kv = heads } = s;
  return {
    name: `Attention, ${name}`,
    key: 'Attention',
    since: 23,
    operands: {
      q: [batch, queries, heads * d],
      k: [batch, kvSeq, kv * d],
      v: [batch, kvSeq, kv * valueDim],
      ...operands,
    },
    outputs: [[batch, queries, heads * valueDim]],
    ...more,
    attrs: { q_num_heads: heads, kv_num_heads: kv, ...more.attrs },
  };
};
const ordered = { attrs: { is_causal: 1 } };
const mask = (dtype: 'bool' | 'float', queries: number, keys = queries): Operands => ({
  mask: dtype === 'bool' ? ['bool', [queries, keys]] : [queries, keys],
});
const pastOf = (count: number, length: number): Operands => ({
  pastKey: [batch, count, length, headDim],
  pastValue: [batch, count, length, headDim],
});
const standardForms: readonly AttentionNode[] = [
  standard('no mask'),
  standard('causal', {}, ordered),
  standard('grouped heads', { kvHeads }),
  standard('grouped heads, causal', { kvHeads }, ordered),
  standard('softcap', {}, { attrs: { softcap: 30.5 } }),
  standard('softcap, causal', {}, { attrs: { softcap: 30.5, is_causal: 1 } }),
  standard(
    'causal with a past',
    { seq: 3, kvSeq: 3, kvHeads },
    { ...ordered, operands: pastOf(kvHeads, 64), outputs: [[batch, 3, heads * headDim], ...present(kvHeads, 67)] },
  ),
  standard('cross attention', { kvSeq: 200 }),
  standard('mask of bools', {}, { operands: mask('bool', seq) }),
  standard('mask of floats', {}, { operands: mask('float', seq) }),
  standard('mask of bools, grouped heads', { kvHeads }, { operands: mask('bool', seq) }),
  standard('mask of bools, 7 positions', { seq: 7 }, { operands: mask('bool', 7) }),
  standard('mask of bools, 7 queries of 8 keys', { seq: 7, kvSeq: 8 }, { operands: mask('bool', 7, 8) }),
  standard('causal, more queries than keys', { kvSeq: 256 }, ordered),
  standard('causal, more keys than queries', { kvSeq: 768 }, ordered),
  standard('9 positions', { seq: 9 }),
  standard('values of another width', { valueDim: 32 }),
  standard('head_dim 128', { headDim: 128 }),
  standard('head_dim 256', { headDim: 256 }),
  standard('head_dim 512', { headDim: 512 }),
  standard('head_dim 44', { headDim: 44 }),
  standard(
    'real keys, 1 query',
    { seq: 1, kvSeq: 256, kvHeads },
    { operands: { nonpad: ['int64', [batch]] }, since: 24, fill: { nonpad: 100 } },
  ),
  standard('real keys', { kvHeads }, { operands: { nonpad: ['int64', [batch]] }, since: 24, fill: { nonpad: 100 } }),
];

const tokens = batch * seq;
const places: Operands = { token_offset: int32(batch, seq), cumulative_sequence_length: int32(batch + 1) };
const packedMha = (
  name: string,
  s: Sizes & { readonly longest?: number } = {},
  { operands, ...more }: More = {},
): AttentionNode => {
  const { headDim: d = headDim, valueDim = d, seq: longest = seq } = s;
  return {
    name: `PackedMultiHeadAttention, ${name}`,
    key: 'com.microsoft.PackedMultiHeadAttention',
    operands: {
      query: [batch * longest, heads * d],
      key: [batch * longest, heads * d],
      value: [batch * longest, heads * valueDim],
      token_offset: int32(batch, longest),
      cumulative_sequence_length: int32(batch + 1),
      ...operands,
    },
    outputs: [[batch * longest, heads * valueDim]],
    ...more,
    attrs: { num_heads: heads, ...more.attrs },
  };
};
const packedForms: readonly AttentionNode[] = [
  packedMha('separate'),
  packedMha('separate, 128 positions', { seq: 128 }),
  packedMha('separate, 1024 positions', { seq: 1024 }),
  packedMha('biases of the projections', {}, { operands: { bias: [3 * heads * headDim] } }),
  packedMha('head_dim 264', { headDim: 264 }),
  packedMha('values of another width', { valueDim: 32 }),
  packedMha('bias', {}, { operands: { attention_bias: [1, heads, seq, seq] } }),
  packedMha('bias, 510 positions', { seq: 510 }, { operands: { attention_bias: [1, heads, 510, 510] } }),
  { ...packedMha('packed queries, keys and values'), operands: { query: [tokens, heads, 3, headDim], ...places } },
  {
    ...packedMha('packed queries, keys and values, 1024 positions', { seq: 1024 }),
    operands: {
      query: [batch * 1024, heads, 3, headDim],
      token_offset: int32(batch, 1024),
      cumulative_sequence_length: int32(batch + 1),
    },
  },
];

const dim = heads * headDim;
const withProjections = (key: string, name: string, { operands, ...more }: More = {}): AttentionNode => ({
  name: `${key.split('.').at(-1)} of com.microsoft, ${name}`,
  key,
  operands: {
    input: key.endsWith('PackedAttention') ? [tokens, dim] : [batch, seq, dim],
    weights: [dim, 3 * dim],
    bias: [3 * dim],
    ...operands,
  },
  outputs: [key.endsWith('PackedAttention') ? [tokens, dim] : [batch, seq, dim]],
  ...more,
  attrs: { num_heads: heads, ...more.attrs },
});
const own = (name: string, more: More = {}): AttentionNode => withProjections('com.microsoft.Attention', name, more);
const projected: readonly AttentionNode[] = [
  own('no mask'),
  own('causal', causal),
  own('lengths', { operands: { mask_index: int32(batch) } }),
  own('lengths, causal', { operands: { mask_index: int32(batch) }, ...causal }),
  own('bias', { operands: { attention_bias: [1, heads, seq, seq] } }),
  own('bias, 510 positions', {
    operands: { input: [batch, 510, dim], attention_bias: [1, heads, 510, 510] },
    outputs: [[batch, 510, dim]],
  }),
  own('mask of keys', { operands: { mask_index: int32(batch, seq) } }),
  own('mask of pairs', { operands: { mask_index: int32(batch, seq, seq) } }),
  own('ends and starts', { operands: { mask_index: int32(2 * batch) } }),
  own('past', {
    operands: { past: [2, batch, heads, 64, headDim] },
    outputs: [
      [batch, seq, dim],
      [2, batch, heads, 64 + seq, headDim],
    ],
  }),
  withProjections('com.microsoft.PackedAttention', 'plain', { operands: places }),
  withProjections('com.microsoft.PackedAttention', 'bias', { operands: { ...places, attention_bias: [1, heads, seq, seq] } }),
];

/** Every form. */
export const attentionNodes: readonly AttentionNode[] = [
  ...multiHead,
  ...groupQuery,
  ...pagedForms,
  ...standardForms,
  ...packedForms,
  ...projected,
];

/** The dtypes that the table of the target has for a node. */
export const dtypesOf = ({ key }: AttentionNode): readonly ModelDType[] =>
  threeDtypes.filter((dtype) => bare.kernels[key]!.dtypes.includes(dtype));
