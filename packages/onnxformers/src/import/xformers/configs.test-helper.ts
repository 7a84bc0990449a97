// Configs of the original, for tests.
import type { Kind, KindModule } from '@onnxformers/core';
import { zoo } from '../../index';
import { fromXFormers, type XFormersConfig, type XFormersOptions } from './index';

export const mlp = { name: 'MLP', activation: 'gelu', hidden_layer_multiplier: 2, dropout: 0 };
export const heads = (attention: object = { name: 'scaled_dot_product' }) => ({ num_heads: 2, attention });
export const encoder = (more: object = {}) => ({
  block_type: 'encoder',
  dim_model: 8,
  residual_norm_style: 'pre',
  multi_head_config: heads(),
  feedforward_config: mlp,
  ...more,
});
export const decoder = (more: object = {}) => ({
  block_type: 'decoder',
  dim_model: 8,
  residual_norm_style: 'pre',
  multi_head_config_masked: heads({ name: 'scaled_dot_product', causal: true }),
  multi_head_config_cross: heads(),
  feedforward_config: { ...mlp, activation: 'relu' },
  ...more,
});
export const model = (...stack_configs: object[]) => ({ stack_configs });
export const compat: XFormersOptions = { compat: 'xformers' };

/** The module of an original config. */
export function built(config: XFormersConfig, options?: XFormersOptions): KindModule<Kind> {
  const { kind, config: ours } = fromXFormers(config, options);
  return zoo.parse(kind, ours);
}
