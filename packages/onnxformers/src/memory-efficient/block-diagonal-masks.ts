// Masks of packed sequences: queries of sequence i attend to keys of sequence i.
// biome-ignore-all lint/complexity/noThisInStatic: a subclass makes masks of its own class
import {
  and,
  ConfigError,
  causal,
  causalFromTopLeft,
  comparesPositions,
  documents,
  keyLengths,
  keyStarts,
  type Mask,
  none,
  ShapeError,
  slidingWindowFromTopLeft,
  type Tensor,
} from '@onnxformers/core';
import { impliedBy } from '@onnxformers/core/lowering';
import { AttentionBias, type Batched } from './attention-bias';
import { counted, expectAsMany, join, packed, type Sequences, split, windowSize } from './sequences';
import { lastKeys } from './triangular-masks';

/** Masks whose queries are packed sequences. */
export abstract class PackedQueriesMask extends AttentionBias {
  /** `batchSizes`: number of sequences in each tensor that {@link splitQueries} returns; default one. */
  constructor(
    readonly queries: Sequences,
    readonly keys: Sequences,
    readonly batchSizes: readonly number[] = queries.lengths.map(() => 1),
  ) {
    super();
    expectAsMany(`${new.target.name}.kvSeqlens`, keys.lengths, queries.lengths.length);
  }

  get mask(): Mask<Tensor> {
    const { offsets } = this.queries;
    const packedKeys = this.keys.gaps
      ? documents(offsets, this.keys.offsets, this.keys.counted)
      : documents(offsets, this.keys.offsets);
    return and<Tensor>(packedKeys, this.within());
  }

  override get lengthsOf(): ReadonlyMap<Tensor, Tensor> {
    const sums = [this.queries, this.keys].filter(({ gaps }) => !gaps);
    return new Map(sums.map(({ offsets, counted }) => [offsets, counted]));
  }

  override get batched(): Batched | undefined {
    const { queries, keys } = this;
    const [count = 0] = queries.lengths;
    const space = keys.starts[1]! - keys.starts[0]!;
    const regular = queries.lengths.every((n) => n === count) && keys.starts.every((start, i) => start === i * space);
    if (!keys.gaps || !regular || count === 0 || this.bias) return undefined;
    const visible = this.lastQuerySees();
    if (count > 1 && visible.comparesPositions) return undefined;
    const { left } = visible;
    const starts = left === undefined ? undefined : counted(keys.lengths.map((n) => Math.max(0, n - 1 - left)));
    return {
      sequences: queries.lengths.length,
      queries: count,
      mask: and<Tensor>(keyLengths(keys.counted), starts ? keyStarts(starts) : none),
    };
  }

  /** The mask of each sequence. */
  protected within(): Mask<never> {
    return none;
  }

  // Which keys the last query of a sequence attends to: as many before its last key as `left`, default all.
  private lastQuerySees(): { readonly comparesPositions: boolean; readonly left?: number } {
    const mask = this.within();
    const { left } = impliedBy(mask);
    return { comparesPositions: comparesPositions(mask), ...(left !== undefined && { left }) };
  }

  /**
   * Results [1, tokens, …] as one tensor [batch, seq, …] for each tensor that was packed.
   *
   * Throws   ShapeError for another number of tokens
   */
  splitQueries(tensor: Tensor): readonly Tensor[] {
    return split(`${this.constructor.name}.splitQueries`, tensor, this.queries, this.batchSizes);
  }
}

type BlockDiagonal<T> = new (queries: Sequences, keys: Sequences, batchSizes?: readonly number[]) => T;

/**
 * Packed sequences of any lengths: queries of sequence i attend to all keys of sequence i. Queries, keys and values are [1, tokens, heads, head_dim].
 *
 * Example  const sentences = BlockDiagonalMask.fromSeqlens([3, 5, 2]).makeCausal();
 */
