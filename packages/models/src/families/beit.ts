// BEiT. Bao et al. 2021, https://arxiv.org/abs/2106.08254
import type { ConfigReader } from '../config';
import type { Checkpoint, Family, Translation } from '../family';
import type { NameEntry } from '../names';
import { type Backbone, labelsOf } from '../translate/heads';
import { imageSizeOf } from '../translate/image-size';
import {
  gridOf,
  patchEmbedding,
  patchesOf,
  patchNames,
  storedToken,
  vitAttention,
  vitEmbeddings,
  vitLayer,
  vitNorm,
  vitStack,
  vitSubLayers,
} from './vit';

const layer = 'beit.encoder.layer.{i}';

/** The mean of the patches with a norm of its own, or the class token after the norm of the stack. */
const pooled = (config: ConfigReader) =>
  config.flag('use_mean_pooling', true) ? { pooling: 'rest', poolNorm: vitNorm(config) } : { pooling: 'first' };

function headOf(config: ConfigReader, { task, has }: Checkpoint, backbone: Backbone): Translation {
  if (task === 'image_classification')
    return {
      config: { name: 'classifier', ...backbone, ...pooled(config), classes: labelsOf(config) },
      names: [['classifier.{x}', 'head.{x}']],
    };
  const isPooled = !config.flag('use_mean_pooling', true) || has('beit.pooler.layernorm.weight');
  return {
    config: {
      name: isPooled ? 'pooled_encoder' : 'encoder',
      ...backbone,
      ...(isPooled && { ...pooled(config), projection: false }),
    },
    names: [],
  };
}

/** Where relative positions are stored: in each layer, or once for all. */
function biasNames(config: ConfigReader): readonly NameEntry[] {
  const [theirs, ours] = [
    'relative_position_bias.relative_position_bias_table',
    'mixer.attention_bias.relative_position_bias_table',
  ];
  return config.flag('use_shared_relative_position_bias', false)
    ? [[`beit.encoder.${theirs}`, `stack.layers.0.${ours}`]]
    : [[`${layer}.attention.attention.${theirs}`, `stack.layers.{i}.${ours}`]];
}

/** BEiT: ViT with relative positions, layer scale and keys without a bias. */
export const beit: Family = {
  modelTypes: ['beit'],
  tasks: ['base', 'image_classification'],
  prefix: 'beit.',
  unused: [/^(classifier|lm_head|layernorm)\./, /^beit\.(pooler|layernorm)\./, /^beit\.embeddings\.mask_token$/],
  translate(config, at) {
    const dim = config.int('hidden_size');
    const shared = config.flag('use_shared_relative_position_bias', false);
    const relative = shared || config.flag('use_relative_position_bias', false);
    const absolute = config.flag('use_absolute_position_embeddings', false);
    const layerScale = config.num('layer_scale_init_value', 0.1);
    const bias = { name: 'swin_relative', window: gridOf(config), classToken: true };
    const one = vitLayer(config, {
      mixer: { bias: true, keyBias: false, ...(relative && { attentionBias: bias }) },
      ...(layerScale > 0 && { layerScale }),
    });
    const head = headOf(config, at, {
      dim,
      seqLen: patchesOf(config),
      embedding: patchEmbedding(config),
      position: absolute ? { name: 'learnable', classToken: true } : { name: 'class_token' },
      stack: vitStack(config, one, {
        ...(shared && { sharedBias: true }),
        ...(!config.flag('use_mean_pooling', true) && { norm: vitNorm(config) }),
      }),
    });
    return {
      config: head.config,
      names: [
        ...(absolute
          ? vitEmbeddings('beit.', dim)
          : [storedToken('beit.embeddings.cls_token', 'position.weight', dim), patchNames('beit.')]),
        ...vitAttention(layer),
        ...vitSubLayers(layer),
        ...biasNames(config),
        [`${layer}.lambda_1`, 'stack.layers.{i}.layer_scale.mixer.weight'],
        [`${layer}.lambda_2`, 'stack.layers.{i}.layer_scale.feedforward.weight'],
        ['beit.layernorm.{x}', 'stack.norm.{x}'],
        ['beit.pooler.layernorm.{x}', 'pool.norm.{x}'],
        ...head.names,
      ],
      imageSize: imageSizeOf(config),
    };
  },
};
