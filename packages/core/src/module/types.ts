// The types of modules and kinds. They refer to each other (a module to its kind, a kind to the call of its modules), so they are defined together.
import type { Dim } from '../dim/dim';
import type { Value } from '../ir/graph';
import type { Rule } from '../lower/rule';
import type { Parameter } from '../parameter/parameter';
import type { SequenceContext } from '../sequence/context';
import type { HiddenStates } from '../sequence/hidden-states';
import type { DType } from '../tensor/tensor';

/** What a module may contain. An interface, because a type alias would be circular. */
export interface Children {
  readonly [name: string]: Child;
}
/** One entry of a module's record. */
export type Child = Parameter | AnyModule | readonly Child[] | Children | undefined;

/** Any forward function. */
// biome-ignore lint/suspicious/noExplicitAny: a forward function may have any signature
export type Fn = (...args: any[]) => unknown;

/** Metadata of a module. */
export interface About {
  /** The kind of slot that it fills. Absent for a module that no block made. */
  readonly kind?: string;
  /** The block and config it came from. */
  readonly blockName?: string;
  readonly config?: Readonly<Record<string, unknown>>;
  /** Rules that lower the ops that its forward function emits, except those of blocks in it. */
  readonly rules?: readonly Rule[];
  /** Factor of the initial values in the module and below, for schemes that scale: it keeps a deep stack stable. */
  readonly gain?: number;
  /** Parameters below it that `reparametrize` replaced completely: they no longer have a name. */
  readonly dropped?: ReadonlySet<Parameter>;
  /** Modules that its forward function calls in place of those of the record, by their keys there: their scopes have these names. */
  readonly calls?: Readonly<Record<string, AnyModule>>;
  /** The definition of a user's own kind, from its block. */
  readonly kindDefinition?: AnyKindDefinition;
  /** Its inputs when compiled by itself, if they differ from those of its kind. */
  readonly inputs?: (module: AnyModule) => BlockInputs;
}

/** A forward function together with the record of what it uses. The keys of the record, joined by dots, are the names in the checkpoint. */
export type Module<F extends Fn = Fn> = F & {
  readonly children: Children;
  /** The function alone, without its scope. */
  readonly forward: F;
  readonly about: About;
  readonly kind?: string;
  readonly blockName?: string;
};
/** Any module, with any forward function. */
export interface AnyModule {
  readonly children: Children;
  readonly forward: Fn;
  readonly about: About;
  readonly kind?: string;
  readonly blockName?: string;
  // biome-ignore lint/suspicious/noExplicitAny: see Fn
  (...args: any[]): unknown;
}

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
  /** Numbers, symbolic sizes (`batch`, `seq`, `memory_seq`), and {@link unsetSizes} where the config does not set a size. */
  readonly dims: readonly Dim[];
  /** For integers: the exclusive upper bound of the elements; the lower is 0. */
  readonly below?: number;
}
/** The inputs of a block that is compiled by itself, by name. */
export type BlockInputs = Readonly<Record<string, BlockInput>>;

/** The sizes that a config may leave unset, by their names in {@link BlockInput.dims}. */
export const unsetSizes = ['dim', 'heads', 'kv_heads', 'head_dim', 'value_dim'] as const;
/** One of {@link unsetSizes}. */
export type UnsetSize = (typeof unsetSizes)[number];

/** Everything about a kind besides its contract. */
export interface KindDefinition<K extends Kind = Kind> {
  /** One sentence for the catalogue. */
  readonly summary: string;
  /**
   * How it uses a mask.
   *
   * - `pairs`      masks each pair of query and key, and accepts a bias on the scores
   * - `byBlock`    each block of the kind decides what it does with it
   * - `forwarded`  passes it on to the blocks in its slots
   * - `none`       does not receive it
   */
  readonly masks: 'pairs' | 'byBlock' | 'forwarded' | 'none';
  /** Whether it works on heads: `dim` in its config is then the number of channels of one head, and `seqLen` the number of keys. */
  readonly ofHeads?: true;
  /** Whether its result depends only on positions, not on the elements of its inputs. */
  readonly fromPositions?: true;
  /** Sizes that its config need not set when it is compiled by itself, since any number fits. */
  readonly anySize?: readonly UnsetSize[];
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
