// Factories: blocks composed of other blocks.
import { causalLm } from './causal-lm';
import { classifier } from './classifier';
import { decoder } from './decoder';
import { encoder } from './encoder';
import { encoderDecoder } from './encoder-decoder';
import { inputMasked } from './input-masked';
import { maskedLm } from './masked-lm';
import { reversibleStack } from './reversible-stack';
import { stack } from './stack';

export { causalLm, classifier, decoder, encoder, encoderDecoder, inputMasked, maskedLm, reversibleStack, stack };
export const blocks = [
  stack,
  reversibleStack,
  inputMasked,
  encoder,
  decoder,
  encoderDecoder,
  causalLm,
  maskedLm,
  classifier,
] as const;
export { type HierarchicalOptions, hierarchicalConfig, type Stage } from './hierarchical';
