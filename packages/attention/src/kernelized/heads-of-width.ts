// The inputs of a mechanism that has the width of its heads as an option.
import type { AnyModule, Dim } from '@onnxformers/core';

/** Heads of as many queries as keys. */
export function headsOfWidth({ about: { config } }: Pick<AnyModule, 'about'>) {
  const rows = (heads: Dim, width: Dim) => ({ dtype: 'float32', dims: ['batch', heads, 'seq', width] }) as const;
  const headDim = config!.headDim as number;
  return { q: rows('heads', headDim), k: rows('kv_heads', headDim), v: rows('kv_heads', 'value_dim') };
}
