// The tensors of a checkpoint from the weights of a model.
import { expressWeight, type LazyTensor, type Tensor } from '@onnxformers/core';
import type { Pretrained } from './from-pretrained';

/** The tensors of a checkpoint by their names there, with some weights changed. */
export function storedTensors(
  { weights, names, report }: Pretrained,
  changed: ReadonlyMap<string, LazyTensor | Tensor>,
): ReadonlyMap<string, LazyTensor | Tensor> {
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
