// CLIP. Radford et al. 2021, https://arxiv.org/abs/2103.00020
import type { ConfigReader } from '../config';
import type { Family, Translation } from '../family';
import { labelsOf } from '../translate/heads';
import { imageSizeOf } from '../translate/image-size';
import { similarityNames, textNames, textTower, visionNames, visionTower } from '../translate/towers';

const defaults = { activation: 'quick_gelu', eps: 1e-5, textLength: 77 };

/** Configs of before the right id was stored have this one; their models pool at the largest id. */
const unsetEos = 2;

/** The position that texts are pooled at: that of the first end token. */
function poolingOf(text: ConfigReader): { readonly pooling: string; readonly poolId?: number } {
  const eos = text.int('eos_token_id', 49407);
  return { pooling: 'id', ...(eos !== unsetEos && { poolId: eos }) };
}

/** The projection of a pooled vector. */
const projectionOf = (config: ConfigReader) => ({
  poolerDim: config.int('projection_dim', 512),
  poolerBias: false,
  activation: 'identity',
});
const noProjection = { projection: false };

/** The encoder of texts: causal. */
function texts(config: ConfigReader, projection: object, ours = ''): Translation {
  return {
    config: { name: 'pooled_encoder', ...textTower(config, defaults), causal: true, ...poolingOf(config), ...projection },
    names: [...textNames(ours), ['text_projection.{x}', `${ours}pooler.{x}`]],
  };
}

/** The encoder of images: a ViT with a norm before its layers. */
function images(config: ConfigReader, projection: object, ours = '') {
  const backbone = visionTower(config, { ...defaults, classToken: true });
  return {
    config: { name: 'pooled_encoder', ...backbone, pooling: 'first', ...projection },
    names: [
      ...visionNames(backbone, ours),
      ['vision_model.embeddings.class_embedding', `${ours}position.class_token`],
      ['vision_model.pre_layrnorm.{x}', `${ours}embeddingNorm.{x}`],
      ['vision_model.post_layernorm.{x}', `${ours}pool.norm.{x}`],
      ['visual_projection.{x}', `${ours}pooler.{x}`],
    ] satisfies Translation['names'],
    imageSize: imageSizeOf(config),
  };
}

/** A classifier of images: of the mean of the patches, without the norm after the layers. */
function classifier(config: ConfigReader): Translation {
  const { poolNorm: _, ...backbone } = visionTower(config.needed('vision_config'), { ...defaults, classToken: true });
  const { names, imageSize } = images(config.needed('vision_config'), {});
  return {
    config: { name: 'classifier', ...backbone, pooling: 'rest', classes: labelsOf(config) },
    names: [...names, ['classifier.{x}', 'head.{x}']],
    imageSize,
  };
}

/** CLIP: a causal encoder of texts and a ViT, whose projections are compared; or a classifier that is made of the ViT. */
export const clip: Family = {
  modelTypes: ['clip'],
  tasks: ['base', 'image_classification'],
  prefix: '',
  unused: [/^vision_model\.post_layernorm\./, /^classifier\./],
  translate(config, { task }) {
    if (task === 'image_classification') return classifier(config);
    const projection = projectionOf(config);
    const text = texts(config.needed('text_config'), projection, 'text.');
    const vision = images(config.needed('vision_config'), projection, 'vision.');
    return {
      config: { name: 'dual_encoder', text: text.config, vision: vision.config },
      names: [...similarityNames([]), ...text.names, ...vision.names],
      imageSize: vision.imageSize,
    };
  },
};

/** CLIP's encoder of texts alone, with or without its projection. */
export const clipText: Family = {
  modelTypes: ['clip_text_model'],
  tasks: ['base'],
  prefix: 'text_model.',
  translate: (config, { has }) => texts(config, has('text_projection.weight') ? projectionOf(config) : noProjection),
};

/** CLIP's encoder of images alone, with or without its projection. */
export const clipVision: Family = {
  modelTypes: ['clip_vision_model'],
  tasks: ['base'],
  prefix: 'vision_model.',
  translate: (config, { has }) => images(config, has('visual_projection.weight') ? projectionOf(config) : noProjection),
};
