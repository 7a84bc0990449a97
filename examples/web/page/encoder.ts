// The encoder in the best runtime that this browser has.
import { createRunner, parseSafetensors, type Runner, targets, type WeightSource } from '@onnxformers/core';
import * as ort from 'onnxruntime-web/webgpu';
import { compileEncoder } from '../../sentence-similarity/model';
import { createTokenizer, type Tokenizer, toBatch, type Vocabulary } from '../../sentence-similarity/tokenizer';

/** Sentences to unit vectors, and what computes them. */
export interface Encoder {
  encode(sentences: readonly string[]): Promise<readonly Float32Array[]>;
  readonly device: 'WebGPU' | 'WebAssembly';
  /** Why it is not WebGPU. */
  readonly refusal?: string;
}

/** Loads weights and vocabulary and compiles the network here, for WebGPU where it works, else for WebAssembly. */
export async function createEncoder(onProgress: (part: number) => void): Promise<Encoder> {
  const [bytes, vocabulary] = await Promise.all([load('weights.safetensors', onProgress), fetchFile('vocab.json')]);
  const weights = parseSafetensors(bytes);
  const tokenizer = createTokenizer((await vocabulary.json()) as Vocabulary);
  const refusal = await whyNoWebGpu();
  if (refusal === undefined) {
    try {
      return { ...(await start(weights, tokenizer, 'webgpu')), device: 'WebGPU' };
    } catch (error) {
      return { ...(await start(weights, tokenizer, 'wasm')), device: 'WebAssembly', refusal: (error as Error).message };
    }
  }
  return { ...(await start(weights, tokenizer, 'wasm')), device: 'WebAssembly', refusal };
}

async function start(weights: WeightSource, tokenizer: Tokenizer, target: 'webgpu' | 'wasm'): Promise<Pick<Encoder, 'encode'>> {
  const run = await createRunner(compileEncoder(weights, targets[target], 'float32'), ort);
  const encoder = { encode: (sentences: readonly string[]) => encode(run, tokenizer, sentences) };
  // The first run compiles the shaders; a device that cannot is found out here.
  await encoder.encode(['Hello.']);
  return encoder;
}

async function encode(run: Runner, tokenizer: Tokenizer, sentences: readonly string[]): Promise<readonly Float32Array[]> {
  const { vectors } = await run({ ...toBatch(sentences.map((sentence) => tokenizer.encode(sentence))) });
  const [rows = 0, width = 0] = vectors!.dims;
  return Array.from({ length: rows }, (_, i) => (vectors!.data as Float32Array).slice(i * width, (i + 1) * width));
}

interface Adapter {
  readonly info?: { readonly isFallbackAdapter?: boolean; readonly subgroupMinSize?: number };
}

// An adapter in software is slower than WebAssembly, and where its subgroups are of 4 lanes the runtime is wrong for sentences of 32 tokens or
// more: it is taken only where the address asks for it, with ?device=webgpu.
async function whyNoWebGpu(): Promise<string | undefined> {
  const { gpu } = navigator as { readonly gpu?: { requestAdapter(): Promise<Adapter | null> } };
  if (!gpu) return 'this browser has no WebGPU';
  const adapter = await gpu.requestAdapter();
  if (!adapter) return 'there is no adapter for it';
  if (new URLSearchParams(location.search).get('device') === 'webgpu') return undefined;
  const { isFallbackAdapter = false, subgroupMinSize = 8 } = adapter.info ?? {};
  return isFallbackAdapter || subgroupMinSize < 8 ? 'its adapter here is in software, and slower' : undefined;
}

async function fetchFile(name: string): Promise<Response> {
  const response = await fetch(name);
  if (!response.ok) throw new Error(`${name} cannot be loaded (${response.status}); run "npm run weights" first`);
  return response;
}

async function load(name: string, onProgress: (part: number) => void): Promise<Uint8Array> {
  const response = await fetchFile(name);
  const total = Number(response.headers.get('content-length'));
  const pieces: Uint8Array[] = [];
  let loaded = 0;
  for (const reader = response.body!.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    pieces.push(value);
    loaded += value.length;
    if (total > 0) onProgress(loaded / total);
  }
  const bytes = new Uint8Array(loaded);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}
