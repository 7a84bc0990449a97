// DINOv2. Oquab et al. 2023, https://arxiv.org/abs/2304.07193
import type { ConfigReader } from '../config';
import type { BlockConfig, Family } from '../family';
import type { NameEntry } from '../names';
import { labelsOf } from '../translate/heads';
import { gridOf, patchEmbedding, vitAttention, vitEmbeddings, vitLayer, vitMlp, vitStack } from './vit';

const layer = 'dinov2.encoder.layer.{i}';
const ours = 'stack.layers.{i}';

/** SwiGLU with two thirds of the width, rounded up to a multiple of 8, or a plain feed-forward. */
function feedforwardOf(config: ConfigReader, dim: number): BlockConfig {
  const hidden = Math.floor(dim * config.num('mlp_ratio', 4));
  if (!config.flag('use_swiglu_ffn', false)) return vitMlp(config, hidden);
  return { name: 'glu', hidden: 8 * Math.floor((Math.floor((hidden * 2) / 3) + 7) / 8), packed: true };
}

const feedforwardNames: readonly NameEntry[] = [
  [`${layer}.mlp.fc1.{x}`, `${ours}.feedforward.up.{x}`],
  [`${layer}.mlp.fc2.{x}`, `${ours}.feedforward.down.{x}`],
  [`${layer}.mlp.weights_in.{x}`, `${ours}.feedforward.gate_up_proj.{x}`],
  [`${layer}.mlp.weights_out.{x}`, `${ours}.feedforward.down_proj.{x}`],
];

/** DINOv2: ViT with layer scale, whose positions are resized for images of any size. */
export const dinov2: Family = {
  modelTypes: ['dinov2'],
  tasks: ['base', 'image_classification'],
  prefix: 'dinov2.',
  unused: [/^classifier\./, /^dinov2\.embeddings\.mask_token$/],
  translate(config, at) {
    const dim = config.int('hidden_size');
    const grid = gridOf(config, 14);
    const backbone = {
      dim,
      seqLen: grid[0] * grid[1],
      embedding: patchEmbedding(config, 14),
      position: { name: 'learnable', classToken: true, grid },
      stack: vitStack(
        config,
        vitLayer(config, { feedforward: feedforwardOf(config, dim), layerScale: config.num('layerscale_value', 1) }),
      ),
    };
    const head =
      at.task === 'base'
        ? { name: 'pooled_encoder', pooling: 'first', projection: false }
        : { name: 'classifier', pooling: 'first_and_rest', classes: labelsOf(config) };
    return {
      config: { ...head, ...backbone },
      names: [
        ...vitEmbeddings('dinov2.', dim),
        ...vitAttention(layer),
        ...feedforwardNames,
        [`${layer}.norm1.{x}`, `${ours}.norm1.{x}`],
        [`${layer}.norm2.{x}`, `${ours}.norm2.{x}`],
        [`${layer}.layer_scale1.lambda1`, `${ours}.layer_scale.mixer.weight`],
        [`${layer}.layer_scale2.lambda1`, `${ours}.layer_scale.feedforward.weight`],
        ['dinov2.layernorm.{x}', 'stack.norm.{x}'],
        ['classifier.{x}', 'head.{x}'],
      ],
    };
  },
};
