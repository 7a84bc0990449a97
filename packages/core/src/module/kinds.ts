// The kinds of blocks: for each its contract, its inputs, and how a block is called when it is compiled by itself.

import type { Dim } from '../dim/dim';
import { ConfigError, describe } from '../error';
import { aModule, given } from '../given';
import { Value } from '../ir/graph';
import { expand } from '../ops/movement';
import type { SequenceContext } from '../sequence/context';
import type { HiddenStates } from '../sequence/hidden-states';
import { type AnyModule, modulesOf } from './module';
import type { AnyKindDefinition, BlockInput, BlockInputs, Kind, KindDefinition } from './types';

export {
  type AnyKindDefinition,
  type BlockInput,
  type BlockInputs,
  type Contracts,
  type Kind,
  type KindDefinition,
  type UnsetSize,
  unsetSizes,
} from './types';

const rowsIn = (given: Value | HiddenStates): Value => (given instanceof Value ? given : given.hiddenStates);

const numberIn = (m: AnyModule, field: string): number | undefined => {
  const value = m.about.config?.[field];
  return typeof value === 'number' ? value : undefined;
};
const float = (...dims: readonly Dim[]): BlockInput => ({ dtype: 'float32', dims });
const rowsOf = (m: AnyModule): BlockInputs => ({ x: float('batch', 'seq', numberIn(m, 'dim') ?? 'dim') });

// The memory that an inner block attends to, unless an enclosing block makes it.
function memoryOf(m: AnyModule): BlockInputs {
  const modules = modulesOf(m);
  const makers = modules.filter(({ item: { about }, item }) => item !== m && about.inputs && !about.inputs(item).memory);
  const isGiven = (path: string): boolean => makers.some((maker) => path.startsWith(`${maker.path}.`));
  const crossing = modules.find(({ path, item }) => item.about.config?.cross === true && !isGiven(path))?.item;
  if (!crossing) return {};
  const width = numberIn(crossing, 'memoryDim') ?? numberIn(m, 'dim') ?? numberIn(crossing, 'dim') ?? 'dim';
  return { memory: float('batch', 'memory_seq', width) };
}

const overRows = {
  outputs: ['y'],
  call: (f: (x: Value, ctx: SequenceContext) => Value, input, ctx) => [f(input('x'), ctx)],
} satisfies KindDefinition<'mixer'>['alone'];

