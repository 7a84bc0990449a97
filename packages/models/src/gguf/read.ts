// A GGUF file as a checkpoint: its metadata as a config.json, its tensors under the names of Hugging Face.
import { type GGUFParseOutput, gguf } from '@huggingface/gguf';
import { type ByteSource, ConfigError, describe, FileError, type LazyTensor, type Tensor } from '@onnxformers/core';
import { floatsOf } from '../rows';
import { decoded, type GgufFormat, ggufFormats, repacked } from './blocks';

/** Codes and scales of a tensor whose blocks a kernel reads as they are. */
export interface RepackedTensor {
  readonly bits: 4 | 8;
  load(): Promise<Readonly<Record<'weight_codes' | 'weight_scales', Tensor>>>;
}

/** The contents of a GGUF file in the terms of a Hugging Face checkpoint. */
export interface GgufCheckpoint {
  /** Keys of a config.json. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Tensors by the names of Hugging Face, dequantised when they are loaded. */
  readonly tensors: ReadonlyMap<string, LazyTensor>;
  /** Those of Q4_0 and Q8_0, without dequantisation. */
  readonly repacked: ReadonlyMap<string, RepackedTensor>;
}

/** Architectures → how their files differ from that of Llama. */
const architectures: Readonly<
  Record<string, { readonly modelType: string; readonly sandwich?: boolean; readonly pairs?: boolean; readonly offset?: boolean }>
> = {
  // Rows of queries and keys are stored in the order of interleaved rotation.
  llama: { modelType: 'llama', pairs: true },
  qwen2: { modelType: 'qwen2' },
  qwen3: { modelType: 'qwen3' },
  // Norms are stored with the 1 that the model adds.
  gemma: { modelType: 'gemma', offset: true },
  gemma2: { modelType: 'gemma2', offset: true, sandwich: true },
  gemma3: { modelType: 'gemma3_text', offset: true, sandwich: true },
};

const inLayers: Readonly<Record<string, string>> = {
  attn_norm: 'input_layernorm',
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.o_proj',
  attn_q_norm: 'self_attn.q_norm',
  attn_k_norm: 'self_attn.k_norm',
  ffn_norm: 'post_attention_layernorm',
  ffn_gate: 'mlp.gate_proj',
  ffn_up: 'mlp.up_proj',
  ffn_down: 'mlp.down_proj',
  post_attention_norm: 'post_attention_layernorm',
  post_ffw_norm: 'post_feedforward_layernorm',
};
const outside: Readonly<Record<string, string>> = {
  'token_embd.weight': 'model.embed_tokens.weight',
  'output_norm.weight': 'model.norm.weight',
  'output.weight': 'lm_head.weight',
};

function nameOf(stored: string, sandwich: boolean): string {
  const [, layer, part, end] = /^blk\.(\d+)\.(\w+)\.(weight|bias)$/.exec(stored) ?? [];
  if (part === undefined || !Object.hasOwn(inLayers, part)) return Object.hasOwn(outside, stored) ? outside[stored]! : stored;
  const ours = sandwich && part === 'ffn_norm' ? 'pre_feedforward_layernorm' : inLayers[part]!;
  return `model.layers.${layer}.${ours}.${end}`;
}

/** Names have at most 64 bytes by the format. */
const longestName = 256;

/**
 * Reads the header of a GGUF file of the architectures llama, qwen2, qwen3, gemma, gemma2 and gemma3.
 *
 * Throws   FileError for a damaged file, and tensors of another format than F32, F16, BF16, Q4_0, Q8_0, Q4_K and Q6_K · ConfigError for another architecture
 */
