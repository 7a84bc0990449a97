// A masked language model.
import { bool, defineBlock, int, linear, module, type SequenceContext, slot, type Value } from '@onnxformers/core';
import { backboneFields, backboneInput, backboneOf, runBackbone } from './backbone';
import { logitsHead } from './head';

/**
 * A masked language model: an encoder, a transform, and a head over the vocabulary. Returns the logits of the token at each position.
 *
 *     logits = (norm(f(W h + c))) Eᵀ + b      W: [transformDim, dim]
 *
 * Shapes   ids int64 [batch, seq] → logits [batch, seq, vocabSize]
 * Dtypes   float32, float16, bfloat16
 * Masks    lengths, attention_mask, attention_bias (inputs of the model)
 * Cost     that of the stack, and time O(seq · transformDim · (dim + vocabSize)) for transform and head
 * Source   Devlin et al. 2018, https://arxiv.org/abs/1810.04805
 * Lowers   as its layers, with a MatMul for the head
 * Example  const block = zoo.build('model', { name: 'masked_lm', dim: 64, vocabSize: 101, embedding: 'token', stack: layers });
 */
export const maskedLm = defineBlock({
  kind: 'model',
  name: 'masked_lm',
  summary: 'An encoder, a transform, and a head over the vocabulary.',
  source: 'Devlin et al. 2018, https://arxiv.org/abs/1810.04805',
  fields: {
    /** channels. Inherited from the enclosing block. */
    dim: int({ doc: 'channels', unit: 'channels', min: 1, inherit: true }),
    /** number of tokens. Inherited from the enclosing block. */
    vocabSize: int({ doc: 'number of tokens', min: 1, inherit: true }),
    /** tied embeddings: the head uses the embedding table. Default: `true`. */
    tied: bool({ doc: 'tied embeddings: the head uses the embedding table', default: true }),
    /** the head has a bias. Default: `true`. */
    headBias: bool({ doc: 'the head has a bias', default: true }),
    ...backboneFields,
    /** channels after the transform; those of the embedding if it is tied. Default: computed from other options. */
    transformDim: int({
      doc: 'channels after the transform; those of the embedding if it is tied',
      unit: 'channels',
      min: 1,
      default: (c: { dim: number; embeddingDim: number; tied: boolean }) => (c.tied ? c.embeddingDim : c.dim),
    }),
    /** the linear map of the transform has a bias. Default: `true`. */
    transformBias: bool({ doc: 'the linear map of the transform has a bias', default: true }),
    /** activation of the transform before the head. Default: `"gelu"`. */
    activation: slot('activation', { doc: 'activation of the transform before the head', default: 'gelu' }),
    /** norm of the transform before the head. Default: `"layer_norm"`. */
    norm: slot('norm', {
      doc: 'norm of the transform before the head',
      default: 'layer_norm',
      inside: (c: { transformDim: number }) => ({ dim: c.transformDim }),
    }),
  },
  examples: [
    {
      dim: 12,
      vocabSize: 23,
      embedding: { name: 'vocab', vocabSize: 23, seqLen: 11 },
      embeddingNorm: 'layer_norm',
      stack: {
        name: 'stack',
        depth: 1,
        layers: { name: 'post_norm', mixer: { name: 'multi_head', heads: 3 }, feedforward: 'mlp' },
      },
    },
    {
      dim: 12,
      embeddingDim: 7,
      vocabSize: 23,
      headBias: false,
      transformBias: false,
      embedding: 'token',
      stack: { name: 'stack', depth: 1, layers: { name: 'post_norm', mixer: { name: 'multi_head', heads: 3 } } },
    },
  ],
  outputs: ['logits'],
  create(c) {
    const { dim, vocabSize, tied, embedding, transformDim, activation, norm } = c;
    const backbone = backboneOf(c);
    const transform = linear(dim, transformDim, { bias: c.transformBias, role: 'head' });
    const head = logitsHead(transformDim, vocabSize, { tied: tied ? embedding : undefined, bias: c.headBias });
    return module(
      { ...backbone, transform, activation, norm, head },
      (inputs: Readonly<Record<string, Value>>, ctx: SequenceContext) => ({
        logits: head(norm(activation(transform(runBackbone(backbone, backboneInput(backbone, inputs), ctx))))),
      }),
    );
  },
});
