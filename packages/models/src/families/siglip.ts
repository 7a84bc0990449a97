// SigLIP. Zhai et al. 2023, https://arxiv.org/abs/2303.15343
import { ops, type Value } from 'onnxformers';
import type { Family } from '../family';
import { type NameEntry, type PackedEntry, reshaped } from '../names';
import { activationOf } from '../translate/activation';
import { textTower, towerNames, visionTower } from '../translate/towers';

const defaults = { activation: 'gelu_pytorch_tanh', eps: 1e-6, textLength: 64 };

const head = 'vision_model.head';
const layers = 'vision.pool.layer.layers';

/** The projections of queries, keys and values, stored as one tensor for the weights and one for the biases. */
function projections(dim: number): readonly PackedEntry[] {
  return (['weight', 'bias'] as const).map((part) => ({
    theirs: `${head}.attention.in_proj_${part}`,
    ours: ['q', 'k', 'v'].map((p) => `${layers}.0.cross.${p}_proj.${part}`),
    take: (theirs: Value, at: number) => ops.slice(theirs, { axes: [0], starts: [at * dim], ends: [(at + 1) * dim] }),
    join: (ours: readonly Value[]) => ops.concat(ours, 0),
  }));
}

const headNames = (dim: number): readonly NameEntry[] => [
  [`${head}.probe`, 'vision.pool.layer.latents', reshaped([1, 1, dim], [1, dim])],
  [`${head}.attention.out_proj.{x}`, `${layers}.0.cross.o_proj.{x}`],
  [`${head}.layernorm.{x}`, `${layers}.1.norm2.{x}`],
  [`${head}.mlp.fc1.{x}`, `${layers}.1.feedforward.up.{x}`],
  [`${head}.mlp.fc2.{x}`, `${layers}.1.feedforward.down.{x}`],
];

/** SigLIP: two encoders whose similarities are independent of each other; a learned probe pools the patches. */
export const siglip: Family = {
  modelTypes: ['siglip'],
  tasks: ['base'],
  prefix: '',
  translate(config) {
    const [text, vision] = [config.needed('text_config'), config.needed('vision_config')];
    const images = visionTower(vision, { ...defaults, classToken: false });
    const texts = textTower(text, defaults);
    const norm = { name: 'layer_norm', eps: vision.num('layer_norm_eps', defaults.eps) };
    // The probe is replaced by what it reads; only the feed-forward has a residual connection.
    const reading = {
      name: 'pre_norm',
      scale: 0,
      norm: 'identity',
      cross: { name: 'multi_head', heads: vision.int('num_attention_heads', 12), cross: true },
    };
    const activation = activationOf(vision, 'hidden_act', defaults.activation);
    const feedforward = { name: 'mlp', hidden: vision.int('intermediate_size'), activation };
    return {
      config: {
        name: 'dual_encoder',
        logitBias: true,
        text: {
          name: 'pooled_encoder',
          ...texts,
          embedding: { ...texts.embedding, countPadding: true },
          pooling: 'end',
          poolerDim: text.int('projection_size', text.int('hidden_size', 768)),
          activation: 'identity',
        },
        vision: {
          name: 'pooled_encoder',
          ...images,
          pooling: 'first',
          poolLayer: {
            name: 'perceiver_latents',
            latents: 1,
            depth: 2,
            layers: [reading, { name: 'pre_norm', feedforward, norm }],
          },
          projection: false,
        },
      },
      names: [
        ...towerNames(images, [1]),
        ['vision_model.post_layernorm.{x}', 'vision.stack.norm.{x}'],
        ['text_model.head.{x}', 'text.pooler.{x}'],
        ...headNames(images.dim),
      ],
      packed: projections(images.dim),
      masked: false,
    };
  },
};
