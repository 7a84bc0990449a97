// Factories: blocks composed of other blocks.
import { causalLm } from './causal-lm';
import { classifier } from './classifier';
import { decoder } from './decoder';
import { distilledClassifier } from './distilled-classifier';
import { dualEncoder } from './dual-encoder';
import { encoder } from './encoder';
import { encoderDecoder } from './encoder-decoder';
import { hyperStack } from './hyper-stack';
import { inputMasked } from './input-masked';
import { maskedLm } from './masked-lm';
import { pooledEncoder } from './pooled-encoder';
import { questionAnswering } from './question-answering';
import { reversibleStack } from './reversible-stack';
import { stack } from './stack';
import { tokenClassifier } from './token-classifier';

export {
  causalLm,
  classifier,
  decoder,
  distilledClassifier,
  dualEncoder,
  encoder,
  encoderDecoder,
  hyperStack,
  inputMasked,
  maskedLm,
  pooledEncoder,
  questionAnswering,
  reversibleStack,
  stack,
  tokenClassifier,
};
export const blocks = [
  stack,
  reversibleStack,
  hyperStack,
  inputMasked,
  encoder,
  decoder,
  encoderDecoder,
  causalLm,
  maskedLm,
  classifier,
  tokenClassifier,
  questionAnswering,
  pooledEncoder,
  distilledClassifier,
  dualEncoder,
] as const;
export { type HierarchicalOptions, hierarchicalConfig, type Stage } from './hierarchical';
