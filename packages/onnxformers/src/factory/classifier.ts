// Classification of a sequence.
import {
  type AnyModule,
  bool,
  defineBlock,
  int,
  type KindModule,
  linear,
  module,
  type SequenceContext,
  slot,
  type Value,
} from '@onnxformers/core';
import { backboneFields, backboneInput, backboneOf, backboneRows } from './backbone';
import { causally } from './decoder';
import { pooledWidth, poolerOf, poolFields, poolingField } from './pool';

/** The slots of a transform before a head; spread them into the fields of a model, after `dim`. */
export const transformFields = {
  /** activation of a linear map before the head; absent: no such map. Optional. */
  transform: slot('activation', { doc: 'activation of a linear map before the head; absent: no such map', optional: true }),
  /** that linear map has a bias. Default: `true`. */
  transformBias: bool({ doc: 'that linear map has a bias', default: true }),
  /** norm after that activation. Optional. */
  transformNorm: slot('norm', { doc: 'norm after that activation', optional: true }),
} as const;

/** A linear map, an activation and a norm: the children of a model, and the function. */
export function transformOf(
  width: number,
  {
    transform: activation,
    transformBias: bias,
    transformNorm: norm,
  }: {
    readonly transform: KindModule<'activation'> | undefined;
    readonly transformBias: boolean;
    readonly transformNorm: KindModule<'norm'> | undefined;
  },
): { readonly children: Readonly<Record<string, AnyModule | undefined>>; readonly apply: (x: Value) => Value } {
  if (!activation) return { children: {}, apply: (x) => x };
  const transform = linear(width, width, { bias, role: 'head' });
  const apply = (x: Value): Value => {
    const y = activation(transform(x));
    return norm ? norm(y) : y;
  };
  return { children: { transform, activation, norm }, apply };
}

/**
 * An encoder, pooling over each sequence, and a head over the classes.
 *
 *     logits = W norm(f(V p + c)) + b      without a transform: W p + b;      p = poolNorm(pool(poolLayer(h)))
 *
 * Shapes   ids int64 [batch, seq] or x [batch, seq, dim] → logits [batch, classes]
 * Dtypes   float32, float16, bfloat16
 * Masks    lengths, attention_mask, attention_bias (inputs of the model); a mean includes only real positions
 * Cost     that of the stack, and time O(seq · dim + dim · classes) for pooling and head
 * Throws   ConfigError when neither ids nor x is an input, for the pooling `id` without ids, and for `end` and `id` of a packed batch
 * Source   Devlin et al. 2018, https://arxiv.org/abs/1810.04805 (pooling: first)
 * Lowers   as its layers, with a MatMul for the head
 * Example  const block = zoo.build('model', { name: 'classifier', dim: 64, classes: 10, stack: layers });
 */
export const classifier = defineBlock({
  kind: 'model',
  name: 'classifier',
  summary: 'An encoder, pooling over each sequence, and a head over the classes.',
  source: 'Devlin et al. 2018, https://arxiv.org/abs/1810.04805 (pooling: first)',
  fields: {
    /** channels. Inherited from the enclosing block. */
    dim: int({ doc: 'channels', unit: 'channels', min: 1, inherit: true }),
    /** number of classes. */
    classes: int({ doc: 'number of classes', min: 1 }),
    /** what is pooled of the real positions: the first, the last, the mean, the mean of the rest after the first position (a class token), the first and that mean one after the other; or the last position even if it is padding (end), or the one of an id. Default: `"mean"`. */
    pooling: poolingField('mean'),
    /** the layers are a decoder: no position attends to a later one. Default: `false`. */
    causal: bool({ doc: 'the layers are a decoder: no position attends to a later one', default: false }),
    /** the head has a bias. Default: `true`. */
    headBias: bool({ doc: 'the head has a bias', default: true }),
    ...backboneFields,
    ...poolFields,
    ...transformFields,
  },
  examples: [
    {
      dim: 12,
      classes: 5,
      stack: {
        name: 'stack',
        depth: 1,
        layers: { name: 'pre_norm', mixer: { name: 'multi_head', heads: 3 }, feedforward: 'mlp' },
        norm: 'layer_norm',
      },
    },
    {
      dim: 12,
      classes: 5,
      pooling: 'first',
      stack: { name: 'stack', depth: 1, layers: { name: 'pre_norm', mixer: { name: 'multi_head', heads: 3 } } },
      transform: 'tanh',
    },
    {
      dim: 12,
      classes: 5,
      pooling: 'last',
      causal: true,
      headBias: false,
      stack: { name: 'stack', depth: 1, layers: { name: 'pre_norm', mixer: { name: 'multi_head', heads: 3 } } },
    },
  ],
  outputs: ['logits'],
  create(c) {
    const { classes, causal, headBias } = c;
    const backbone = backboneOf(c);
    const width = pooledWidth(c);
    const pool = poolerOf(c);
    const { children, apply } = transformOf(width, c);
    const head = linear(width, classes, { bias: headBias, role: 'head' });
    return module({ ...backbone, pool, ...children, head }, (inputs: Readonly<Record<string, Value>>, given: SequenceContext) => {
      const within = causal ? causally(given) : given;
      const { hiddenStates: rows, ctx } = backboneRows(backbone, backboneInput(backbone, inputs), within);
      return { logits: head(apply(pool(rows, ctx, inputs.ids))) };
    });
  },
});
