// What a mask is: which keys a query may attend to, as data. Everything about one class of masks is in one object, as with an op.

import type { Dim } from '../dim/dim';
import { aMask, given } from '../given';
import type { TensorType } from '../ir/define-op';
import type { GraphBuilder, Value } from '../ir/graph';
import type { NDArray } from '../tensor/tensor';

/**
 * Which keys a query may attend to. `V` represents run-time data: a Value while tracing, an operand index inside a node. Made by the
 * functions of the classes, which `maskClasses` lists: {@link causal}, {@link slidingWindow}, {@link keyLengths}, {@link documents}, {@link dense},
 * {@link and}, {@link or}, {@link not}, …
 */
export interface Mask<V, D extends string = string, O extends object = object> {
  readonly class: MaskClass;
  /** Run-time data by name. */
  readonly operands: Readonly<Record<D, V>>;
  /** Numbers known when the graph is made. */
  readonly options: O;
  /** The masks that `and`, `or` and `not` are made of. */
  readonly parts: readonly Mask<V>[];
}

/** The sizes of one attention, for checks. */
export interface MaskSizes {
  readonly batch: Dim;
  readonly heads: Dim;
  readonly seq: Dim;
  readonly kvSeq: Dim;
  /** Number of sequences: the batch, or the packed sequences. */
  readonly sequences: Dim;
  /** Several sequences, one after another in one row of the batch. */
  readonly packed: boolean;
  /** Optional: int64 [batch], number of keys before query 0. */
  readonly queryOffset: TensorType | undefined;
}

/** What is known about the sizes of one attention before it is lowered. */
export interface KnownSizes extends MaskSizes {
  /** It is known that query i of each sequence is at the position of key i. */
  readonly startsTogether: boolean;
}

/** The place of a key: its sequence, and its position there. */
export interface Place {
  readonly sequence: number;
  readonly position: number;
}

/** The place of a query. */
export interface QueryPlace extends Place {
  /** Number of queries of its sequence before it. It differs from the position if there are cached keys, or more keys than queries. */
  readonly index: number;
}

/** One query and one key: their indices in [batch, heads, seq, kv_seq] and their places. */
export interface Pair {
  readonly batch: number;
  readonly head: number;
  readonly query: number;
  readonly key: number;
  readonly from: QueryPlace;
  readonly to: Place;
}

/** The sizes and positions that a mask tensor depends on. */
export interface MaskFrame {
  readonly graph: GraphBuilder;
  readonly batch: Dim;
  /** Query heads. */
  readonly heads: Dim;
  readonly seq: Dim;
  readonly kvSeq: Dim;
  /** int64 [batch]: keys before query 0 (query offset); only the first `queryOffset + seq` keys exist. Absent: `kv_seq − seq`. */
  readonly queryOffset?: Value | undefined;
}

/**
 * Positions of queries and keys, int32. `seq` and `kvSeq` are the numbers of queries and keys that the tensor is for: all of the call, or a chunk of them.
 */
export interface MaskPositions extends MaskFrame {
  /** The number of queries of the whole call. */
  readonly allQueries: Dim;
  /** The number of keys of the whole call. */
  readonly allKeys: Dim;
  /** Data with an entry for each query of the call, for the queries that the tensor is for: itself, or the entries of a chunk. */
  ofRows(perQuery: Value, axis: number): Value;
  /** Data with an entry for each key of the call, for the keys that the tensor is for. */
  ofKeyRows(perKey: Value, axis: number): Value;
  /** The indices of keys: 0, 1, …; [1, 1, 1, kv_seq]. */
  keyRows(): Value;
  /** The index of the key at the position of each query; [1 or batch, 1, seq, 1]. */
  queryRows(): Value;
  /** Positions of keys within their sequence; [1, 1, 1, kv_seq]. */
  keyPositions(): Value;
  /** Positions of queries within their sequence; [1 or batch, 1, seq, 1]. */
  queryPositions(): Value;
  /** Number of queries of the same sequence before each query; [1, 1, seq, 1]. */
  queryIndices(): Value;
  /** The number of the sequence of each query; [1 or batch, 1, seq or 1, 1]. */
  querySequences(): Value;
  /** The number of the sequence of each key; [1 or batch, 1, 1, kv_seq or 1]. */
  keySequences(): Value;
  /** Data of each sequence, int64 [sequences], as int32 for the sequence of each query; [1 or batch, 1, seq or 1, 1]. */
  ofQueries(perSequence: Value): Value;
  /** The same for the sequence of each key; [1 or batch, 1, 1, kv_seq or 1]. */
  ofKeys(perSequence: Value): Value;
  /** Several sequences, one after another in one row of the batch. */
  readonly packed: boolean;
  /** Queries and keys are of one sequence and aligned at their ends. */
  readonly aligned: boolean;
  /** It is known that query i of each sequence is at the position of key i. */
  readonly startsTogether: boolean;
  /** It is known that each query has a key at its own position. */
  readonly ownKeyExists: boolean;
}

