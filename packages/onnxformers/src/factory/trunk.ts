// What all models of one sequence share: an embedding, positions, a stack.
import { ConfigError, type KindModule, type SequenceContext, slot, type Value } from '@onnxformers/core';

/** The slots of a trunk; spread them into the fields of a model. */
export const trunkFields = {
  embedding: slot('embedding', { doc: 'from ids or pixels to channels; absent: the input is x [batch, seq, dim]', optional: true }),
  position: slot('position', { doc: 'added to the embedded input', optional: true }),
  embeddingNorm: slot('norm', { doc: 'behind embedding and positions', optional: true }),
  stack: slot('stack', { doc: 'the layers' }),
} as const;

/** The modules in those slots. */
export interface Trunk {
  readonly embedding: KindModule<'embedding'> | undefined;
  readonly position: KindModule<'position'> | undefined;
  readonly embeddingNorm: KindModule<'norm'> | undefined;
  readonly stack: KindModule<'stack'>;
}

/** Embeds, adds positions, normalises, runs the stack. */
export function runTrunk({ embedding, position, embeddingNorm, stack }: Trunk, input: Value, ctx: SequenceContext): Value {
  let x = embedding ? embedding(input, ctx) : input;
  if (position) x = position(x, ctx);
  if (embeddingNorm) x = embeddingNorm(x);
  return stack(x, ctx);
}

/** The input a trunk reads: `ids` (or `pixels`) with an embedding, `x` without. */
export function trunkInput(trunk: Pick<Trunk, 'embedding'>, inputs: Readonly<Record<string, Value>>, prefix = ''): Value {
  const names = trunk.embedding ? [`${prefix}ids`, `${prefix}pixels`] : [`${prefix}x`];
  for (const name of names) if (inputs[name]) return inputs[name];
  throw new ConfigError({ path: 'inputs', problem: 'the model has nothing to read', expected: names.join(' or '), got: Object.keys(inputs).join(', ') });
}