/** The kinds that come with the library. */
export const kinds: { readonly [K in Kind]: KindDefinition<K> } = {
  attention: {
    summary: 'Attention mechanisms: queries, keys and values of heads → results of heads.',
    masks: 'pairs',
    ofHeads: true,
    inputs: (m) => {
      const heads = numberIn(m, 'heads') ?? 'heads';
      const kvHeads = numberIn(m, 'kvHeads') ?? heads;
      return {
        q: float('batch', heads, 'seq', 'head_dim'),
        k: float('batch', kvHeads, 'seq', 'head_dim'),
        v: float('batch', kvHeads, 'seq', 'value_dim'),
      };
    },
    alone: { outputs: ['y'], call: (f, input, ctx) => [f(input('q'), input('k'), input('v'), ctx)] },
  },
  mixer: {
    summary: 'Token mixers: multi-head attention with its projections, or a mechanism without attention.',
    masks: 'byBlock',
    inputs: (m) => ({ ...rowsOf(m), ...memoryOf(m) }),
    alone: overRows,
  },
  feedforward: { summary: 'Feed-forwards, which mix channels.', masks: 'none', inputs: rowsOf, alone: overRows },
  activation: {
    summary: 'Elementwise functions.',
    masks: 'none',
    anySize: ['dim'],
    inputs: rowsOf,
    alone: { outputs: ['y'], call: (f, input) => [f(input('x'))] },
  },
  embedding: {
    summary: 'Embeddings of ids or pixels.',
    masks: 'none',
    inputs: (m) => {
      const below = numberIn(m, 'vocabSize');
      return { ids: { dtype: 'int64', dims: ['batch', 'seq'], ...(below !== undefined && { below }) } };
    },
    alone: { outputs: ['y'], call: (f, input, ctx) => [rowsIn(f(input('ids', 'pixels', 'features'), ctx))] },
  },
  position: {
    summary: 'Positional encodings, added to the embeddings.',
    masks: 'none',
    inputs: rowsOf,
    alone: { outputs: ['y'], call: (f, input, ctx) => [rowsIn(f(input('x'), ctx))] },
  },
  rotaryEmbedding: {
    summary: 'Rotary embeddings: rotate queries and keys by their positions.',
    masks: 'none',
    ofHeads: true,
    anySize: ['heads', 'kv_heads'],
    inputs: (m) => {
      const dim = numberIn(m, 'dim') ?? 'head_dim';
      return { q: float('batch', 'heads', 'seq', dim), k: float('batch', 'kv_heads', 'seq', dim) };
    },
    alone: { outputs: ['q_rotated', 'k_rotated'], call: (f, input, ctx) => f(input('q'), input('k'), ctx) },
  },
  attentionBias: {
    summary: 'Attention biases, added to the scores.',
    masks: 'none',
    ofHeads: true,
    fromPositions: true,
    anySize: ['kv_heads', 'head_dim'],
    inputs: (m) => ({
      q: float('batch', numberIn(m, 'heads') ?? 'heads', 'seq', 'head_dim'),
      k: float('batch', 'kv_heads', 'seq', 'head_dim'),
    }),
    alone: {
      outputs: ['y'],
      // A bias that is the same for all sequences is repeated for each of them.
      call: (f, input, ctx) => {
        const bias = f(input('q'), input('k'), ctx);
        return [expand(bias, [input('q').dims[0]!, ...bias.dims.slice(1)])];
      },
    },
  },
  norm: {
    summary: 'Normalisations.',
    masks: 'none',
    anySize: ['dim'],
    inputs: rowsOf,
    alone: { outputs: ['y'], call: (f, input) => [f(input('x'))] },
  },
  layer: {
    summary: 'Residual layers: sub-layers, norms and residual connections.',
    masks: 'forwarded',
    inputs: (m) => ({ ...rowsOf(m), ...memoryOf(m) }),
    alone: overRows,
  },
  stack: {
    summary: 'Sequences of layers.',
    masks: 'forwarded',
    inputs: (m) => ({ ...rowsOf(m), ...memoryOf(m) }),
    alone: overRows,
  },
  model: {
    summary: 'Whole models: named inputs → named outputs.',
    masks: 'forwarded',
    inputs: (m) => {
      const embedding = m.children.embedding as AnyModule | undefined;
      const width = numberIn(m, 'embeddingDim') ?? numberIn(m, 'dim') ?? 'dim';
      return { ...(embedding ? blockInputs(embedding) : { x: float('batch', 'seq', width) }), ...memoryOf(m) };
    },
  },
};

/** The definition of a module's kind: the library's, or that of its block; undefined for a module that no block made, and for a kind without a definition. */
export function kindOf(module: AnyModule): AnyKindDefinition | undefined {
  given('kindOf', { module }, { module: aModule });
  const { about } = module;
  if (about.kindDefinition || about.kind === undefined) return about.kindDefinition;
  return Object.hasOwn(kinds, about.kind) ? kinds[about.kind as Kind] : undefined;
}

/**
 * The inputs of a block compiled by itself: those of its definition, otherwise of its kind. Sizes that its config does not set are named as in `unsetSizes`.
 *
 * Throws   ConfigError for a module that no block made, and for a kind without a definition
 *
 * Example  const { x } = blockInputs(zoo.build('mixer', { name: 'multi_head', dim: 64, heads: 4 })); // float32 ['batch', 'seq', 64]
 */
export function blockInputs(m: AnyModule): BlockInputs {
  given('blockInputs', { module: m }, { module: aModule });
  const inputs = m.about.inputs ?? kindOf(m)?.inputs;
  if (inputs) return inputs(m);
  throw new ConfigError({
    path: 'inputs',
    problem:
      m.kind === undefined
        ? 'the inputs of a module that no block made are not known'
        : `the inputs of a ${m.kind} are not known`,
    expected: 'a block of a kind of the library, or one whose definition has inputs or a kindDefinition',
    got: describe(m),
  });
}
