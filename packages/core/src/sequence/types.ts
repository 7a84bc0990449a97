// The types of what varies around a sequence. They refer to each other (a context to its layout, a packed layout to the context of its padded batch), so they are
// defined together.
import type { Dim } from '../dim/dim';
import type { TensorType } from '../ir/define-op';
import type { Value } from '../ir/graph';
import type { Mask } from '../mask/mask';

// ---- Context ---------------------------------------------------------------------------------------------------------------

/** What cross attention attends to. */
export interface Memory {
  /** [batch, memory_seq, memory_dim], or packed [memory_tokens, memory_dim] */
  readonly hiddenStates: Value;
  /** The source of the values, if it differs from that of the keys. */
  readonly valueStates?: Value;
  readonly mask: Mask<Value>;
  /** Added to every score, [batch or 1, heads or 1, query, memory_seq]. */
  readonly bias?: Value;
  readonly layout: Layout;
  /** True if the memory is the queries' own sequence, as in self attention: positions of queries and keys are then comparable. */
  readonly sameSequence?: true;
}

/** Values that one layer computes and later layers reuse; new for each trace. */
export interface Shared {
  /** The value of a key, computed on first use; computed again if the first use was in a branch whose values are not visible here. */
  get<T>(key: string, make: () => T): T;
}

/** Everything about the sequences that a block works on. */
export interface SequenceContext {
  /** Factories set causal; blocks narrow it with `and`. */
  readonly mask: Mask<Value>;
  /** int64 [batch, seq] or [tokens]; counted from 0 in each sequence, or from the end of the cache. */
  readonly positions: Value;
  /** Position ids that were fed, instead of counted positions. */
  readonly positionIds?: Value;
  /** The input `token_type_ids`, int64 [batch, seq] or [tokens]: the segment of each token. */
  readonly tokenTypeIds?: Value;
  readonly layout: Layout;
  /** Real positions of each sequence in this call, int64 [batch]. A recurrent state needs them after prompts of different lengths. */
  readonly lengths?: Value;
  /**
   * Only in cross attention, where `mask` is the mask over the memory: the mask among the queries' own positions, with their padding
   * and causality. Set only by `crossAttentionKeyValues`.
   */
  readonly queryMask?: Mask<Value>;
  /** Position and storage of the keys; set only by `updateCache` and `crossAttentionKeyValues`. */
  readonly keys?: KeyPositions;
  /** Absent if the model has no state between calls. */
  readonly state?: State;
  /** Added to every score, [batch or 1, heads or 1, query, key]. */
  readonly bias?: Value;
  readonly memory?: Memory;
  /** [height, width] when the tokens came from an image. */
  readonly grid?: readonly [Dim, Dim];
  readonly shared: Shared;
  /** The inputs of the model by name, for blocks that read their own inputs (token types). */
  readonly inputs?: Readonly<Record<string, Value>>;
}

// ---- Layout ----------------------------------------------------------------------------------------------------------------

/** How the sequences of a batch are arranged: padded to equal length, [batch, seq, dim], or packed one after another without padding. */
export type Layout = { readonly kind: 'padded' } | PackedLayout;

/**
 * [tokens, dim]; sequence i is tokens offsets[i] to offsets[i + 1] − 1. What it can become are functions, so that a block that is imported alone does not load
 * them.
 */
export interface PackedLayout {
  readonly kind: 'packed';
  /** int64 [batch + 1] */
  readonly offsets: Value;
  /** int64 [batch] */
  readonly lengths: Value;
  /** int64 [tokens]: from 0 in each sequence. */
  readonly positions: Value;
  /** The mask under which tokens attend to keys of their own sequence, for keys with these offsets. */
  readonly maskFor: (keyOffsets: Value) => Mask<Value>;
  /** Rows with others, [count, dim], in front of each sequence. */
  readonly withPrefix: (rows: Value, first: Value) => { readonly rows: Value; readonly layout: PackedLayout };
  /** The context of the same sequences as a padded batch. */
  readonly asPadded: (ctx: SequenceContext) => PaddedRows;
}

/** Packed sequences as a padded batch. */
export interface PaddedRows {
  /** The context of the padded batch: its layout, masks and positions. */
  readonly ctx: SequenceContext;
  /** Rows [tokens, dim] → [batch, longest, dim], heads [1, heads, tokens, head_dim] → [batch, heads, longest, head_dim]; `of` is their layout, default the sequences' own. */
  pad(x: Value, of?: Layout): Value;
  /** The inverse of `pad`, for results with a row for each position. */
  pack(x: Value): Value;
}

/** How the keys of an attention are stored and aligned with the queries. */
export interface KeyPositions {
  readonly layout: Layout;
  /** int64 [batch]: keys before query 0; only the first queryOffset + seq keys exist. Absent: kv_seq − seq. */
  readonly queryOffset?: Value;
}

// ---- State -----------------------------------------------------------------------------------------------------------------

/** Keyed by the scope that uses it. */
export interface State {
  /** Position and storage of the keys after the append. */
  readonly keys: KeyPositions;
  /** Positions before this call, int64 [batch]: positions continue from there. */
  readonly pastLengths: Value;
  /** Appends to a KV cache: [batch, kv_heads, seq, head_dim] → all positions so far. */
  append(name: string, rows: Value): Value;
  /** Values computed in the first call only: a memory's keys and values, [batch, kv_heads, past_memory, head_dim]. */
  cacheMemory<K extends string>(make: () => Record<K, Value>): Record<K, Value>;
  /** A recurrent state: `step` maps the previous state to the next one and a result. `first` is its type; its initial values are zeros. */
  updateRecurrent<T>(name: string, first: TensorType, step: (last: Value) => readonly [next: Value, result: T]): T;
}

/** Sizes of one call. */
export interface CallSizes {
  readonly batch: Dim;
  readonly seq: Dim;
}
