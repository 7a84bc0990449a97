import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseSafetensors, type Tensor } from '@onnxformers/core';
import { compile, createRunner, targets, tensor, toArray } from 'onnxformers';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { fromPretrained, type PretrainedOptions } from '../from-pretrained';
import { decoded, ggufFormats, repacked } from './blocks';
import { f16, f32, type GgufTensor, type GgufValue, quantized, writeGguf } from './write.test-helper';

const fixture = (name: string): string => fileURLToPath(new URL(`../../fixtures/${name}`, import.meta.url));
const bytesOf = (path: string): Uint8Array => new Uint8Array(readFileSync(path));

async function logitsOf(files: ReadonlyMap<string, Uint8Array>, o: PretrainedOptions = {}) {
  const { module, inputs, weights, formats } = await fromPretrained(files, o);
  const model = compile(module, { target: targets.cpu, inputs, weights });
  const run = await createRunner(model, ort);
  const row = (x: readonly number[]) => tensor('int64', [1, x.length], x);
  const ids = [5, 17, 2, 11, 3];
  const { logits } = await run({ ids: row(ids), attention_mask: row(ids.map(() => 1)) });
  await run.dispose();
  const products = model.graph.nodes.filter((n) => n.op.key === 'com.microsoft.MatMulNBits').length;
  return { data: toArray(logits!).data, products, formats };
}
const away = (a: Float64Array, b: Float64Array): number => a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i]!)), 0);
const largest = (a: Float64Array): number => a.reduce((most, x) => Math.max(most, Math.abs(x)), 0);

describe('blocks', () => {
  const { formats } = JSON.parse(readFileSync(new URL('./fixtures/blocks.json', import.meta.url), 'utf8')) as {
    formats: Record<string, number[]>;
  };
  // The bytes that the reference values were made from.
  const halves: Record<string, readonly number[]> = { Q4_0: [0], Q8_0: [0], Q4_K: [0, 2], Q6_K: [208] };
  const blocksOf = (name: string, size: number): Uint8Array => {
    const bytes = Uint8Array.from({ length: 2 * size }, (_, i) => (37 * i * i + 11 * i + 5) % 256);
    for (const block of [0, 1])
      halves[name]!.forEach((at, i) => {
        bytes.set(i ? [0x02, 0x21] : [0x66, 0x2a], block * size + at);
      });
    return bytes;
  };
  it.each(Object.keys(halves))('%s has the values of the reference', (name) => {
    const format = Object.values(ggufFormats).find((f) => f.name === name)!;
    const bytes = blocksOf(name, format.bytes);
    expect(Array.from(decoded(format, bytes, [2 * format.elements]).data as Float32Array)).toEqual(
      formats[name]!.map(Math.fround),
    );
    if (!format.codes) return;
    // Code by code: (code − middle) · scale.
    const { weight_codes, weight_scales } = repacked(format, bytes, [2, 32]);
    const scales = toArray(weight_scales).data;
    const { bits } = format.codes;
    const code = (i: number): number => {
      const at = weight_codes.data as Uint8Array;
      return bits === 8 ? at[i]! : (at[i >> 1]! >> (4 * (i & 1))) & 15;
    };
    const values = formats[name]!.map((_, i) => Math.fround((code(i) - 2 ** (bits - 1)) * scales[i >> 5]!));
    expect(values).toEqual(formats[name]!.map(Math.fround));
  });
});

/** Names of Hugging Face → of GGUF. */
const theirs = (name: string, sandwich: boolean): string =>
  name
    .replace('model.embed_tokens', 'token_embd')
    .replace('lm_head', 'output')
    .replace(/^model\.norm/, 'output_norm')
    .replace(/^model\.layers\.(\d+)\./, 'blk.$1.')
    .replace('input_layernorm', 'attn_norm')
    .replace('pre_feedforward_layernorm', 'ffn_norm')
    .replace('post_feedforward_layernorm', 'post_ffw_norm')
    .replace('post_attention_layernorm', sandwich ? 'post_attention_norm' : 'ffn_norm')
    .replace('self_attn.o_proj', 'attn_output')
    .replace(/self_attn\.(\w)_(proj|norm)/, (_, p, what) => `attn_${p}${what === 'norm' ? '_norm' : ''}`)
    .replace(/mlp\.(\w+)_proj/, 'ffn_$1');