/** What is known about the data of masks before they are fed. Absent: nothing. */
export interface KnownData {
  /** True for lengths that are known to be at least 1. */
  readonly nonEmpty?: (lengths: Value) => boolean;
  /** True for offsets of sequences that are known to begin at the first of `rows` tokens and to end behind the last. */
  readonly covers?: (offsets: Value, rows: Dim) => boolean;
}

/** A bool tensor that broadcasts to [batch, heads, seq, kv_seq], or one value for all pairs. */
export type Truth = Value | boolean;

/** Rows of keys, int32 []: from `start` to before `end`; a missing one is that of all keys. */
export interface KeyRange {
  readonly start?: Value | undefined;
  readonly end?: Value | undefined;
}

/** A mask as features of kernels. Causal is `right: 0`. */
export interface MaskFeatures<V> {
  readonly left?: number;
  readonly right?: number;
  /** Keys up to the number of the query, both counted from 0. */
  readonly causalFromTopLeft?: true;
  readonly lengths?: V;
  readonly keyPadding?: V;
  readonly documents?: { readonly offsets: V; readonly keyOffsets: V };
  readonly dense?: V;
}

/** Prefix tokens: put before each sequence. */
export interface PrefixTokens {
  readonly count: Dim;
  /** Number of tokens before the prefix was added. */
  readonly before: Dim;
  /** True for self attention, where the keys get the prefix too. */
  readonly ownKeys: boolean;
}

/** Positions of queries and keys under a mask that defines them itself. */
export interface MaskPositioning<D extends string = string, O extends object = object> {
  /** The place of a query or a key; undefined outside all sequences: such a query attends to no key, and no query attends to such a key. */
  places(
    mask: Mask<NDArray, D, O>,
    sizes: { readonly seq: number; readonly kvSeq: number },
  ): {
    /** The place of query i. */
    query(i: number): QueryPlace | undefined;
    /** The place of key j. */
    key(j: number): Place | undefined;
  };
  /** The same as tensors of a graph. */
  tensors(mask: Mask<Value, D, O>, frame: MaskFrame): MaskPositions;
  /** Number of sequences. */
  sequences(mask: Mask<TensorType, D, O>): Dim;
  /** True if it is known that query i of each sequence is at the position of key i. */
  startsTogether(mask: Mask<unknown, D, O>): boolean;
}

