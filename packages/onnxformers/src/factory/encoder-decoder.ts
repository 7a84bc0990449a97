// An encoder, and a decoder that attends to its output.
import {
  type AnyModule,
  addAuxiliaryLoss,
  auxiliaryLoss,
  type BlockInputs,
  blockInputs,
  bool,
  ConfigError,
  contextOf,
  contextOfHiddenStates,
  type Dim,
  defineBlock,
  int,
  memoryFrom,
  module,
  num,
  type SequenceContext,
  slot,
  type Value,
  withContext,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { longestSequence } from './backbone';
import { logitsHead } from './head';
import { withInputOf } from './tied-embeddings';

/**
 * An encoder over `ids`, a decoder over `decoder_ids` that attends to it, and a head over the vocabulary if vocabSize is given.
 *
 *     logits = W (headScale · h) + b
 *
 * Compile its parts (`module.children.encoder`, `module.children.decoder`) to compute the memory once and decode with a cache.
 *
 * Shapes   ids int64 [batch, seq], decoder_ids int64 [batch, decoder_seq] → logits [batch, decoder_seq, vocabSize], or hidden_states
 * Dtypes   float32, float16, bfloat16
 * Masks    lengths, attention_mask for the encoder and the memory; causal, decoder_lengths, decoder_attention_mask for the decoder
 * Cost     that of both stacks, and time O(decoder_seq · dim · vocabSize) for the head
 * Throws   ConfigError when tied embeddings have no embedding or different dims, and for a state
 * Source   Vaswani et al. 2017, https://arxiv.org/abs/1706.03762
 * Lowers   as its layers, with a MatMul for the head
 * Example  const block = zoo.build('model', { name: 'encoder_decoder', dim: 64, encoder: { name: 'encoder', stack: layers }, decoder: { name: 'decoder', stack: layers } });
 */
export const encoderDecoder = defineBlock({
  kind: 'model',
  name: 'encoder_decoder',
  summary: 'An encoder, and a decoder that attends to its output.',
  source: 'Vaswani et al. 2017, https://arxiv.org/abs/1706.03762',
  fields: {
    /** channels. Inherited from the enclosing block. */
    dim: int({ doc: 'channels', unit: 'channels', min: 1, inherit: true }),
    /** longest sequence; inherited by embeddings, positions and mechanisms of fixed length inside. Inherited from the enclosing block. */
    seqLen: longestSequence,
    /** number of tokens of the decoder; absent: no head. Optional. */
    vocabSize: int({ doc: 'number of tokens of the decoder; absent: no head', min: 1, optional: true }),
    /** tied embeddings: the head uses the decoder's embedding table. Default: `false`. */
    tied: bool({ doc: "tied embeddings: the head uses the decoder's embedding table", default: false }),
    /** encoder and decoder share the weights of embedding and positions; their configs must agree. Default: `false`. */
    tiedEmbeddings: bool({
      doc: 'encoder and decoder share the weights of embedding and positions; their configs must agree',
      default: false,
    }),
    /** with tiedEmbeddings, the weights of the positions are shared too. Default: `true`. */
    tiedPositions: bool({ doc: 'with tiedEmbeddings, the weights of the positions are shared too', default: true }),
    /** the head has a bias. Default: `false`. */
    headBias: bool({ doc: 'the head has a bias', default: false }),
    /** factor of the hidden states before the head. Default: `1`. */
    headScale: num({ doc: 'factor of the hidden states before the head', above: 0, default: 1 }),
    /** reads ids or x, returns hidden_states. */
    encoder: slot('model', { doc: 'reads ids or x, returns hidden_states' }),
    /** reads ids or x and a memory, returns hidden_states. */
    decoder: slot('model', { doc: 'reads ids or x and a memory, returns hidden_states' }),
  },
  inputs: ({ children: { encoder, decoder } }) => ({
    ...blockInputs(encoder as AnyModule),
    ...decoderInputs(decoder as AnyModule),
  }),
  examples: [
    {
      dim: 12,
      vocabSize: 23,
      encoder: {
        name: 'encoder',
        embedding: { name: 'token', vocabSize: 19 },
        position: 'sine',
        stack: {
          name: 'stack',
          depth: 1,
          layers: { name: 'pre_norm', mixer: { name: 'multi_head', heads: 3 }, feedforward: 'mlp' },
          norm: 'layer_norm',
        },
      },
      decoder: {
        name: 'decoder',
        embedding: 'token',
        position: 'sine',
        stack: {
          name: 'stack',
          depth: 1,
          layers: {
            name: 'pre_norm',
            mixer: { name: 'multi_head', heads: 3 },
            cross: { name: 'multi_head', heads: 2, cross: true },
            feedforward: 'mlp',
          },
          norm: 'layer_norm',
        },
      },
    },
    {
      dim: 12,
      vocabSize: 23,
      tied: true,
      tiedEmbeddings: true,
      tiedPositions: false,
      headBias: true,
      headScale: 0.5,
      encoder: {
        name: 'encoder',
        embedding: { name: 'token', vocabSize: 23 },
        position: { name: 'learnable', seqLen: 11, positionOffset: 2 },
        stack: { name: 'stack', depth: 1, layers: { name: 'post_norm', mixer: { name: 'multi_head', heads: 3 } } },
      },
      decoder: {
        name: 'decoder',
        embedding: { name: 'token', vocabSize: 23 },
        position: { name: 'learnable', seqLen: 7 },
        stack: {
          name: 'stack',
          depth: 1,
          layers: {
            name: 'post_norm',
            mixer: { name: 'multi_head', heads: 2 },
            cross: { name: 'multi_head', heads: 3, cross: true },
          },
        },
      },
    },
  ],
  create(c, { path }) {
    const { dim, vocabSize, tied, decoder, headScale } = c;
    const shared = c.tiedPositions ? (['embedding', 'position'] as const) : (['embedding'] as const);
    const encoder = c.tiedEmbeddings ? withInputOf(decoder, c.encoder, shared, path) : c.encoder;
    const embedding = decoder.children.embedding;
    if (tied && (vocabSize === undefined || typeof embedding !== 'function'))
      throw new ConfigError({
        path: `${path}.tied`,
        problem: 'tied is set, but there is no head or no embedding to tie',
        expected: 'vocabSize and a decoder with an embedding',
        got: vocabSize === undefined ? 'no vocabSize' : 'a decoder without an embedding',
      });
    const head =
      vocabSize === undefined
        ? undefined
        : logitsHead(dim, vocabSize, { tied: tied && typeof embedding === 'function' ? embedding : undefined, bias: c.headBias });
    return module({ encoder, decoder, head }, (inputs: Readonly<Record<string, Value>>, ctx: SequenceContext) => {
      if (ctx.state)
        throw new ConfigError({
          path,
          problem: 'an encoder-decoder cannot be compiled with a state as a whole',
          expected: 'encoder and decoder compiled separately',
          got: 'a state',
          hint: 'Compile module.children.encoder without a state and module.children.decoder with one',
        });
      const memory = encoder(inputs, ctx).hidden_states;
      if (!memory) throw new ConfigError({ path: `${path}.encoder`, problem: 'the encoder returned no hidden_states' });
      const g = memory.graph.root;
      const own = Object.entries(inputs)
        .filter(([name]) => name.startsWith('decoder_'))
        .map(([name, v]) => [name.slice('decoder_'.length), v] as const);
      const decoderInputs = Object.fromEntries(own);
      const alone = contextOf(g, decoderInputs, { layout: ctx.layout.kind });
      const within = withContext(alone, {
        memory: memoryFrom({ hiddenStates: memory, ctx: contextOfHiddenStates(memory) ?? ctx }),
      });
      const hidden = decoder(alone.inputs, within).hidden_states;
      const loss = auxiliaryLoss(within);
      if (loss) addAuxiliaryLoss(ctx, loss);
      if (!hidden) throw new ConfigError({ path: `${path}.decoder`, problem: 'the decoder returned no hidden_states' });
      return head ? { logits: head(ops.mul(hidden, headScale)) } : { hidden_states: hidden };
    });
  },
});

// It reads its memory from the encoder.
function decoderInputs(decoder: AnyModule): BlockInputs {
  const { memory: _, ...own } = blockInputs(decoder);
  const renamed = (d: Dim): Dim => (d === 'seq' ? 'decoder_seq' : d);
  return Object.fromEntries(
    Object.entries(own).map(([name, input]) => [`decoder_${name}`, { ...input, dims: input.dims.map(renamed) }]),
  );
}
