// The tensors of a checkpoint from the weights of a model.
import { expressWeight, type LazyTensor, type Tensor, WeightError } from '@onnxformers/core';
import type { Pretrained } from './pretrained';

/**
 * The tensors of a checkpoint by their names there, with some weights changed.
 *
 * Throws   WeightError for a model whose weights are quantised
 */
export function storedTensors(
  { weights, names, report, formats }: Pretrained,
  changed: ReadonlyMap<string, LazyTensor | Tensor>,
): ReadonlyMap<string, LazyTensor | Tensor> {
  const [quantized] = formats.keys();
  if (quantized !== undefined)
    throw new WeightError({
      path: `weight "${quantized}"`,
      problem: 'quantised weights have no names in a checkpoint of the family',
      hint: 'Write the model that was read without quantize, and quantise it when it is read again',
    });
  const stored = new Map<string, LazyTensor | Tensor>();
  for (const [ours, name] of report.storedAs) {
    if (stored.has(name)) continue;
    const theirs = names.theirsOf(ours)!;
    const parts = names.oursOf(theirs).map((part) => changed.get(part.name) ?? weights.get(part.name)!);
    stored.set(
      name,
      expressWeight(parts, (...values) => names.toTheirs(theirs, values)),
    );
  }
  return stored;
}