interface Original {
  readonly config: Record<string, unknown>;
  readonly tensors: ReadonlyMap<string, Tensor>;
}
async function original(name: string): Promise<Original> {
  const config = JSON.parse(readFileSync(`${fixture(name)}/config.json`, 'utf8')) as Record<string, unknown>;
  const tensors = new Map<string, Tensor>();
  for (const [key, lazy] of parseSafetensors(bytesOf(`${fixture(name)}/model.safetensors`))) tensors.set(key, await lazy.load());
  return { config, tensors };
}

/** A checkpoint as the GGUF file that the converter of llama.cpp would write. */
function asGguf(
  { config, tensors }: Original,
  architecture: string,
  store: (name: string, dims: readonly number[], data: Float64Array) => GgufTensor,
): Uint8Array {
  const at = (key: string) => config[key] as number;
  const ropes = config.rope_parameters as { readonly rope_theta?: number } | undefined;
  const a = architecture;
  const gemma = a.startsWith('gemma');
  const metadata: Record<string, GgufValue> = {
    'general.architecture': a,
    [`${a}.embedding_length`]: at('hidden_size'),
    [`${a}.block_count`]: at('num_hidden_layers'),
    [`${a}.feed_forward_length`]: at('intermediate_size'),
    [`${a}.attention.head_count`]: at('num_attention_heads'),
    [`${a}.attention.head_count_kv`]: at('num_key_value_heads'),
    [`${a}.attention.key_length`]: at('head_dim'),
    [`${a}.attention.layer_norm_rms_epsilon`]: { float: at('rms_norm_eps') },
    [`${a}.context_length`]: at('max_position_embeddings'),
    [`${a}.rope.freq_base`]: { float: ropes?.rope_theta ?? 10_000 },
    ...(gemma && {
      [`${a}.attention.sliding_window`]: at('sliding_window'),
      [`${a}.attn_logit_softcapping`]: { float: at('attn_logit_softcapping') },
      [`${a}.final_logit_softcapping`]: { float: at('final_logit_softcapping') },
    }),
    'tokenizer.ggml.tokens': ['a', 'b'],
  };
  const rows = (data: Float64Array, [count, width = 1]: readonly number[], heads: number): Float64Array => {
    const half = count! / heads / 2;
    return data.map((_, i) => {
      const [row, column] = [Math.floor(i / width), i % width];
      const [head, pair, side] = [Math.floor(row / (2 * half)), Math.floor((row % (2 * half)) / 2), row % 2];
      return data[(2 * half * head + half * side + pair) * width + column]!;
    });
  };
  const stored: Record<string, GgufTensor> = {};
  for (const [name, t] of tensors) {
    let { data } = toArray(t);
    const heads = /q_proj/.test(name) ? at('num_attention_heads') : /k_proj/.test(name) ? at('num_key_value_heads') : 0;
    if (a === 'llama' && heads) data = rows(data, t.dims, heads);
    if (gemma && /norm\.weight$/.test(name)) data = data.map((x) => x + 1);
    stored[theirs(name, a === 'gemma2')] = store(name, t.dims, data);
  }
  return writeGguf(metadata, stored);
}