export class BlockDiagonalMask extends PackedQueriesMask {
  /**
   * From the lengths of the sequences; default: as many keys as queries.
   *
   * Throws   ConfigError for lengths that are not counts, and for keys of another number of sequences
   */
  static fromSeqlens<T>(this: BlockDiagonal<T>, qSeqlens: readonly number[], kvSeqlens?: readonly number[]): T {
    const path = `${this.name}.fromSeqlens`;
    const queries = packed(`${path}.qSeqlens`, qSeqlens);
    return new this(queries, keysOf(queries, kvSeqlens, path));
  }

  /**
   * Packs tensors [batch, seq, …] into one [1, tokens, …], and makes their mask.
   *
   * Throws   ShapeError for an empty list, and for tensors that differ in dtype or in other axes
   */
  static fromTensorList<T>(this: BlockDiagonal<T>, tensors: readonly Tensor[]): readonly [mask: T, tensor: Tensor] {
    const path = `${this.name}.fromTensorList`;
    const { joined, lengths } = join(path, tensors);
    const queries = packed(path, lengths);
    return [new this(queries, queries, tensors.map(batchOf)), joined];
  }

  /**
   * The same for queries, keys and values.
   *
   * Throws   ShapeError as {@link fromTensorList}, and for lists that do not fit each other
   */
  static fromTensorListsQkv<T>(
    this: BlockDiagonal<T>,
    q: readonly Tensor[],
    k: readonly Tensor[],
    v: readonly Tensor[],
  ): readonly [mask: T, q: Tensor, k: Tensor, v: Tensor] {
    const path = `${this.name}.fromTensorListsQkv`;
    const [queries, keys, values] = [join(`${path}.q`, q), join(`${path}.k`, k), join(`${path}.v`, v)];
    const differ = (a: readonly unknown[], b: readonly unknown[]): boolean => String(a) !== String(b);
    if (differ(q.map(batchOf), k.map(batchOf)) || differ(keys.lengths, values.lengths))
      throw new ShapeError({
        path,
        problem: 'the lists do not fit each other',
        expected: 'for each tensor of queries keys and values of the same batch, and as many values as keys',
        got: [q, k, v].map((list) => list.map(({ dims }) => `[${dims.join(', ')}]`).join(' ')).join(' · '),
      });
    const packedQueries = packed(path, queries.lengths);
    const mask = new this(packedQueries, keysOf(packedQueries, keys.lengths, path), q.map(batchOf));
    return [mask, queries.joined, keys.joined, values.joined];
  }

  /** Keys or values [1, tokens, …] as one tensor for each sequence, or each tensor that was packed. */
  splitKv(tensor: Tensor): readonly Tensor[] {
    return split(`${this.constructor.name}.splitKv`, tensor, this.keys, this.batchSizes);
  }

  /**
   * The inverse of {@link fromTensorList}.
   *
   * Throws   ConfigError if queries and keys have different lengths; use {@link splitQueries} or {@link splitKv}
   */
  split(tensor: Tensor): readonly Tensor[] {
    if (this.queries !== this.keys)
      throw new ConfigError({
        path: `${this.constructor.name}.split`,
        problem: 'queries and keys have different lengths',
        hint: 'Use splitQueries or splitKv',
      });
    return this.splitQueries(tensor);
  }

  /** Causal in each sequence, from its first query (top-left). */
  makeCausal(): BlockDiagonalCausalMask {
    return new BlockDiagonalCausalMask(this.queries, this.keys, this.batchSizes);
  }

  /** Causal in each sequence, whose last query is at the position of its last key (bottom-right). */
  makeCausalFromBottomRight(): BlockDiagonalCausalFromBottomRightMask {
    return new BlockDiagonalCausalFromBottomRightMask(this.queries, this.keys, this.batchSizes);
  }

  /** The same with only the last `windowSize` keys, counted from the first query. */
  makeLocalAttention(size: number): BlockDiagonalCausalLocalAttentionMask {
    return new BlockDiagonalCausalLocalAttentionMask(this.queries, this.keys, this.batchSizes, size);
  }

