// SigLIP. Zhai et al. 2023, https://arxiv.org/abs/2303.15343
import { ops, type Value } from 'onnxformers';
import type { ConfigReader } from '../config';
import type { Family, Translation } from '../family';
import { type NameEntry, type PackedEntry, reshaped } from '../names';
import { activationOf } from '../translate/activation';
import { labelsOf } from '../translate/heads';
import { imageSizeOf } from '../translate/image-size';
import { similarityNames, textNames, textTower, visionNames, visionTower } from '../translate/towers';

const defaults = { activation: 'gelu_pytorch_tanh', eps: 1e-6, textLength: 64 };

const head = 'vision_model.head';

/** The projections of queries, keys and values, stored as one tensor for the weights and one for the biases. */
function projections(dim: number, layers: string): readonly PackedEntry[] {
  return (['weight', 'bias'] as const).map((part) => ({
    theirs: `${head}.attention.in_proj_${part}`,
    ours: ['q', 'k', 'v'].map((p) => `${layers}.0.cross.${p}_proj.${part}`),
    take: (theirs: Value, at: number) => ops.slice(theirs, { axes: [0], starts: [at * dim], ends: [(at + 1) * dim] }),
    join: (ours: readonly Value[]) => ops.concat(ours, 0),
  }));
}

const headNames = (dim: number, pool: string): readonly NameEntry[] => [
  [`${head}.probe`, `${pool}.latents`, reshaped([1, 1, dim], [1, dim])],
  [`${head}.attention.out_proj.{x}`, `${pool}.layers.0.cross.o_proj.{x}`],
  [`${head}.layernorm.{x}`, `${pool}.layers.1.norm2.{x}`],
  [`${head}.mlp.fc1.{x}`, `${pool}.layers.1.feedforward.up.{x}`],
  [`${head}.mlp.fc2.{x}`, `${pool}.layers.1.feedforward.down.{x}`],
];

/** The encoder of texts: it reads padding, and pools the last position. */
function texts(config: ConfigReader, ours = '') {
  const tower = textTower(config, defaults);
  return {
    config: {
      name: 'pooled_encoder',
      ...tower,
      embedding: { ...tower.embedding, countPadding: true },
      pooling: 'end',
      poolerDim: config.int('projection_size', tower.dim),
      activation: 'identity',
    },
    names: [...textNames(ours), ['text_model.head.{x}', `${ours}pooler.{x}`]] satisfies Translation['names'],
    masked: false,
  };
}

/** The encoder of images: a learned probe pools the patches. */
function images(config: ConfigReader, ours = '') {
  const backbone = visionTower(config, { ...defaults, classToken: false });
  const norm = { name: 'layer_norm', eps: config.num('layer_norm_eps', defaults.eps) };
  // The probe is replaced by what it reads; only the feed-forward has a residual connection.
  const reading = {
    name: 'pre_norm',
    scale: 0,
    norm: 'identity',
    cross: { name: 'multi_head', heads: config.int('num_attention_heads', 12), cross: true },
  };
  const activation = activationOf(config, 'hidden_act', defaults.activation);
  const feedforward = { name: 'mlp', hidden: config.int('intermediate_size'), activation };
  const pool = `${ours}pool.layer`;
  return {
    config: {
      name: 'pooled_encoder',
      ...backbone,
      pooling: 'first',
      poolLayer: {
        name: 'perceiver_latents',
        latents: 1,
        depth: 2,
        layers: [reading, { name: 'pre_norm', feedforward, norm }],
      },
      projection: false,
    },
    names: [
      ...visionNames(backbone, ours),
      ['vision_model.post_layernorm.{x}', `${ours}stack.norm.{x}`],
      ...headNames(backbone.dim, pool),
    ] satisfies Translation['names'],
    imageSize: imageSizeOf(config),
    packed: projections(backbone.dim, `${pool}.layers`),
  };
}

/** A classifier of images: of the mean of the patches, without the probe. */
function classifier(config: ConfigReader): Translation {
  const backbone = visionTower(config.needed('vision_config'), { ...defaults, classToken: false });
  const { names, imageSize } = images(config.needed('vision_config'));
  return {
    config: { name: 'classifier', ...backbone, pooling: 'mean', classes: labelsOf(config) },
    names: [...names, ['classifier.{x}', 'head.{x}']],
    imageSize,
  };
}

/** SigLIP: two encoders whose similarities are independent of each other; or a classifier that is made of the one of images. */
export const siglip: Family = {
  modelTypes: ['siglip'],
  tasks: ['base', 'image_classification'],
  prefix: '',
  unused: [/^vision_model\.head\./, /^classifier\./],
  translate(config, { task }) {
    if (task === 'image_classification') return classifier(config);
    const text = texts(config.needed('text_config'), 'text.');
    const vision = images(config.needed('vision_config'), 'vision.');
    return {
      config: { name: 'dual_encoder', logitBias: true, text: text.config, vision: vision.config },
      names: [...similarityNames([1]), ...text.names, ...vision.names],
      packed: vision.packed,
      imageSize: vision.imageSize,
      masked: false,
    };
  },
};

/** SigLIP's encoder of texts alone. */
export const siglipText: Family = {
  modelTypes: ['siglip_text_model'],
  tasks: ['base'],
  prefix: 'text_model.',
  translate: (config) => texts(config),
};

/** SigLIP's encoder of images alone. */
export const siglipVision: Family = {
  modelTypes: ['siglip_vision_model'],
  tasks: ['base'],
  prefix: 'vision_model.',
  translate: (config) => images(config),
};
