// Layers whose attention biases have the weights of another layer.
import { ConfigError, type KindModule, modulesOf, namesOf, type Parameter, reparametrize } from '@onnxformers/core';

/**
 * A layer whose attention biases are computed from the weights of another layer, in the same order.
 *
 * Throws   ConfigError if there are none, or if they differ in dims
 */
export function withBiasesOf(other: KindModule<'layer'>, own: KindModule<'layer'>, path: string): KindModule<'layer'> {
  const [theirs, ours] = [biasesOf(other), biasesOf(own)];
  if (!ours.length || shown(theirs) !== shown(ours))
    throw new ConfigError({
      path: `${path}.sharedBias`,
      problem: 'layers cannot share the weights of their attention biases',
      expected: `an attention bias with weights ${shown(theirs)}, as in the first layer`,
      got: shown(ours),
    });
  const shared = new Map(ours.map((p, i) => [p, theirs[i]!]));
  return reparametrize(own, (_, p) => {
    const instead = shared.get(p);
    return instead && { parameters: {}, replaces: true, value: (_, g) => g.param(instead) };
  });
}

const biasesOf = (layer: KindModule<'layer'>): readonly Parameter[] =>
  modulesOf(layer).flatMap(({ item }) => (item.kind === 'attentionBias' ? [...namesOf(item).parameters.values()] : []));

const shown = (parameters: readonly Parameter[]): string =>
  parameters.map(({ dims }) => `[${dims.join(', ')}]`).join(', ') || 'none';
