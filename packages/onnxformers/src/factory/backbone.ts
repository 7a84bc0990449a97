// The backbone of all models of one sequence: an embedding, positions, a stack.
import {
  type AnyModule,
  ConfigError,
  contextOfHiddenStates,
  type HiddenStates,
  hiddenStatesOf,
  int,
  type KindModule,
  keepContext,
  linear,
  module,
  num,
  type SequenceContext,
  slot,
  type Value,
} from '@onnxformers/core';

/** For models and stacks: the length that blocks of fixed length inherit. */
export const longestSequence = int({
  doc: 'longest sequence; inherited by embeddings, positions and mechanisms of fixed length inside',
  unit: 'positions',
  min: 1,
  inherit: true,
  optional: true,
});

const embedded = (c: { embeddingDim: number }) => ({ dim: c.embeddingDim });

/** The slots of a backbone; spread them into the fields of a model, after `dim`. */
export const backboneFields = {
  /** longest sequence; inherited by embeddings, positions and mechanisms of fixed length inside. Inherited from the enclosing block. */
  seqLen: longestSequence,
  /** channels of embedding and positions; if it differs from dim, a linear map follows. Default: computed from other options. */
  embeddingDim: int({
    doc: 'channels of embedding and positions; if it differs from dim, a linear map follows',
    unit: 'channels',
    min: 1,
    default: (c: { dim: number }) => c.dim,
  }),
  /** embedding of ids, pixels or features; absent: the input is x [batch, seq, embeddingDim]. Optional. */
  embedding: slot('embedding', {
    doc: 'embedding of ids, pixels or features; absent: the input is x [batch, seq, embeddingDim]',
    optional: true,
    inside: embedded,
  }),
  /** positional encoding, added to the embeddings. Optional. */
  position: slot('position', { doc: 'positional encoding, added to the embeddings', optional: true, inside: embedded }),
  /** norm after embedding and positions. Optional. */
  embeddingNorm: slot('norm', { doc: 'norm after embedding and positions', optional: true, inside: embedded }),
  /** factor by which a scheme scales the initial values of embedding, positions and projection. Default: `1`. */
  embeddingGain: num({
    doc: 'factor by which a scheme scales the initial values of embedding, positions and projection',
    above: 0,
    default: 1,
  }),
  /** the layers. */
  stack: slot('stack', { doc: 'the layers' }),
} as const;

interface BackboneSlots {
  readonly embedding: KindModule<'embedding'> | undefined;
  readonly position: KindModule<'position'> | undefined;
  readonly embeddingNorm: KindModule<'norm'> | undefined;
  readonly stack: KindModule<'stack'>;
}

/** The modules of a backbone, by their checkpoint names. */
export interface Backbone extends BackboneSlots {
  readonly [name: string]: AnyModule | undefined;
  readonly embedding_projection: (((x: Value) => Value) & AnyModule) | undefined;
}

/** The modules in the slots, and the linear map between them if the widths differ: the children of a model. */
export function backboneOf({
  dim,
  embeddingDim,
  embedding,
  position,
  embeddingNorm,
  embeddingGain,
  stack,
}: BackboneSlots & { readonly dim: number; readonly embeddingDim: number; readonly embeddingGain: number }): Backbone {
  const embedding_projection = embeddingDim === dim ? undefined : linear(embeddingDim, dim, { role: 'projection' });
  return {
    embedding: gained(embedding, embeddingGain),
    position: gained(position, embeddingGain),
    embeddingNorm,
    embedding_projection: gained(embedding_projection, embeddingGain),
    stack,
  };
}

/** The same module, whose initial values a scheme scales. */
function gained<M extends AnyModule>(m: M | undefined, gain: number): M | undefined {
  if (!m || gain === 1) return m;
  return module(m.children, m.forward, { ...m.about, gain: (m.about.gain ?? 1) * gain }) as unknown as M;
}

/** Embeds, adds positions, normalises, runs the stack. */
export const runBackbone = (backbone: Backbone, input: Value, ctx: SequenceContext): Value =>
  keepContext(backboneRows(backbone, input, ctx));

/** The hidden states of {@link runBackbone} and their context, whose positions may differ from those of the input. */
export function backboneRows(
  { embedding, position, embeddingNorm, embedding_projection: projection, stack }: Backbone,
  input: Value,
  given: SequenceContext,
): HiddenStates {
  const embedded = embedding ? hiddenStatesOf(embedding(input, given), input, given) : { hiddenStates: input, ctx: given };
  const { hiddenStates: rows, ctx } = position
    ? hiddenStatesOf(position(embedded.hiddenStates, embedded.ctx), embedded.hiddenStates, embedded.ctx)
    : embedded;
  const normed = embeddingNorm ? embeddingNorm(rows) : rows;
  const x = projection ? projection(normed) : normed;
  const y = stack(x, ctx);
  // Layers between the stages of a hierarchical model change the positions.
  return { hiddenStates: y, ctx: (y === x ? undefined : contextOfHiddenStates(y)) ?? ctx };
}

/** The channels after the stack of a backbone. */
export function widthAfter({ stack }: Pick<Backbone, 'stack'>, dim: number): number {
  const told = stack.about.config?.outDim;
  return typeof told === 'number' ? told : dim;
}

/** The input a backbone reads: `ids`, `pixels` or `features` with an embedding, `x` without. */
export function backboneInput(
  backbone: Pick<Backbone, 'embedding'>,
  inputs: Readonly<Record<string, Value>>,
  prefix = '',
): Value {
  const names = backbone.embedding ? ['ids', 'pixels', 'features'].map((name) => prefix + name) : [`${prefix}x`];
  for (const name of names) if (inputs[name]) return inputs[name];
  throw new ConfigError({
    path: 'inputs',
    problem: 'the model has no input sequence',
    expected: names.join(' or '),
    got: Object.keys(inputs).join(', '),
  });
}
