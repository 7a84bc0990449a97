// DeiT. Touvron et al. 2020, https://arxiv.org/abs/2012.12877
import type { ConfigReader } from '../config';
import type { Checkpoint, Family, Translation } from '../family';
import { type Backbone, labelsOf } from '../translate/heads';
import { imageSizeOf } from '../translate/image-size';
import {
  patchEmbedding,
  patchesOf,
  storedToken,
  vitClassifier,
  vitEmbeddings,
  vitLayer,
  vitLayers,
  vitPooled,
  vitStack,
} from './vit';

function headOf(config: ConfigReader, at: Checkpoint, backbone: Backbone): Translation {
  if (at.task === 'base') return vitPooled(config, at, backbone, 'deit.');
  if (!at.has('distillation_classifier.weight')) return vitClassifier(config, backbone);
  return {
    config: { name: 'distilled_classifier', ...backbone, classes: labelsOf(config) },
    names: [
      ['cls_classifier.{x}', 'head.{x}'],
      ['distillation_classifier.{x}', 'distillation_head.{x}'],
    ],
  };
}

/** DeiT: ViT with a distillation token and, trained with a teacher, a head of its own for it. */
export const deit: Family = {
  modelTypes: ['deit'],
  tasks: ['base', 'image_classification'],
  prefix: 'deit.',
  unused: [/^(cls_|distillation_)?classifier\./, /^deit\.pooler\./, /^deit\.embeddings\.mask_token$/],
  translate(config, at) {
    const dim = config.int('hidden_size');
    const head = headOf(config, at, {
      dim,
      seqLen: patchesOf(config),
      embedding: patchEmbedding(config),
      position: { name: 'learnable', classToken: true, distillationToken: true },
      stack: vitStack(config, vitLayer(config)),
    });
    const distillation = storedToken('deit.embeddings.distillation_token', 'position.distillation_token', dim);
    return {
      config: head.config,
      names: [distillation, ...vitEmbeddings('deit.', dim), ...vitLayers('deit.'), ...head.names],
      imageSize: imageSizeOf(config),
    };
  },
};
