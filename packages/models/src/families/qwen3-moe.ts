// Qwen3 with experts. Yang et al. 2025, https://arxiv.org/abs/2505.09388
import type { ConfigReader } from '../config';
import type { BlockConfig, Family } from '../family';
import { llamaFeedforward, rmsNormOf } from '../translate/llama';
import { llamaVariant } from '../translate/llama-variant';
import { expertsOf, mixtureNames, mixtureOf } from '../translate/mixture';
import { qwenAttention } from './llama';

/** Whether a layer has experts: every so many, except those that the config excludes. */
export const isSparse = (config: ConfigReader, layer: number): boolean =>
  !(config.list('mlp_only_layers') ?? []).includes(layer) && (layer + 1) % config.int('decoder_sparse_step', 1) === 0;

/** The experts of a layer. */
export const qwenMixture = (config: ConfigReader, options: Readonly<Record<string, unknown>> = {}): BlockConfig =>
  mixtureOf(config, { hidden: config.int('moe_intermediate_size'), experts: expertsOf(config) }, options);

/** Qwen3 with a mixture of experts in some or all layers. */
export const qwen3Moe: Family = llamaVariant('qwen3_moe', {
  mixer: (config, i) => ({ qkNorm: rmsNormOf(config), attention: qwenAttention(config, i) }),
  feedforward: (config, i) => (isSparse(config, i) ? qwenMixture(config) : llamaFeedforward(config)),
  names: mixtureNames,
});