/** Everything about one class of masks. Code that needs an optional part that a class omits refuses the mask. */
export interface MaskDefinition<D extends string = string, O extends object = object> {
  /** As blocks declare it and `explain` prints it. */
  readonly name: string;
  /** The class of masks as which mechanisms support it; absent: its own. */
  readonly declaredAs?: string;
  /** Whether it compares the position of a query with that of a key, which is defined only within one sequence. */
  readonly comparesPositions: boolean | ((mask: Mask<unknown, D, O>) => boolean);
  /** Whether it depends on how far apart a query and a key are, counted in positions of the batch. */
  readonly measuresDistance?: true | ((mask: Mask<unknown, D, O>) => boolean);
  /** True if padding may be between real tokens, so that positions of the batch are farther apart than those of the sequence. */
  mayHaveGaps?(mask: Mask<unknown, D, O>): boolean;
  /** True if it is the same mask for packed and for padded sequences: it depends on positions and on data of each sequence, but not on rows of the batch. */
  ofSequences?(mask: Mask<unknown, D, O>): boolean;
  /** It allows what all of its parts allow; with no parts, everything. */
  readonly conjunctive?: true;
  /** Throws a `mismatch` if dtypes or dims of its data do not fit. */
  check?(mask: Mask<TensorType, D, O>, sizes: MaskSizes): void;
  /** The definition as a predicate: the reference for tensors and kernels. */
  allows(mask: Mask<NDArray, D, O>, pair: Pair): boolean;
  /** The mask as a tensor. */
  tensor(mask: Mask<Value, D, O>, at: MaskPositions): Truth;
  /** The whole mask as features of kernels; undefined if there is none for it. */
  features?<V>(mask: Mask<V, D, O>): MaskFeatures<V> | undefined;
  /**
   * Rows of keys outside which it hides all keys from the queries of `at`, a chunk of those of the call, so that attention to them is not computed. It may contain
   * hidden keys, reach beyond the keys of the call, and be empty. Absent: all keys.
   */
  keyRange?(mask: Mask<Value, D, O>, at: MaskPositions): KeyRange;
  /** Features that are true for every pair that it allows; default its features. For costs, and to omit implied masks. */
  implies?<V>(mask: Mask<V, D, O>): MaskFeatures<V>;
  /**
   * For a class under which a query that attends to any key attends to the key at its own position: the queries that do, [1 or batch, 1 or heads, 1 or seq, 1].
   * Undefined otherwise.
   */
  seesOwnKey?(mask: Mask<Value, D, O>, at: MaskPositions, known: KnownData): Truth | undefined;
  /** For a class under which a query attends to the first n keys for some n: the queries with n > 0. Undefined otherwise. */
  seesFirstKey?(mask: Mask<Value, D, O>, at: MaskPositions, known: KnownData): Truth | undefined;
  /** The same mask after prefix tokens were added, which all tokens attend to and which attend to all real tokens. Absent: refused. */
  withPrefixTokens?(mask: Mask<Value, D, O>, front: PrefixTokens): Mask<Value>;
  /** For a class that defines positions itself. It must be used alone, or once among masks joined by `and`. */
  readonly placing?: MaskPositioning<D, O>;
  /** An equal mask at these sizes, which more kernels support. Default: itself. */
  atSizes?<V extends TensorType>(mask: Mask<V, D, O>, sizes: KnownSizes): Mask<V>;
  /** As text; default the name. */
  print?(mask: Mask<unknown, D, O>): string;
}

/** A class of masks. Compared by identity, also as part of a node's attributes. */
export class MaskClass<D extends string = string, O extends object = object> {
  constructor(readonly definition: MaskDefinition<D, O>) {}
  /** From its definition. */
  get name(): string {
    return this.definition.name;
  }
}

/** The parts of a mask; see {@link Mask}. */
export interface MaskParts<V, D extends string, O extends object> {
  readonly operands?: Readonly<Record<D, V>>;
  readonly options?: O;
  readonly parts?: readonly Mask<V>[];
}

/**
 * Defines a class of masks: returns the function that makes masks of it.
 *
 * Example  const odd = defineMask({ name: 'odd', comparesPositions: false, allows: (_, { key }) => key % 2 === 1, tensor: oddKeys });
 */
/* @__NO_SIDE_EFFECTS__ */
export function defineMask<D extends string = never, O extends object = object>(
  definition: MaskDefinition<D, O>,
): MaskMaker<D, O> {
  const maskClass = new MaskClass(definition);
  const make = <V>({ operands = {} as never, options = {} as O, parts = [] }: MaskParts<V, D, O> = {}): Mask<V> => ({
    class: maskClass as unknown as MaskClass,
    operands,
    options,
    parts,
  });
  return Object.assign(make, { class: maskClass as unknown as MaskClass });
}
/** Makes masks of a class. */
export interface MaskMaker<D extends string, O extends object> {
  <V = never>(parts?: MaskParts<V, D, O>): Mask<V>;
  readonly class: MaskClass;
}

