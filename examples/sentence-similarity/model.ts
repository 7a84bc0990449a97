// The Universal Sentence Encoder (lite) from blocks of onnxformers. What it computes, line by line: `weights.ts`.

import {
  type CompileOptions,
  compile,
  embedding,
  init,
  linear,
  type Model,
  type ModelDType,
  module,
  Parameter,
  type SequenceContext,
  type Target,
  type Value,
  type WeightSource,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { layerNorm, mlp, multiHead, preNorm, relu } from 'onnxformers';
import { sizes } from './sizes';

const { widths, heads, hidden, epsilon } = sizes;

/** The network as a module: ids int64 [batch, seq] and lengths int64 [batch] → vectors float32 [batch, 512]. */
export function sentenceEncoder() {
  const table = embedding(sizes.vocabulary, widths[0]);
  // Angles up to 127 radians need all the digits of float32, whatever the model computes in.
  const frequencies = new Parameter([widths[0] / 2], init.ones, { role: 'position', dtype: 'float32', trainable: false });
  const position = module({ frequencies }, (x: Value, ctx: SequenceContext): Value => {
    const angles = ops.mul(ops.unsqueeze(ops.cast(ctx.positions, 'float32'), [2]), frequencies);
    return ops.add(x, ops.cast(ops.concat([ops.sin(angles), ops.cos(angles)], 2), x.dtype));
  });
  const layers = [0, 1].map((i) => {
    const [dim, outDim] = [widths[i]!, widths[i + 1]!];
    return preNorm({
      dim,
      shortcutBias: true,
      mixer: multiHead({ dim, heads, outDim, fused: true }),
      feedforward: mlp({ dim: outDim, hidden, activation: relu({}) }),
      norm: (place) => layerNorm({ dim: place === 0 ? dim : outDim, eps: epsilon }),
    });
  });
  const dense = linear(widths[2], sizes.output);
  return module(
    { embedding: table, position, layers, dense },
    (inputs: Readonly<Record<string, Value>>, ctx: SequenceContext) => {
      const lengths = inputs.lengths!;
      const e = table(inputs.ids!);
      const rows = layers.reduce((x, layer) => layer(x, ctx), position(ops.add(e, e), ctx));
      const t = ops.cast(ops.tanh(dense(meanOfReal(rows, lengths))), 'float32');
      return { vectors: ops.div(t, ops.sqrt(ops.max(ops.reduceSum(ops.mul(t, t), [1]), 1e-12))) };
    },
  );
}

// [batch, seq, dim] → [batch, dim]; a sentence without tokens has the mean 0.
function meanOfReal(rows: Value, lengths: Value): Value {
  const seq = rows.dims[1]!;
  const real = ops.cast(ops.less(ops.reshape(ops.iota(rows.graph, seq), [1, seq]), ops.unsqueeze(lengths, [1])), rows.dtype);
  const sum = ops.reduceSum(ops.mul(rows, ops.unsqueeze(real, [2])), [1], { keepDims: false });
  return ops.div(sum, ops.cast(ops.unsqueeze(ops.max(lengths, 1), [1]), rows.dtype));
}

/** Compiles the network with weights; see `readWeights`. */
export function compileEncoder(
  weights: WeightSource,
  target: Target,
  dtype: ModelDType,
  o: Pick<CompileOptions, 'onProgress'> = {},
): Model {
  const inputs = { ids: ['int64', ['batch', 'seq']], lengths: ['int64', ['batch']] } as const;
  return compile(sentenceEncoder(), { target, dtype, inputs, weights, ...o });
}
