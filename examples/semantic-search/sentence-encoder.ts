// Texts to vectors: a sentence encoder of Hugging Face, pooled in the graph, over packed batches.
import { ConfigError, module, namesOf, type SequenceContext, targets, type Value } from '@onnxformers/core';
import {
  fromPretrained,
  loadTokenizer,
  type Pretrained,
  type PretrainedFiles,
  poolingOf,
  type SentencePooling,
  type Tokenizer,
} from '@onnxformers/models';
import { createEncoder, type EncodeReport, zoo } from 'onnxformers';
import * as ort from 'onnxruntime-node';

type Pooling = SentencePooling['pooling'];

/** A sentence encoder. */
export interface SentenceEncoder {
  /** A vector for each text. Texts longer than `maxLength` tokens are refused. */
  embed(texts: readonly string[], onProgress?: (done: number, total: number) => void): Promise<readonly Float32Array[]>;
  /** Tokens of a text, special ones included. */
  count(text: string): number;
  /** The longest text that the model was made for, in tokens. */
  readonly maxLength: number;
  /** Channels of a vector. */
  readonly dim: number;
  /** The last call: batches, tokens, padding, kernels. */
  readonly report: EncodeReport | undefined;
  dispose(): Promise<void>;
}

/** The same model with a pooling in place of its own pooler, and its vector as the only output. */
function pooled({ config, weights }: Pretrained, pooling: Pooling) {
  if (config.name !== 'encoder' && config.name !== 'pooled_encoder')
    throw new ConfigError({ path: 'model', problem: 'not a sentence encoder', expected: 'an encoder', got: config.name });
  const encoder = zoo.parse('model', { ...config, name: 'pooled_encoder', pooling, projection: false });
  type Inputs = Readonly<Record<string, Value>>;
  const alone = module({ encoder }, (inputs: Inputs, ctx: SequenceContext) => ({
    vector: (encoder(inputs, ctx) as Inputs).pooler_output!,
  }));
  const names = [...namesOf(alone).parameters.keys()];
  return { module: alone, weights: new Map(names.map((name) => [name, weights.get(name.replace(/^encoder\./, ''))!])) };
}

/** The longest sequence: of the tokenizer, and of the position table. */
function longest({ config }: Pretrained, { maxLength }: Tokenizer): number {
  const { seqLen } = config;
  return Math.min(maxLength, typeof seqLen === 'number' ? seqLen : Number.POSITIVE_INFINITY);
}

/**
 * Opens the sentence encoder of a checkpoint. `pooling` is for checkpoints that do not say how they pool.
 *
 * Throws   what `fromPretrained`, `loadTokenizer` and `createEncoder` throw · ConfigError for a model that is no encoder
 */
export async function openSentenceEncoder(files: PretrainedFiles, pooling?: Pooling): Promise<SentenceEncoder> {
  const model = await fromPretrained(files, { task: 'base' });
  const tokenizer = await loadTokenizer(files);
  const { attention_mask: _, ...inputs } = model.inputs;
  const { module: alone, weights } = pooled(model, pooling ?? (await poolingOf(files)).pooling);
  const encoder = await createEncoder(alone, ort, { target: targets.cpu, weights, inputs });
  const maxLength = longest(model, tokenizer);
  return {
    async embed(texts, onProgress) {
      const sequences = texts.map((text) => {
        const { ids, types } = tokenizer.sequence(text);
        return { ids, ...(inputs.token_type_ids && { token_type_ids: types }) };
      });
      const vectors = await encoder.encode(sequences, onProgress && { onProgress });
      return vectors.map(({ vector }) => vector!.data as Float32Array);
    },
    count: (text) => tokenizer.encode(text).length,
    maxLength,
    dim: model.config.dim as number,
    get report() {
      return encoder.report;
    },
    dispose: () => encoder.dispose(),
  };
}