  /** The same with only the last `windowSize` keys, where the last query is at the position of the last key. */
  makeLocalAttentionFromBottomRight(size: number): BlockDiagonalCausalLocalAttentionFromBottomRightMask {
    return new BlockDiagonalCausalLocalAttentionFromBottomRightMask(this.queries, this.keys, this.batchSizes, size);
  }
}

/** Causal in each sequence, from its first query: query i of a sequence attends to its keys 0 … i (top-left). */
export class BlockDiagonalCausalMask extends BlockDiagonalMask {
  protected override within(): Mask<never> {
    return causalFromTopLeft;
  }
}

/** Causal in each sequence; its last query is at the position of its last key (bottom-right). */
export class BlockDiagonalCausalFromBottomRightMask extends BlockDiagonalMask {
  /** Throws   ConfigError for a sequence with fewer keys than queries, whose first queries would attend to no key */
  constructor(queries: Sequences, keys: Sequences, batchSizes?: readonly number[]) {
    super(queries, keys, batchSizes);
    const wrong = queries.lengths.findIndex((n, i) => keys.lengths[i]! < n);
    if (wrong >= 0)
      throw new ConfigError({
        path: `${new.target.name}.kvSeqlens[${wrong}]`,
        problem: 'fewer keys than queries: the first queries would attend to no key',
        expected: `at least ${queries.lengths[wrong]}`,
        got: String(keys.lengths[wrong]),
        hint: 'BlockDiagonalCausalMask counts from the first query',
      });
  }
  protected override within(): Mask<never> {
    return causal;
  }
}

/** In each sequence the key of the query's number and those before it in a window, counted from the first query. Made by `makeLocalAttention`. */
export class BlockDiagonalCausalLocalAttentionMask extends BlockDiagonalCausalMask {
  readonly windowSize: number;

  /** Throws   ConfigError for a window below 1, and for a sequence whose last queries attend to no key */
  constructor(queries: Sequences, keys: Sequences, batchSizes: readonly number[] | undefined, size: number) {
    super(queries, keys, batchSizes);
    this.windowSize = windowSize(`${new.target.name}.windowSize`, size);
    const wrong = queries.lengths.findIndex((n, i) => n - size >= keys.lengths[i]!);
    if (wrong >= 0)
      throw new ConfigError({
        path: `${new.target.name}.windowSize`,
        problem: `the last queries of sequence ${wrong} would attend to no key`,
        expected: `more than ${queries.lengths[wrong]! - keys.lengths[wrong]!}`,
        got: String(size),
      });
  }
  protected override within(): Mask<never> {
    const bounds = { left: this.windowSize - 1, right: 0 };
    return this.queries === this.keys ? lastKeys(this.windowSize) : slidingWindowFromTopLeft(bounds);
  }
}

/** In each sequence the key at the position of the query and those before it in a window. Made by `makeLocalAttentionFromBottomRight`. */
export class BlockDiagonalCausalLocalAttentionFromBottomRightMask extends BlockDiagonalCausalFromBottomRightMask {
  readonly windowSize: number;

  /** Throws   ConfigError for a window below 1, and for a sequence with fewer keys than queries */
  constructor(queries: Sequences, keys: Sequences, batchSizes: readonly number[] | undefined, size: number) {
    super(queries, keys, batchSizes);
    this.windowSize = windowSize(`${new.target.name}.windowSize`, size);
  }
  protected override within(): Mask<never> {
    return lastKeys(this.windowSize);
  }
}

const batchOf = ({ dims }: Tensor): number => dims[0]!;

// The same object for the same lengths: the mask then says that each query is at the position of a key.
function keysOf(queries: Sequences, kvSeqlens: readonly number[] | undefined, path: string): Sequences {
  if (kvSeqlens === undefined || String(kvSeqlens) === String(queries.lengths)) return queries;
  return packed(`${path}.kvSeqlens`, kvSeqlens);
}
