// What all models of one sequence share: an embedding, positions, a stack.
import {
  type AnyModule,
  ConfigError,
  int,
  type KindModule,
  linear,
  type SequenceContext,
  slot,
  type Value,
} from '@onnxformers/core';

const embedded = (c: { embeddingDim: number }) => ({ dim: c.embeddingDim });

/** The slots of a trunk; spread them into the fields of a model, behind `dim`. */
export const trunkFields = {
  embeddingDim: int({
    doc: 'channels of embedding and positions; where it is not dim, a linear map follows',
    unit: 'channels',
    min: 1,
    default: (c: { dim: number }) => c.dim,
  }),
  embedding: slot('embedding', {
    doc: 'from ids or pixels to channels; absent: the input is x [batch, seq, embeddingDim]',
    optional: true,
    inside: embedded,
  }),
  position: slot('position', { doc: 'added to the embedded input', optional: true, inside: embedded }),
  embeddingNorm: slot('norm', { doc: 'behind embedding and positions', optional: true, inside: embedded }),
  stack: slot('stack', { doc: 'the layers' }),
} as const;

interface TrunkSlots {
  readonly embedding: KindModule<'embedding'> | undefined;
  readonly position: KindModule<'position'> | undefined;
  readonly embeddingNorm: KindModule<'norm'> | undefined;
  readonly stack: KindModule<'stack'>;
}

/** The modules of a trunk, by their checkpoint names. */
export interface Trunk extends TrunkSlots {
  readonly [name: string]: AnyModule | undefined;
  readonly embedding_projection: (((x: Value) => Value) & AnyModule) | undefined;
}

/** The modules in the slots, and the map between them where the widths differ: the children of a model. */
export function trunkOf({
  dim,
  embeddingDim,
  embedding,
  position,
  embeddingNorm,
  stack,
}: TrunkSlots & { readonly dim: number; readonly embeddingDim: number }): Trunk {
  const embedding_projection = embeddingDim === dim ? undefined : linear(embeddingDim, dim, { role: 'projection' });
  return { embedding, position, embeddingNorm, embedding_projection, stack };
}

/** Embeds, adds positions, normalises, runs the stack. */
export function runTrunk(
  { embedding, position, embeddingNorm, embedding_projection: projection, stack }: Trunk,
  input: Value,
  ctx: SequenceContext,
): Value {
  let x = embedding ? embedding(input, ctx) : input;
  if (position) x = position(x, ctx);
  if (embeddingNorm) x = embeddingNorm(x);
  return stack(projection ? projection(x) : x, ctx);
}

/** The input a trunk reads: `ids` (or `pixels`) with an embedding, `x` without. */
export function trunkInput(trunk: Pick<Trunk, 'embedding'>, inputs: Readonly<Record<string, Value>>, prefix = ''): Value {
  const names = trunk.embedding ? [`${prefix}ids`, `${prefix}pixels`] : [`${prefix}x`];
  for (const name of names) if (inputs[name]) return inputs[name];
  throw new ConfigError({
    path: 'inputs',
    problem: 'the model has nothing to read',
    expected: names.join(' or '),
    got: Object.keys(inputs).join(', '),
  });
}
