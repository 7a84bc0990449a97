// A pretrained model that texts can be fed to.
import { compile, createRunner, type Runner, type Tensor, tensor } from '@onnxformers/core';
import type { Place } from '../place';
import type { Pretrained } from '../pretrained';
import type { Encoded } from '../tokenizer/tokenizer';

/** A model that has one call: no cache. */
export interface TextModel {
  (batch: Encoded): Promise<Readonly<Record<string, Tensor>>>;
  /** Frees the session. */
  dispose(): Promise<void>;
}

/** Compiles a model and opens a session of it. */
export async function textModel({ module, inputs, weights }: Pretrained, { ort, target, dtype }: Place): Promise<TextModel> {
  const run = (await createRunner(compile(module, { target, dtype, inputs, weights }), ort)) as Runner;
  const names = new Set(run.signature.inputs.map(({ name }) => name));
  const call = (batch: Encoded) => run(feedsFor(names, batch));
  return Object.assign(call, { dispose: () => run.dispose() });
}

/** The feeds that a model has: types are zeros where its tokenizer does not tell texts apart. */
function feedsFor(names: ReadonlySet<string>, { ids, attention_mask, token_type_ids }: Encoded): Record<string, Tensor> {
  const zeros = () => tensor('int64', [...ids.dims], new Array<number>(ids.data.length).fill(0));
  return {
    ids,
    ...(names.has('attention_mask') && { attention_mask }),
    ...(names.has('token_type_ids') && { token_type_ids: token_type_ids ?? zeros() }),
  };
}

/** Row `b`, or the row of a position, of a tensor [batch, …] or [batch, seq, …]. */
export function rowOf({ data, dims }: Tensor, ...at: readonly number[]): Float32Array {
  const size = dims.slice(at.length).reduce((a, b) => a * b, 1);
  const index = at.reduce((sum, i, axis) => sum * dims[axis]! + i, 0);
  return Float32Array.from(data.subarray(index * size, (index + 1) * size) as Float32Array);
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

/** The name of a label in config.json; the usual one without. */
export function labelOf({ original }: Pretrained, index: number): string {
  const labels = original.id2label as Readonly<Record<string, unknown>> | undefined;
  return String(labels?.[index] ?? `LABEL_${index}`);
}
