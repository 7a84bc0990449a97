// Activations by the names of Hugging Face.
import { checkArguments, describe } from '@onnxformers/core';
import type { ConfigReader } from '../config';

const ours: Readonly<Record<string, string>> = {
  gelu: 'gelu',
  gelu_new: 'gelu_tanh',
  gelu_fast: 'gelu_tanh',
  gelu_pytorch_tanh: 'gelu_tanh',
  quick_gelu: 'quick_gelu',
  relu: 'relu',
  relu2: 'squared_relu',
  silu: 'silu',
  swish: 'silu',
  tanh: 'tanh',
  sigmoid: 'sigmoid',
  linear: 'identity',
};

/**
 * Our activation for the one that a config names.
 *
 * Throws   ConfigError for one that is not known
 */
export function activationOf(config: ConfigReader, key: string, otherwise?: string): string {
  checkArguments('activationOf', { reader: config });
  const name = config.text(key, otherwise);
  if (Object.hasOwn(ours, name)) return ours[name]!;
  throw config.refuse(key, `an activation that is not known: ${describe(name)}`, Object.keys(ours).join(', '));
}
