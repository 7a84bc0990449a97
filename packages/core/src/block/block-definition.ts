// A block: the definition that fills a slot of a kind, and the configs that it accepts.
import type { Fields } from '../config/fields';
import type { Rule } from '../lower/rule';
import type { MaskKind } from '../mask/classes';
import type { BlockInputs, Contracts, Kind, KindDefinition } from '../module/kinds';
import type { AnyModule, Module } from '../module/module';

/**
 * A module that fills a slot of kind K. `name` (a function has one) is hidden; otherwise editors would accept any string as the name of a block
 * in slots that accept both.
 */
export type KindModule<K extends Kind, O extends string = string> = Module<Contracts[K]> & {
  readonly kind: K;
  readonly name: undefined;
  /** For the type checker only: the names of a model's outputs, where its block declares them. */
  readonly outputNames?: O;
};

type ValueOf<F> = F extends { readonly phantom?: { readonly value: infer T } } ? T : never;
type PresenceOf<F> = F extends { readonly phantom?: { readonly presence: infer P } } ? P : never;
type SlotKind<F> = F extends { readonly kind?: infer K } ? (K extends Kind ? K : never) : never;
type IsSlot<F> = [SlotKind<F>] extends [never] ? false : true;
type IsEach<F> = ValueOf<F> extends readonly unknown[] ? true : false;
type Simplify<T> = { [K in keyof T]: T[K] } & {};

type ResolvedField<F> =
  IsSlot<F> extends true
    ? IsEach<F> extends true
      ? (layer: number) => KindModule<SlotKind<F>>
      : KindModule<SlotKind<F>>
    : ValueOf<F>;
/** The options that `create` receives: every field present, slots filled. */
export type Resolved<F extends Fields> = {
  readonly [N in keyof F]: PresenceOf<F[N]> extends 'optional' ? ResolvedField<F[N]> | undefined : ResolvedField<F[N]>;
};

/** The values of a config, without its slots. */
export type ConfigValues<F extends Fields> = {
  readonly [N in keyof F as IsSlot<F[N]> extends true ? never : N]: PresenceOf<F[N]> extends 'optional'
    ? ValueOf<F[N]> | undefined
    : ValueOf<F[N]>;
};

/** What a caller passes for a field: a value, or for a slot a module. */
type OptionOf<F> =
  IsSlot<F> extends true
    ? IsEach<F> extends true
      ? ((layer: number) => KindModule<SlotKind<F>>) | readonly KindModule<SlotKind<F>>[]
      : KindModule<SlotKind<F>>
    : ValueOf<F>;
type IsRequired<F> = PresenceOf<F> extends 'required' | 'inherit' ? true : false;
/**
 * The argument of a block that is called as a function: values, and modules in the slots. Values that a config inherits are required here. Mapped over the fields
 * themselves, so that editors show the documentation of each.
 */
export type BlockOptions<F extends Fields> = Simplify<
  { readonly [N in keyof F as IsRequired<F[N]> extends true ? N : never]: OptionOf<F[N]> } & {
    readonly [N in keyof F as IsRequired<F[N]> extends true ? never : N]?: OptionOf<F[N]> | undefined;
  }
>;

/** A config in a registry: names and options of blocks, recursive through the slots. */
type RegistryField<F, All> =
  IsSlot<F> extends true
    ? IsEach<F> extends true
      ? SlotConfig<All, SlotKind<F>> | readonly SlotConfig<All, SlotKind<F>>[] | ((layer: number) => KindModule<SlotKind<F>>)
      : SlotConfig<All, SlotKind<F>>
    : ValueOf<F>;
type InRegistry<F> = PresenceOf<F> extends 'required' ? true : false;
type RegistryConfig<F extends Fields, All> = {
  readonly [N in keyof F as InRegistry<F[N]> extends true ? N : never]: RegistryField<F[N], All>;
} & {
  readonly [N in keyof F as InRegistry<F[N]> extends true ? never : N]?: RegistryField<F[N], All> | undefined;
};
/** A config, only a name to use the defaults, or a finished module. */
type SlotConfig<All, K extends Kind> = ConfigIn<All, K> | NameIn<All, K> | KindModule<K>;
// `All` keeps the whole list, because the other parameter distributes over its members.
type ConfigOfBlock<All, B, K> = B extends {
  readonly kind: K;
  readonly blockName: infer N;
  readonly fields: infer F extends Fields;
}
  ? { readonly name: N } & RegistryConfig<F, All>
  : never;