describe('a GGUF file', () => {
  it.each(['llama', 'qwen3', 'gemma2'])('of %s is the model of its checkpoint', async (name) => {
    const source = await original(name);
    // The scale of the queries is not in the file: it follows from the width of the heads.
    const config = { ...source.config, ...(name === 'gemma2' && { query_pre_attn_scalar: source.config.head_dim }) };
    const files = new Map([
      ['config.json', new TextEncoder().encode(JSON.stringify(config))],
      ['model.safetensors', bytesOf(`${fixture(name)}/model.safetensors`)],
    ]);
    const expected = (await logitsOf(files)).data;
    const file = asGguf(source, name, (_, dims, data) => f32(dims, data));
    const got = await logitsOf(new Map([['model.gguf', file]]), { ggufFile: 'model.gguf' });
    expect(away(got.data, expected)).toBeLessThan(2e-5 * largest(expected));
    expect(got.formats.size).toBe(0);
  });

  it('keeps codes of Q8_0 and Q4_0, and gives the numbers of the dequantised model', async () => {
    const [dim, hidden, vocab] = [64, 96, 37];
    const config = {
      hidden_size: dim,
      num_hidden_layers: 1,
      intermediate_size: hidden,
      num_attention_heads: 4,
      num_key_value_heads: 2,
      head_dim: 16,
      rms_norm_eps: 1e-5,
      max_position_embeddings: 64,
    };
    let seed = 1;
    const next = (): number => {
      seed = (seed * 48271) % 2147483647;
      return (seed / 2147483647 - 0.5) / 4;
    };
    const random = (...dims: number[]): Tensor =>
      tensor('float32', dims, Array.from({ length: dims.reduce((a, b) => a * b) }, next));
    const layer = 'model.layers.0';
    const tensors = new Map<string, Tensor>([
      ['model.embed_tokens.weight', random(vocab, dim)],
      ['lm_head.weight', random(vocab, dim)],
      ['model.norm.weight', random(dim)],
      [`${layer}.input_layernorm.weight`, random(dim)],
      [`${layer}.post_attention_layernorm.weight`, random(dim)],
      [`${layer}.self_attn.q_proj.weight`, random(dim, dim)],
      [`${layer}.self_attn.k_proj.weight`, random(32, dim)],
      [`${layer}.self_attn.v_proj.weight`, random(32, dim)],
      [`${layer}.self_attn.o_proj.weight`, random(dim, dim)],
      [`${layer}.mlp.gate_proj.weight`, random(hidden, dim)],
      [`${layer}.mlp.up_proj.weight`, random(hidden, dim)],
      [`${layer}.mlp.down_proj.weight`, random(dim, hidden)],
    ]);
    const file = asGguf({ config, tensors }, 'llama', (name, dims, data) => {
      if (dims.length === 1) return f32(dims, data);
      if (/embed/.test(name)) return f16(dims, data);
      return quantized(dims, data, /lm_head|down/.test(name) ? 'Q8_0' : 'Q4_0');
    });
    const files = new Map([['m.gguf', file]]);
    const kept = await logitsOf(files, { ggufFile: 'm.gguf' });
    const floats = await logitsOf(files, { ggufFile: 'm.gguf', quantize: false });
    expect([kept.products, floats.products]).toEqual([8, 0]);
    expect(kept.formats.get('head.weight')).toEqual({ bits: 8, blockSize: 32 });
    expect(away(kept.data, floats.data)).toBeLessThan(2e-5 * largest(floats.data));
    const again = await logitsOf(files, { ggufFile: 'm.gguf', quantize: 'int8' });
    expect(again.formats.get(`stack.layers.0.mixer.q_proj.weight`)).toEqual({ bits: 8, blockSize: 32 });
  });

  it('is refused where it is damaged or not known', async () => {
    const of = (metadata: Record<string, GgufValue>, tensors: Record<string, GgufTensor> = {}) =>
      fromPretrained(new Map([['m.gguf', writeGguf(metadata, tensors)]]), { ggufFile: 'm.gguf' });
    await expect(of({ 'general.architecture': 'mamba' })).rejects.toThrow(
      /an architecture that is not known; expected llama, .*got "mamba"/,
    );
    const one = f32([2, 3], [1, 2, 3, 4, 5, 6]);
    await expect(of({ 'general.architecture': 'llama' }, { 'output.weight': { ...one, format: 10 } })).rejects.toThrow(
      'a format that is not supported',
    );
    await expect(of({ 'general.architecture': 'llama' }, { 'output.weight': { ...one, format: 8 } })).rejects.toThrow(
      'a multiple of 32 columns',
    );
    await expect(of({ 'general.architecture': 'llama' }, { 'rope_freqs.weight': one })).rejects.toThrow(
      'frequencies of the rotary embedding',
    );
    await expect(of({ 'general.architecture': 'llama' })).rejects.toThrow(/m\.gguf: .*missing/);
    await expect(fromPretrained(new Map([['m.gguf', new Uint8Array(40)]]), { ggufFile: 'm.gguf' })).rejects.toThrow(
      'not a readable GGUF file',
    );
    await expect(fromPretrained(new Map(), { ggufFile: 'm.gguf' })).rejects.toThrow('no m.gguf');
  });
});
