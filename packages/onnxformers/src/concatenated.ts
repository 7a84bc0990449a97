// The elements of several tensors, one after another.
import type { Tensor, TensorData } from '@onnxformers/core';

/** The elements of tensors of one dtype, of which there is at least one. */
export function concatenated(tensors: readonly Tensor[]): TensorData {
  const make = tensors[0]!.data.constructor as new (length: number) => TensorData;
  const all = new make(tensors.reduce((n, { data }) => n + data.length, 0));
  let at = 0;
  for (const { data } of tensors) {
    all.set(data as never, at);
    at += data.length;
  }
  return all;
}