type NameOfBlock<B, K> = B extends { readonly kind: K; readonly blockName: infer N } ? N : never;
/** The configs that the blocks of a list accept for a kind. */
export type ConfigIn<All, K> = ConfigOfBlock<All, All, K>;
/** The names of a list's blocks of a kind. */
export type NameIn<All, K> = NameOfBlock<All, K>;
/** The config of the list's block of one name. */
export type ConfigNamed<All, K, N> = ConfigOfBlock<All, Extract<All, { readonly blockName: N }>, K>;
type OutputsOfBlock<B, K> = B extends {
  readonly kind: K;
  readonly definition: { readonly outputs?: readonly (infer O extends string)[] };
}
  ? O
  : never;
/** The names of the outputs of the list's model of one name; any name where its block declares none. */
export type OutputsNamed<All, K, N> = OutputsOfBlock<Extract<All, { readonly blockName: N }>, K>;

/** The masks that a block supports: some classes, or all, because it passes them on to `attend`. */
export type MaskKinds = 'all' | readonly MaskKind[];

/**
 * Facts that the conformance suite then checks.
 *
 * - `batchIndependent`        a sequence's result does not depend on the others of its batch
 * - `permutationEquivariant`  permuted input positions give equally permuted output positions
 * - `causal`                  a position does not depend on later ones
 * - `fixedLength`             sequences longer than the option `seqLen` are refused
 * - `deterministic`           inference draws no random numbers
 * - `linear`                  memory and operations grow linearly with the number of positions, on every target
 */
export type Property = 'batchIndependent' | 'permutationEquivariant' | 'causal' | 'fixedLength' | 'deterministic' | 'linear';

/** Everything about one block, in one object. */
export interface BlockDefinition<K extends Kind, N extends string, F extends Fields, O extends string = string> {
  readonly kind: K;
  readonly name: N;
  readonly summary: string;
  /** Authors, year and address of the paper. */
  readonly source?: string;
  /**
   * Masks that it supports, or a function of the config that returns them; others are refused before anything is built. Absent: it passes the mask on to
   * inner blocks, or uses none.
   */
  readonly masks?: MaskKinds | ((config: ConfigValues<F>) => MaskKinds);
  readonly fields: F;
  /** Its inputs when compiled by itself, if they differ from those of its kind: pixels, or two sequences. */
  readonly inputs?: (module: AnyModule) => BlockInputs;
  /** For a user's own kind: how a block of it is called when compiled by itself, and its inputs. */
  readonly kindDefinition?: KindDefinition<K>;
  /** Configs that the conformance and parity suites build; inherited values are set. */
  readonly examples: readonly NoInfer<ExampleConfig<F>>[];
  /** Properties that are true for every config, or a function of the config. */
  readonly properties?: readonly Property[] | ((config: ConfigValues<F>) => readonly Property[]);
  /** Rules that lower the ops that it emits; modules in its slots have the rules of their own blocks. */
  readonly rules?: readonly Rule[];
  /** For a model: the names of its outputs, if they are the same for every config. They type the results of a runner. */
  readonly outputs?: readonly O[];
  /** Makes the module: a forward function, or `module(record, forward)` where it uses parameters or other modules. */
  create(config: Resolved<F>, place: BuildContext): Module<Contracts[K]> | Contracts[K];
}
// Examples name blocks of other packages in their slots, so only the values are checked here.
type ExampleConfig<F extends Fields> = { readonly [N in keyof F]?: IsSlot<F[N]> extends true ? unknown : ValueOf<F[N]> };

/** A block: call it with a config to get a module. */
export interface Block<K extends Kind = Kind, N extends string = string, F extends Fields = Fields, O extends string = string> {
  (config: BlockOptions<F>): KindModule<K, O>;
  readonly kind: K;
  readonly blockName: N;
  readonly fields: F;
  readonly definition: BlockDefinition<K, N, F, O>;
}
/** Any block. */
export type AnyBlock = {
  // biome-ignore lint/suspicious/noExplicitAny: one list contains blocks of all configs
  (config: any): any;
  readonly kind: Kind;
  readonly blockName: string;
  readonly fields: Fields;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  readonly definition: BlockDefinition<any, string, any, string>;
};

/** Where a block is built. */
export interface BuildContext {
  /** For errors: `stack.layers[0].mixer`. */
  readonly path: string;
  /** Index of the layer, for a block inside an `each` slot. */
  readonly layer?: number;
  /** Looks up blocks by kind and name; absent when a block is called without a registry. */
  readonly find?: (kind: string, name: string, path: string) => AnyBlock;
  /** The field that other libraries call so. Absent when a block is called without a registry, where the type checker names the fields. */
  readonly fieldCalled?: (name: string) => string | undefined;
  /** Values of the enclosing blocks, nearest wins. */
  readonly enclosing?: Readonly<Record<string, unknown>>;
}
