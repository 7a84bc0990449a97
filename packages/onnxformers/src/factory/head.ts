// The head: from channels to logits, with its own weights or those of the embedding (tied embeddings).
import {
  type AnyModule,
  ConfigError,
  init,
  linear,
  type Module,
  module,
  namesOf,
  Parameter,
  type Value,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';

/**
 * A linear map to logits.
 *
 *     logits = x Eᵀ + b      E: the embedding's table if tied
 *
 * Throws   ConfigError when embeddings are tied and the embedding has no table [count, dim]
 */
export function logitsHead(
  dim: number,
  count: number,
  o: { readonly tied: AnyModule | undefined; readonly bias: boolean },
): Module<(x: Value) => Value> {
  if (!o.tied) return linear(dim, count, { bias: o.bias, role: 'head' });
  const weight = tableOf(o.tied, dim, count);
  const bias = o.bias ? new Parameter([count], init.zeros, { role: 'head', part: 'bias' }) : undefined;
  return module({ weight, bias }, (x: Value) => ops.linear(x, weight, bias));
}

function tableOf(embedding: AnyModule, dim: number, count: number): Parameter {
  const all = [...namesOf(embedding).parameters].filter(([, { options }]) => options.role === 'embedding');
  for (const [, p] of all) if (p.dims[0] === count && p.dims[1] === dim) return p;
  const tables = all.map(([name, { dims }]) => `${name} [${dims.join(', ')}]`);
  throw new ConfigError({
    path: 'tied',
    problem: 'the embedding has no table that the head could use',
    expected: `a parameter [${count}, ${dim}] of the role "embedding"`,
    got: tables.join(', ') || 'none',
    hint: 'Set tied: false, or make vocabSize and dim (embeddingDim) of the embedding and the model agree',
  });
}
