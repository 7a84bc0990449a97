// Mixtral. Jiang et al. 2024, https://arxiv.org/abs/2401.04088
import type { Family } from '../family';
import { activationOf } from '../translate/activation';
import { windowed, windowOf } from '../translate/llama';
import { llamaVariant } from '../translate/llama-variant';

const theirs = 'model.layers.{i}.block_sparse_moe';
const ours = 'stack.layers.{i}.feedforward';

/** Mixtral: Mistral with a mixture of experts in each layer. */
export const mixtral: Family = llamaVariant('mixtral', {
  mixer: (config) => ({ attention: windowed(windowOf(config)) }),
  feedforward: (config) => ({
    name: 'sparse_moe',
    hidden: config.int('intermediate_size'),
    experts: config.int('num_local_experts'),
    topK: config.int('num_experts_per_tok', 2),
    activation: activationOf(config, 'hidden_act', 'silu'),
  }),
  names: [
    [`${theirs}.gate.{x}`, `${ours}.router.{x}`],
    [`${theirs}.experts.{n}.w1.{x}`, `${ours}.experts.{n}.gate_proj.{x}`],
    [`${theirs}.experts.{n}.w3.{x}`, `${ours}.experts.{n}.up_proj.{x}`],
    [`${theirs}.experts.{n}.w2.{x}`, `${ours}.experts.{n}.down_proj.{x}`],
  ],
});
