// OLMoE. Muennighoff et al. 2024, https://arxiv.org/abs/2409.02060
import type { Family } from '../family';
import { rmsNormOf } from '../translate/llama';
import { llamaVariant } from '../translate/llama-variant';
import { expertsOf, mixtureNames, mixtureOf } from '../translate/mixture';

/** OLMoE: experts in all layers, norms of all channels of queries and keys. */
export const olmoe: Family = llamaVariant('olmoe', {
  mixer: (config) => ({
    qkNorm: rmsNormOf(config),
    qkNormOver: 'all',
    ...(config.has('clip_qkv') && { clipQkv: config.num('clip_qkv') }),
  }),
  feedforward: (config) => mixtureOf(config, { hidden: config.int('intermediate_size'), experts: expertsOf(config) }),
  names: mixtureNames,
});
