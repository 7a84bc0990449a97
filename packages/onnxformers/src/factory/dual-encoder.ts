// Similarities of texts and images. Radford et al. 2021, https://arxiv.org/abs/2103.00020
import {
  type AnyModule,
  type BlockInputs,
  blockInputs,
  bool,
  ConfigError,
  contextOf,
  type Dim,
  defineBlock,
  init,
  module,
  Parameter,
  type SequenceContext,
  slot,
  type Value,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';

type Inputs = Readonly<Record<string, Value>>;

/**
 * Two encoders, of texts and of images, whose pooled vectors are compared: each image with each text.
 *
 *     logits_per_text[i, j] = exp(logit_scale) · uᵢ · vⱼ + logit_bias      u, v: pooled vectors of texts and images, divided by their lengths
 *
 * The softmax of logits_per_image over texts gives the probabilities of CLIP; SigLIP, whose model has a bias, has the sigmoid of each logit. Compile
 * `module.children.text` and `module.children.vision` to embed texts or images alone.
 *
 * Shapes   ids int64 [texts, seq], pixels [images, channels, height, width] → logits_per_image [images, texts] or logits_per_text [texts, images] or
 *          text_embeds [texts, poolerDim] or image_embeds [images, poolerDim]
 * Dtypes   float32, float16, bfloat16
 * Masks    lengths and attention_mask, for the texts
 * Cost     that of both encoders, and time O(images · texts · poolerDim) for the similarities
 * Throws   ConfigError for a model without a pooled vector, for a packed batch and for a state · ShapeError when the pooled vectors differ in their numbers of channels
 * Source   Radford et al. 2021, https://arxiv.org/abs/2103.00020; logitBias: Zhai et al. 2023, https://arxiv.org/abs/2303.15343
 * Lowers   as its layers, with a MatMul for the similarities
 * Example  const block = zoo.build('model', { name: 'dual_encoder', text: { name: 'pooled_encoder', dim: 64, stack: layers }, vision: images });
 */
export const dualEncoder = defineBlock({
  kind: 'model',
  name: 'dual_encoder',
  summary: 'Two encoders, of texts and of images, whose pooled vectors are compared.',
  source: 'Radford et al. 2021, https://arxiv.org/abs/2103.00020',
  fields: {
    /** similarities have a learned bias. Default: `false`. */
    logitBias: bool({ doc: 'similarities have a learned bias', default: false }),
    /** the encoder of texts, with a pooler_output. */
    text: slot('model', { doc: 'the encoder of texts, with a pooler_output' }),
    /** the encoder of images, with a pooler_output. */
    vision: slot('model', { doc: 'the encoder of images, with a pooler_output' }),
  },
  inputs: ({ children: { text, vision } }) => ({
    ...inputsWith('texts', text as AnyModule),
    ...inputsWith('images', vision as AnyModule),
  }),
  examples: [
    {
      text: {
        name: 'pooled_encoder',
        dim: 6,
        poolerDim: 5,
        causal: true,
        pooling: 'id',
        poolerBias: false,
        activation: 'identity',
        embedding: { name: 'vocab', vocabSize: 23, seqLen: 11 },
        stack: { name: 'stack', depth: 1, layers: { name: 'pre_norm', mixer: { name: 'multi_head', heads: 2 } } },
      },
      vision: {
        name: 'pooled_encoder',
        dim: 10,
        poolerDim: 5,
        embedding: { name: 'patch', kernelSize: 3 },
        stack: { name: 'stack', depth: 1, layers: { name: 'pre_norm', mixer: { name: 'multi_head', heads: 2 } } },
      },
    },
  ],
  outputs: ['logits_per_image', 'logits_per_text', 'text_embeds', 'image_embeds'],
  create({ logitBias, text, vision }, { path }) {
    // The initial scale of CLIP, 1 / 0.07, and the initial bias of SigLIP.
    const logit_scale = new Parameter([1], init.constant(Math.log(1 / 0.07)), { role: 'scale', part: 'weight' });
    const logit_bias = logitBias ? new Parameter([1], init.constant(-10), { role: 'scale', part: 'bias' }) : undefined;
    const ofVision = Object.keys(blockInputs(vision));
    return module({ text, vision, logit_scale, logit_bias }, (inputs: Inputs, ctx: SequenceContext) => {
      if (ctx.state || ctx.layout.kind === 'packed')
        throw new ConfigError({
          path,
          problem: 'texts are compared as whole sequences of a padded batch',
          expected: "layout: 'padded' without a state",
          got: ctx.state ? 'a state' : 'a packed batch',
        });
      const isOfVision = ([name]: readonly [string, Value]): boolean => ofVision.includes(name);
      const embed = (model: typeof text, own: readonly (readonly [string, Value])[], name: string): Value => {
        const [, first] = own[0] ?? [];
        const within = first && contextOf(first.graph.root, Object.fromEntries(own), { layout: 'padded' });
        const { pooler_output: pooled } = within ? model(within.inputs, within) : {};
        if (pooled) return unit(pooled);
        const problem = within ? 'the model returned no pooler_output' : 'it has no inputs';
        throw new ConfigError({ path: `${path}.${name}`, problem, expected: 'pooled_encoder' });
      };
      const all = Object.entries(inputs);
      const texts = embed(
        text,
        all.filter((entry) => !isOfVision(entry)),
        'text',
      );
      const images = embed(vision, all.filter(isOfVision), 'vision');
      const g = texts.graph.root;
      const scaled = ops.mul(ops.matmul(texts, ops.transpose(images, [1, 0])), ops.exp(g.param(logit_scale)));
      const logits_per_text = logit_bias ? ops.add(scaled, g.param(logit_bias)) : scaled;
      return {
        logits_per_image: ops.transpose(logits_per_text, [1, 0]),
        logits_per_text,
        text_embeds: texts,
        image_embeds: images,
      };
    });
  },
});

/** A vector of length 1; its length is computed in float32. */
function unit(x: Value): Value {
  const wide = ops.cast(x, 'float32');
  return ops.cast(ops.div(wide, ops.reduceL2(wide, [-1])), x.dtype);
}

function inputsWith(batch: string, model: AnyModule): BlockInputs {
  const renamed = (d: Dim): Dim => (d === 'batch' ? batch : d);
  return Object.fromEntries(
    Object.entries(blockInputs(model)).map(([name, input]) => [name, { ...input, dims: input.dims.map(renamed) }]),
  );
}
