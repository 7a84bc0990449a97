// The kinds of blocks: for each its contract, its inputs, and how a block is called when it is compiled by itself.
import type { Dim } from '../dim/dim';
import { ConfigError, describe } from '../error';
import { Value } from '../ir/graph';
import { expand } from '../ops/movement';
import type { SequenceContext } from '../sequence/context';
import type { HiddenStates } from '../sequence/hidden-states';
import type { DType } from '../tensor/tensor';
import { type AnyModule, modulesOf } from './module';

/**
 * A kind is the contract of a slot; every block has exactly one. Add a kind by merging into this interface, and give its blocks a
 * {@link KindDefinition} as `kindDefinition`.
 */
export interface Contracts {
  /** q [batch, heads, seq, head_dim]; k, v [batch, kv_heads, kv_seq, head_dim] → [batch, heads, seq, v_head_dim] */
  attention(q: Value, k: Value, v: Value, ctx: SequenceContext): Value;
  /** [..., seq, dim] → [..., seq, out_dim] */
  mixer(x: Value, ctx: SequenceContext): Value;
  /** [..., dim] → [..., out_dim] */
  feedforward(x: Value, ctx: SequenceContext): Value;
  /** Elementwise, any shape. */
  activation(x: Value): Value;
  /**
   * ids [batch, seq] or pixels → [batch, seq, dim]: one vector for each input position, or for other positions with their context (see `withPositions`).
   * `ctx.inputs` contains the model's other inputs.
   */
  embedding(input: Value, ctx: SequenceContext): Value | HiddenStates;
  /** [..., seq, dim] → the same with positions added, or with prefix tokens and their context (see `withPrefix`) */
  position(x: Value, ctx: SequenceContext): Value | HiddenStates;
  /** q and k rotated by their positions. */
  rotaryEmbedding(q: Value, k: Value, ctx: SequenceContext): readonly [Value, Value];
  /** An additive bias [1 or batch, heads, query, key]. */
  attentionBias(q: Value, k: Value, ctx: SequenceContext): Value;
  /** [..., dim] → [..., dim] */
  norm(x: Value): Value;
  /** [..., seq, dim] → [..., seq, dim]: one residual layer. */
  layer(x: Value, ctx: SequenceContext): Value;
  /** [..., seq, dim] → [..., seq, dim]: a sequence of layers. */
  stack(x: Value, ctx: SequenceContext): Value;
  /** Named inputs → named outputs. */
  model(inputs: Readonly<Record<string, Value>>, ctx: SequenceContext): Record<string, Value>;
}
/** The name of a kind. */
export type Kind = keyof Contracts & string;

/** One input of a block that is compiled by itself. */
export interface BlockInput {
  readonly dtype: DType;
  /** Numbers, symbolic sizes (`batch`, `seq`, `memory_seq`), and {@link openSizes} where the config does not determine a size. */
  readonly dims: readonly Dim[];
  /** For integers: the exclusive upper bound of the elements; the lower is 0. */
  readonly below?: number;
}
/** The inputs of a block that is compiled by itself, by name. */
export type BlockInputs = Readonly<Record<string, BlockInput>>;

/** The sizes that a config may leave undetermined, by their names in {@link BlockInput.dims}. */
export const openSizes = ['dim', 'heads', 'kv_heads', 'head_dim', 'value_dim'] as const;
/** One of {@link openSizes}. */
export type OpenSize = (typeof openSizes)[number];

/** Everything about a kind besides its contract. */
export interface KindDefinition<K extends Kind = Kind> {
  /** One sentence for the catalogue. */
  readonly summary: string;
  /**
   * How it uses a mask.
   *
   * - `pairs`      masks each pair of query and key, and accepts a bias on the scores
   * - `rows`       uses it in its own way
   * - `forwarded`  passes it on to the blocks in its slots
   * - `none`       does not receive it
   */
  readonly masks: 'pairs' | 'rows' | 'forwarded' | 'none';
  /** Whether it works on heads: `dim` in its config is then the number of channels of one head, and `seqLen` the number of keys. */
  readonly ofHeads?: true;
  /** Whether its result depends only on positions, not on the elements of its inputs. */
  readonly fromPositions?: true;
  /** Sizes that may be undetermined when it is compiled by itself, since any number fits. */
  readonly anySize?: readonly OpenSize[];
  /** The inputs of its blocks when compiled by themselves. A block with other inputs declares them in its definition. */
  inputs(module: AnyModule): BlockInputs;
  /** How it is called by itself. Absent for a kind with named inputs and named outputs. */
  readonly alone?: {
    /** The output names of `call`. */
    readonly outputs: readonly string[];
    /** `input` returns the first of the named inputs that exists, or throws. */
    call(forward: Contracts[K], input: (...names: readonly string[]) => Value, ctx: SequenceContext): readonly Value[];
  };
}
/** The definition of any kind. */
// biome-ignore lint/suspicious/noExplicitAny: one list contains the definitions of all kinds
export type AnyKindDefinition = KindDefinition<any>;

declare module './module' {
  interface About {
    /** The definition of a user's own kind, from its block. */
    readonly kindDefinition?: AnyKindDefinition;
    /** Its inputs when compiled by itself, if they differ from those of its kind. */
    readonly inputs?: (module: AnyModule) => BlockInputs;
  }
}

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
    masks: 'rows',
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
export function kindOf({ about }: AnyModule): AnyKindDefinition | undefined {
  if (about.kindDefinition || about.kind === undefined) return about.kindDefinition;
  return Object.hasOwn(kinds, about.kind) ? kinds[about.kind as Kind] : undefined;
}

/**
 * The inputs of a block compiled by itself: those of its definition, otherwise of its kind. Sizes that its config does not determine are named as in `openSizes`.
 *
 * Throws   ConfigError for a module that no block made, and for a kind without a definition
 *
 * Example  const { x } = blockInputs(zoo.build('mixer', { name: 'multi_head', dim: 64, heads: 4 })); // float32 ['batch', 'seq', 64]
 */
export function blockInputs(m: AnyModule): BlockInputs {
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
