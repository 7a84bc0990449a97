// An encoder-decoder: the memory is computed once, the decoder has a growing cache.
import { compile, createRunner, type InputType, type Runner, type Tensor, tensor } from '@onnxformers/core';
import { partsOf } from '../parts';
import type { Place } from '../place';
import type { Pretrained } from '../pretrained';
import type { Start } from './generate';

/** Runners of an encoder and of its decoder. */
export interface WithMemory {
  /** Encodes, and returns what a generation begins with, for a start token of each sequence. */
  start(feeds: Readonly<Record<string, Tensor>>, ids: Start['ids']): Promise<Start>;
  readonly decoder: Runner;
  /** Frees both sessions. */
  dispose(): Promise<void>;
}

/** Compiles both parts. `inputs` are those of the encoder; without an `attention_mask` the whole memory is attended. */
export async function withMemory(
  model: Pretrained,
  { ort, target, dtype }: Place,
  inputs: Readonly<Record<string, InputType>>,
): Promise<WithMemory> {
  const { encoder, decoder } = partsOf(model);
  const masked = 'attention_mask' in inputs;
  const encoding = compile(encoder.module, { target, dtype, inputs, weights: encoder.weights });
  const dim = Number(model.config.dim);
  const { dtype: memoryType } = encoding.signature.outputs.find(({ name }) => name === 'hidden_states')!;
  const decoding = compile(decoder.module, {
    target,
    dtype,
    inputs: {
      ids: ['int64', ['batch', 'seq']],
      memory: [memoryType, ['batch', 'memory_seq', dim]],
      ...(masked && { memory_mask: ['int64', ['batch', 'past_memory + memory_seq']] as const }),
    },
    weights: decoder.weights,
    state: 'io',
    assumptions: ['prefill into empty cache'],
  });
  const encode = await createRunner(encoding, ort);
  const run = await createRunner(decoding, ort);
  return {
    decoder: run,
    async start(feeds, ids) {
      const memory = ((await encode(feeds)) as Readonly<Record<string, Tensor>>).hidden_states!;
      const mask = masked ? { memory_mask: feeds.attention_mask! } : {};
      // Later the caches contain its keys and values.
      const none = tensor(memoryType, [memory.dims[0]!, 0, dim], []);
      return { ids, first: { memory, ...mask }, later: { memory: none, ...mask } };
    },
    async dispose() {
      await encode.dispose();
      await run.dispose();
    },
  };
}