/** The same mask over other data: from Values to operand indices, and back. */
export function mapMask<V, W>(mask: Mask<V>, f: (v: V) => W): Mask<W> {
  const { operands, parts } = mask;
  const mapped = Object.entries(operands).map(([name, v]) => [name, f(v)] as const);
  return { ...mask, operands: Object.fromEntries(mapped), parts: parts.map((part) => mapMask(part, f)) };
}

/** True for masks of the same class with the same data and options. */
export function sameMask<V>(a: Mask<V>, b: Mask<V>): boolean {
  if (a === b) return true;
  if (a.class !== b.class || a.parts.length !== b.parts.length) return false;
  return (
    sameEntries(a.operands, b.operands) &&
    sameData(a.options, b.options) &&
    a.parts.every((part, i) => sameMask(part, b.parts[i]!))
  );
}
function sameEntries(a: object, b: object): boolean {
  const [x, y] = [a, b] as readonly Readonly<Record<string, unknown>>[];
  return [...Object.keys(a), ...Object.keys(b)].every((name) => x![name] === y![name]);
}
// Options are plain data.
function sameData(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  const [x, y] = [a, b] as readonly Readonly<Record<string, unknown>>[];
  return [...Object.keys(a), ...Object.keys(b)].every((name) => sameData(x![name], y![name]));
}

/** As text, for refusals and `explain`: `causal, lengths`. */
export function printMask(mask: Mask<unknown>): string {
  given('printMask', { mask }, { mask: aMask });
  return maskText(mask);
}

/** The same without a check, for masks that were checked. */
export const maskText = (mask: Mask<unknown>): string => mask.class.definition.print?.(mask) ?? mask.class.name;

/** The masks that must all allow a pair. */
export const conjuncts = <V>(mask: Mask<V>): readonly Mask<V>[] => (mask.class.definition.conjunctive ? mask.parts : [mask]);

/** All masks of a tree, itself first. */
export const masksIn = <V>(mask: Mask<V>): readonly Mask<V>[] => [mask, ...mask.parts.flatMap(masksIn)];

/** The names of the classes in a tree, without `and` and `none`. */
export const maskKinds = (mask: Mask<unknown>): readonly string[] => namesIn(mask, ({ name }) => name);

/** The same as mechanisms declare them: what their `masks` are checked against. */
export const declaredKinds = (mask: Mask<unknown>): readonly string[] =>
  namesIn(mask, ({ name, declaredAs = name }) => declaredAs);

const namesIn = (mask: Mask<unknown>, nameOf: (definition: MaskDefinition) => string): readonly string[] => [
  ...new Set(
    masksIn(mask)
      .map((m) => m.class.definition)
      .filter(({ conjunctive }) => !conjunctive)
      .map(nameOf),
  ),
];

/** True when the mask is defined only for queries and keys of the same sequence. */
export function comparesPositions(mask: Mask<unknown>): boolean {
  given('comparesPositions', { mask }, { mask: aMask });
  return masksIn(mask).some((m) => holds(m.class.definition.comparesPositions, m));
}

/** True when the mask depends on distances, which padding between tokens changes. */
export const measuresDistance = (mask: Mask<unknown>): boolean =>
  masksIn(mask).some((m) => holds(m.class.definition.measuresDistance ?? false, m));

const holds = (property: boolean | ((mask: Mask<unknown>) => boolean), mask: Mask<unknown>): boolean =>
  typeof property === 'boolean' ? property : property(mask);

/** True when the mask is the same for packed and for padded sequences; see {@link MaskDefinition}. */
export const isOfSequences = (mask: Mask<unknown>): boolean =>
  masksIn(mask).every((m) => m.class.definition.ofSequences?.(m) ?? false);

/** True when padding may be between the real tokens of a sequence: after its prefix tokens. */
export const mayHaveGaps = (mask: Mask<unknown>): boolean =>
  masksIn(mask).some((m) => m.class.definition.mayHaveGaps?.(m) ?? false);
