// Mixtures of experts with the names of Qwen and OLMo.
import type { ConfigReader } from '../config';
import type { BlockConfig } from '../family';
import type { NameEntry } from '../names';
import { activationOf } from './activation';

/** Experts with a softmax over all of them. */
export const mixtureOf = (
  config: ConfigReader,
  sizes: { readonly hidden: number; readonly experts: number },
  options: Readonly<Record<string, unknown>> = {},
): BlockConfig => ({
  name: 'sparse_moe',
  ...sizes,
  topK: config.int('num_experts_per_tok'),
  normalize: config.flag('norm_topk_prob', false),
  activation: activationOf(config, 'hidden_act', 'silu'),
  ...options,
});

/** Number of experts; its key has changed. */
export const expertsOf = (config: ConfigReader): number =>
  config.has('num_experts') ? config.int('num_experts') : config.int('num_local_experts');

/** Names of router and experts. */
export const mixtureNames: readonly NameEntry[] = [
  ['model.layers.{i}.mlp.gate.{x}', 'stack.layers.{i}.feedforward.router.{x}'],
  ['model.layers.{i}.mlp.experts.{n}.{p}_proj.{x}', 'stack.layers.{i}.feedforward.experts.{n}.{p}_proj.{x}'],
];
