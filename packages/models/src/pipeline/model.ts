// A pretrained model with a session, and what its tensors mean.
import { compile, createRunner, type Runner, type Tensor, tensor } from '@onnxformers/core';
import type { Place } from '../place';
import type { Compilable } from '../pretrained';
import type { BatchOptions, Encoded, Tokenizer } from '../tokenizer/tokenizer';

/** A model that has one call: no cache. */
export interface TextModel {
  (batch: Encoded): Promise<Readonly<Record<string, Tensor>>>;
  /** Frees the session. */
  dispose(): Promise<void>;
}

/** Compiles a model and opens a session of it. */
export async function openModel({ module, inputs, weights }: Compilable, { ort, target, dtype }: Place): Promise<Runner> {
  return (await createRunner(compile(module, { target, dtype, inputs, weights }), ort)) as Runner;
}

/** Opens a session of a model of texts. */
export async function textModel(model: Compilable, place: Place): Promise<TextModel> {
  const run = await openModel(model, place);
  const call = (batch: Encoded) => run(textFeeds(run, batch));
  return Object.assign(call, { dispose: () => run.dispose() });
}

/** How texts are encoded for a model: no longer than its positions, and with all padding if it reads the last position of a text, padding or not. */
export function textFit({ maxLength }: Tokenizer, { module }: Compilable): BatchOptions {
  const { seqLen, pooling } = (module.about.config ?? {}) as { readonly seqLen?: number; readonly pooling?: string };
  return {
    padding: pooling === 'end' ? 'max_length' : 'longest',
    padding_side: 'right',
    truncation: true,
    max_length: Math.min(maxLength, seqLen ?? maxLength),
  };
}

/** The feeds of texts that a model has: types are zeros where its tokenizer does not tell texts apart. */
export function textFeeds(
  { signature }: Pick<Runner, 'signature'>,
  { ids, attention_mask, token_type_ids }: Encoded,
): Record<string, Tensor> {
  const names = new Set(signature.inputs.map(({ name }) => name));
  const zeros = () => tensor('int64', [...ids.dims], new Array<number>(ids.data.length).fill(0));
  return {
    ids,
    ...(names.has('attention_mask') && { attention_mask }),
    ...(names.has('token_type_ids') && { token_type_ids: token_type_ids ?? zeros() }),
  };
}

/** Probabilities of logits. */
export function softmax(logits: ArrayLike<number>): number[] {
  const all = Array.from(logits);
  const most = Math.max(...all);
  const weights = all.map((x) => Math.exp(x - most));
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((w) => w / sum);
}

/** Indices with their numbers, the largest first; all if `count` is null. */
export function best(numbers: readonly number[], count: number | null): { readonly index: number; readonly score: number }[] {
  const order = numbers.map((score, index) => ({ index, score })).sort((a, b) => b.score - a.score || a.index - b.index);
  return order.slice(0, count ?? order.length);
}