export async function readGguf(source: ByteSource, path: string): Promise<GgufCheckpoint> {
  const { metadata, tensorInfos, tensorDataOffset, littleEndian } = await headerOf(source, path);
  if (!littleEndian) throw new FileError({ path, problem: 'big-endian', expected: 'a little-endian file' });
  const values = metadata as unknown as Readonly<Record<string, unknown>>;
  const architecture = values['general.architecture'];
  const known = Object.keys(architectures);
  if (typeof architecture !== 'string' || !known.includes(architecture))
    throw new ConfigError({
      path: `${path}: general.architecture`,
      problem: 'an architecture that is not known',
      expected: known.join(', '),
      got: describe(architecture),
    });
  const about = architectures[architecture]!;
  const infos = new Map(tensorInfos.map((info) => [info.name, info]));
  if (infos.has('rope_freqs.weight'))
    throw new ConfigError({
      path: `${path}: rope_freqs.weight`,
      problem: 'frequencies of the rotary embedding that the metadata does not describe',
      expected: 'rope.scaling metadata, or none',
      hint: 'Use the safetensors of the model',
    });
  const config = configOf(values, architecture, about.modelType, {
    tied: !infos.has('output.weight'),
    vocab: Number(infos.get('token_embd.weight')?.shape[1] ?? 0),
  });
  const tensors = new Map<string, LazyTensor>();
  const packed = new Map<string, RepackedTensor>();
  for (const { name, shape, dtype, offset } of tensorInfos) {
    if (name.length > longestName)
      throw new FileError({
        path,
        problem: 'a name of a tensor that is too long',
        expected: `at most ${longestName} characters`,
        got: String(name.length),
      });
    const format = ggufFormats[dtype];
    if (!format)
      throw new FileError({
        path: `${path}: ${name}`,
        problem: 'a format that is not supported',
        expected: Object.values(ggufFormats)
          .map((f) => f.name)
          .join(', '),
        got: String(dtype),
      });
    const dims = shape.map(Number).reverse();
    const heads = about.pairs ? headsOf(name, config) : undefined;
    const read = reader(source, `${path}: ${name}`, format, dims, Number(tensorDataOffset) + Number(offset), heads);
    const ours = nameOf(name, about.sandwich ?? false);
    if (tensors.has(ours)) throw new FileError({ path: `${path}: ${name}`, problem: 'stored twice' });
    tensors.set(ours, lazyOf(format, dims, read, about.offset === true && /norm\.weight$/.test(name)));
    const [rows, columns, more] = dims;
    if (format.codes && rows !== undefined && columns !== undefined && more === undefined)
      packed.set(ours, { bits: format.codes.bits, load: async () => repacked(format, await read(), [rows, columns]) });
  }
  return { config, tensors, repacked: packed };
}

/** The library reads ranges of an address; here they are those of the source. */
async function headerOf(source: ByteSource, path: string): Promise<GGUFParseOutput> {
  const get = async (_: unknown, o?: { readonly headers?: unknown }): Promise<Response> => {
    const [, first, last] = /bytes=(\d+)-(\d+)/.exec(JSON.stringify(o?.headers ?? {})) ?? [];
    const from = Number(first);
    if (from >= source.size) throw new Error('the file ends before its header');
    const bytes = await source.read(from, Math.min(source.size, Number(last) + 1) - from);
    return new Response(new Uint8Array(bytes), {
      status: 206,
      headers: { 'content-range': `bytes ${from}-${last}/${source.size}` },
    });
  };
  try {
    return await gguf('http://file', { fetch: get as typeof fetch, computeParametersCount: true });
  } catch (cause) {
    if (cause instanceof FileError) throw cause;
    throw new FileError(
      { path, problem: 'not a readable GGUF file', got: (cause as Error).message, hint: 'It is damaged; download it again' },
      { cause },
    );
  }
}

