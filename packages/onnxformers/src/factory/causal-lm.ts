// A language model that predicts the next token.
import { bool, ConfigError, defineBlock, int, module, num, type SequenceContext, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { backboneFields, backboneInput, backboneOf, runBackbone, widthAfter } from './backbone';
import { causally } from './decoder';
import { logitsHead } from './head';

/**
 * A decoder and a head over the vocabulary: the logits of the next token at each position.
 *
 *     logits = softcap(logitScale · (W h + b))      softcap(z) = logitSoftcap · tanh(z / logitSoftcap), or z without one
 *
 * Shapes   ids int64 [batch, seq] → logits [batch, seq, vocabSize]
 * Dtypes   float32, float16, bfloat16
 * Masks    causal, and lengths, attention_mask, attention_bias (inputs of the model)
 * Cost     that of the stack, and time O(seq · dim · vocabSize) for the head
 * Throws   ConfigError when tied embeddings have no embedding
 * Source   Radford et al. 2018, Improving Language Understanding by Generative Pre-Training
 * Lowers   as its layers, with a MatMul for the head
 * Example  const block = zoo.build('model', { name: 'causal_lm', dim: 64, vocabSize: 101, embedding: 'token', stack: layers });
 */
export const causalLm = defineBlock({
  kind: 'model',
  name: 'causal_lm',
  summary: 'A decoder and a head over the vocabulary.',
  source: 'Radford et al. 2018, Improving Language Understanding by Generative Pre-Training',
  fields: {
    /** channels. Inherited from the enclosing block. */
    dim: int({ doc: 'channels', unit: 'channels', min: 1, inherit: true }),
    /** number of tokens. Inherited from the enclosing block. */
    vocabSize: int({ doc: 'number of tokens', min: 1, inherit: true }),
    /** tied embeddings: the head uses the embedding table. Default: `false`. */
    tied: bool({ doc: 'tied embeddings: the head uses the embedding table', default: false }),
    /** the head has a bias. Default: `false`. */
    headBias: bool({ doc: 'the head has a bias', default: false }),
    /** factor of the logits. Default: `1`. */
    logitScale: num({ doc: 'factor of the logits', above: 0, default: 1 }),
    /** bound on the logits: logitSoftcap · tanh(logits / logitSoftcap); absent: no bound. Optional. */
    logitSoftcap: num({
      doc: 'bound on the logits: logitSoftcap · tanh(logits / logitSoftcap); absent: no bound',
      above: 0,
      optional: true,
    }),
    ...backboneFields,
  },
  examples: [
    {
      dim: 12,
      vocabSize: 23,
      tied: true,
      embedding: 'token',
      stack: {
        name: 'stack',
        depth: 2,
        layers: {
          name: 'pre_norm',
          norm: 'rms_norm',
          mixer: { name: 'multi_head', heads: 6, kvHeads: 2, headDim: 8, bias: false, rotaryEmbedding: 'rotary' },
          feedforward: { name: 'glu', hidden: 17 },
        },
        norm: 'rms_norm',
      },
    },
  ],
  properties: ['causal'],
  outputs: ['logits'],
  create(c, { path }) {
    const { dim, vocabSize, tied, headBias, embedding, logitScale, logitSoftcap: cap } = c;
    const backbone = backboneOf(c);
    if (tied && !embedding)
      throw new ConfigError({
        path: `${path}.tied`,
        problem: 'tied is set, but the model has no embedding',
        expected: 'an embedding, or tied: false',
        got: 'no embedding',
      });
    const head = logitsHead(widthAfter(backbone, dim), vocabSize, { tied: tied ? embedding : undefined, bias: headBias });
    return module({ ...backbone, head }, (inputs: Readonly<Record<string, Value>>, ctx: SequenceContext) => ({
      logits: capped(ops.mul(head(runBackbone(backbone, backboneInput(backbone, inputs), causally(ctx))), logitScale), cap),
    }));
  },
});

const capped = (logits: Value, cap: number | undefined): Value =>
  cap === undefined ? logits : ops.mul(ops.tanh(ops.div(logits, cap)), cap);
