// Hidden states of texts, or one vector for each text.
import { checkOptions, type Tensor, tensor } from '@onnxformers/core';
import { chosen } from '../place';
import { poolingOf } from '../pooling';
import { rowOf } from '../rows';
import { textFit, textModel } from './model';
import type { TaskDefinition } from './task';

/** Options of feature extraction. */
export interface FeatureExtractionOptions {
  /**
   * `none`: the hidden states. `mean`: their mean over tokens that are not padding. `cls` or `first_token`, `last_token` or `eos`: those of one token. `auto`: as
   * the checkpoint of sentence-transformers says, with its normalization. Default `none`.
   */
  readonly pooling?: 'none' | 'mean' | 'cls' | 'first_token' | 'last_token' | 'eos' | 'auto';
  /** Whether vectors have a length of 1. Default false. */
  readonly normalize?: boolean;
}

/** float32 [batch, seq, dim], or pooled [batch, dim]. */
export type FeatureExtraction = (texts: string | readonly string[], options?: FeatureExtractionOptions) => Promise<Tensor>;

/** A vector of the hidden states of one text, of the positions that are tokens. */
type Pool = (at: (position: number) => Float32Array, tokens: readonly number[]) => Float32Array;

const first: Pool = (at, tokens) => at(tokens[0]!);
const last: Pool = (at, tokens) => at(tokens.at(-1)!);
const mean: Pool = (at, tokens) => {
  const sum = new Float64Array(at(tokens[0]!).length);
  for (const position of tokens) for (const [i, x] of at(position).entries()) sum[i]! += x;
  return Float32Array.from(sum, (x) => x / tokens.length);
};
const pools = { mean, first, last } as const;
/** By the words of the options. */
const byWord: Readonly<Record<string, Pool>> = { mean, cls: first, first_token: first, last_token: last, eos: last };

function unit(vector: Float32Array): Float32Array {
  const length = Math.hypot(...vector);
  return length > 0 ? vector.map((x) => x / length) : vector;
}

/** Vectors of texts. */
export const featureExtraction: TaskDefinition<FeatureExtraction> = {
  head: 'base',
  reads: ['tokenizer'],
  tower: 'text',
  async open({ model, part, tokenizer, place }) {
    const run = await textModel(part, place);
    const fit = textFit(tokenizer, part);
    async function call(texts: string | readonly string[], o: FeatureExtractionOptions = {}): Promise<Tensor> {
      checkOptions('feature-extraction', o, { pooling: true, normalize: true });
      const { pooling = 'none' } = o;
      const stated = pooling === 'auto' ? await poolingOf(model.files) : undefined;
      const batch = tokenizer(texts, fit);
      const hidden = (await run(batch)).hidden_states!;
      const finish = (o.normalize ?? stated?.normalize) ? unit : (x: Float32Array) => x;
      const [count, seq, dim] = hidden.dims as [number, number, number];
      if (pooling === 'none') {
        const rows = Array.from({ length: count * seq }, (_, i) => finish(rowOf(hidden, Math.floor(i / seq), i % seq)));
        return tensor(
          'float32',
          [count, seq, dim],
          rows.flatMap((row) => Array.from(row)),
        );
      }
      const pool = stated ? pools[stated.pooling] : chosen(byWord, pooling, 'feature-extraction: pooling');
      const rows = Array.from({ length: count }, (_, b) => {
        const mask = Array.from({ length: seq }, (_, i) => Number(batch.attention_mask.data[b * seq + i]));
        const tokens = mask.flatMap((one, i) => (one ? [i] : []));
        return finish(pool((i) => rowOf(hidden, b, i), tokens));
      });
      return tensor(
        'float32',
        [count, dim],
        rows.flatMap((row) => Array.from(row)),
      );
    }
    return { call, dispose: run.dispose };
  },
};
