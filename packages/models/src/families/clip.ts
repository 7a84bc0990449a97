// CLIP. Radford et al. 2021, https://arxiv.org/abs/2103.00020
import type { ConfigReader } from '../config';
import type { Family } from '../family';
import { textTower, towerNames, visionTower } from '../translate/towers';

const defaults = { activation: 'quick_gelu', eps: 1e-5, textLength: 77 };

/** Configs of before the right id was stored have this one; their models pool at the largest id. */
const unsetEos = 2;

/** The position that texts are pooled at: that of the first end token. */
function poolingOf(text: ConfigReader): { readonly pooling: string; readonly poolId?: number } {
  const eos = text.int('eos_token_id', 49407);
  return { pooling: 'id', ...(eos !== unsetEos && { poolId: eos }) };
}

/** CLIP: a causal encoder of texts and a ViT, whose projections are compared. */
export const clip: Family = {
  modelTypes: ['clip'],
  tasks: ['base'],
  prefix: '',
  translate(config) {
    const [text, vision] = [config.needed('text_config'), config.needed('vision_config')];
    const images = visionTower(vision, { ...defaults, classToken: true });
    const projected = { poolerDim: config.int('projection_dim', 512), poolerBias: false, activation: 'identity' };
    return {
      config: {
        name: 'dual_encoder',
        text: { name: 'pooled_encoder', ...textTower(text, defaults), causal: true, ...poolingOf(text), ...projected },
        vision: { name: 'pooled_encoder', ...images, pooling: 'first', ...projected },
      },
      names: [
        ...towerNames(images, []),
        ['vision_model.embeddings.class_embedding', 'vision.position.class_token'],
        ['vision_model.pre_layrnorm.{x}', 'vision.embeddingNorm.{x}'],
        ['vision_model.post_layernorm.{x}', 'vision.pool.norm.{x}'],
        ['text_projection.{x}', 'text.pooler.{x}'],
        ['visual_projection.{x}', 'vision.pooler.{x}'],
      ],
    };
  },
};