function configOf(
  values: Readonly<Record<string, unknown>>,
  architecture: string,
  modelType: string,
  { tied, vocab }: { readonly tied: boolean; readonly vocab: number },
): Readonly<Record<string, unknown>> {
  const at = (key: string): unknown => {
    const value = Object.hasOwn(values, `${architecture}.${key}`) ? values[`${architecture}.${key}`] : undefined;
    return typeof value === 'bigint' ? Number(value) : value;
  };
  const number = (key: string): number | undefined => (typeof at(key) === 'number' ? (at(key) as number) : undefined);
  const [dim, heads, depth] = [number('embedding_length'), number('attention.head_count'), number('block_count')];
  const headDim = number('attention.key_length') ?? (dim !== undefined && heads ? dim / heads : undefined);
  // The scale of the largest models of Gemma 2 and 3 is that of their width.
  const wide = (modelType === 'gemma2' && depth === 46) || (modelType === 'gemma3_text' && depth === 62);
  const scaling = at('rope.scaling.type');
  const all: Readonly<Record<string, unknown>> = {
    model_type: modelType,
    architectures: ['ForCausalLM'],
    hidden_size: at('embedding_length'),
    num_hidden_layers: at('block_count'),
    intermediate_size: at('feed_forward_length'),
    num_attention_heads: at('attention.head_count'),
    num_key_value_heads: at('attention.head_count_kv') ?? at('attention.head_count'),
    head_dim: headDim,
    rms_norm_eps: at('attention.layer_norm_rms_epsilon'),
    rope_theta: at('rope.freq_base') ?? 10_000,
    max_position_embeddings: at('context_length'),
    vocab_size: vocab,
    tie_word_embeddings: tied,
    ...(modelType.startsWith('gemma') && {
      hidden_activation: 'gelu_pytorch_tanh',
      query_pre_attn_scalar: wide ? dim! / heads! : headDim,
      sliding_window: at('attention.sliding_window'),
      attn_logit_softcapping: at('attn_logit_softcapping'),
      final_logit_softcapping: at('final_logit_softcapping'),
    }),
    ...(typeof scaling === 'string' &&
      scaling !== 'none' && { rope_scaling: { rope_type: scaling, factor: at('rope.scaling.factor') } }),
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

/** For a weight whose rows are pairs of a rotation: the number of heads. */
function headsOf(name: string, config: Readonly<Record<string, unknown>>): number | undefined {
  if (/\.attn_q\.(weight|bias)$/.test(name)) return config.num_attention_heads as number;
  return /\.attn_k\.(weight|bias)$/.test(name) ? (config.num_key_value_heads as number) : undefined;
}

/** Reads the bytes of a tensor, rows in the order of Hugging Face. */
function reader(
  source: ByteSource,
  path: string,
  { elements, bytes, name }: GgufFormat,
  dims: readonly number[],
  offset: number,
  heads: number | undefined,
): () => Promise<Uint8Array> {
  const columns = dims.at(-1) ?? 1;
  const size = (dims.reduce((a, b) => a * b, 1) / elements) * bytes;
  if (columns % elements !== 0)
    throw new FileError({
      path,
      problem: `rows that are not whole blocks of ${name}`,
      expected: `a multiple of ${elements} columns`,
      got: String(columns),
    });
  if (!Number.isSafeInteger(offset) || offset + size > source.size)
    throw new FileError({
      path,
      problem: 'lies beyond the end of the file',
      expected: `at most ${source.size} bytes`,
      got: String(offset + size),
    });
  return async () => {
    const stored = await source.read(offset, size);
    const rows = dims[0] ?? 1;
    if (!heads || rows % (2 * heads)) return stored;
    // Row 2i + s of a head is row s · half + i.
    const [width, half] = [stored.length / rows, rows / heads / 2];
    const ordered = new Uint8Array(stored.length);
    for (let row = 0; row < rows; row++) {
      const [head, within] = [Math.floor(row / (2 * half)), row % (2 * half)];
      const from = 2 * half * head + 2 * (within % half) + Math.floor(within / half);
      ordered.set(stored.subarray(from * width, (from + 1) * width), row * width);
    }
    return ordered;
  };
}

/** Gains without the 1 that GGUF adds to them, in float32. */
const lessOne = (t: Tensor): Tensor => ({ dtype: 'float32', dims: t.dims, data: floatsOf(t).map((x) => x - 1) });

function lazyOf(format: GgufFormat, dims: readonly number[], read: () => Promise<Uint8Array>, offset: boolean): LazyTensor {
  const count = dims.reduce((a, b) => a * b, 1);
  if (format.name === 'F16' || format.name === 'BF16') {
    const dtype = format.name === 'F16' ? 'float16' : 'bfloat16';
    const load = async (): Promise<Tensor> => ({ dtype, dims, data: new Uint16Array(aligned(await read())) });
    if (!offset) return { dtype, dims, byteLength: 2 * count, load };
    return { dtype: 'float32', dims, byteLength: 4 * count, load: async () => lessOne(await load()) };
  }
  return {
    dtype: 'float32',
    dims,
    byteLength: 4 * count,
    async load() {
      const bytes = await read();
      const t: Tensor = format.decode
        ? decoded(format, bytes, dims)
        : { dtype: 'float32', dims, data: new Float32Array(aligned(bytes)) };
      return offset ? lessOne(t) : t;
    },
  };
}

/** A copy, at the beginning of its own memory. */
const aligned = (bytes: Uint8Array): ArrayBuffer => new Uint8Array(bytes).buffer;
