// Masks of packed queries over keys that have the same space for every sequence, as in a cache of fixed capacity.
// biome-ignore-all lint/complexity/noThisInStatic: a subclass makes masks of its own class
import { causal, type Mask, slidingWindow } from '@onnxformers/core';
import { PackedQueriesMask } from './block-diagonal-masks';
import { type BlockTables, PagedKeysMask, spaceOf } from './paged-keys-mask';
import { packed, type Sequences, windowBound, windowSize, withPadding } from './sequences';
import { lastKeys } from './triangular-masks';

type OfPadded<T> = new (queries: Sequences, keys: Sequences) => T;

function paddedSequences(path: string, qSeqlens: readonly number[], kvPadding: number, kvSeqlens: readonly number[]) {
  return [packed(`${path}.qSeqlens`, qSeqlens), withPadding(`${path}.kv`, kvPadding, kvSeqlens)] as const;
}

/**
 * Packed queries over padded keys: sequence i has space for `kvPadding` keys, of which the first `kvSeqlens[i]` are used. Keys and values are
 * [1, sequences · kvPadding, heads, head_dim]; the padding may contain any numbers, also NaN.
 */
export class BlockDiagonalPaddedKeysMask extends PackedQueriesMask {
  /** Throws   ConfigError for lengths that are not counts or exceed the space, and for lists of different lengths */
  static fromSeqlens<T>(this: OfPadded<T>, qSeqlens: readonly number[], kvPadding: number, kvSeqlens: readonly number[]): T {
    return new this(...paddedSequences(`${this.name}.fromSeqlens`, qSeqlens, kvPadding, kvSeqlens));
  }

  /** From `windowLeft` keys before the query to `windowRight` after it; the last query is at the position of the last key. */
  makeLocalAttention(windowLeft: number, windowRight: number): BlockDiagonalLocalAttentionPaddedKeysMask {
    return new BlockDiagonalLocalAttentionPaddedKeysMask(this.queries, this.keys, windowLeft, windowRight);
  }

  /** The same mask over keys in pages. */
  makePaged(blockTables: BlockTables, pageSize: number): PagedKeysMask {
    const keys = withPadding(`${this.constructor.name}.makePaged`, spaceOf(blockTables, pageSize), this.keys.lengths);
    const wide = Object.assign(Object.create(Object.getPrototypeOf(this)), this, { keys }) as BlockDiagonalPaddedKeysMask;
    return this.inPages(wide, blockTables, pageSize);
  }
  /** The same mask for keys in pages. */
  protected inPages(...args: ConstructorParameters<typeof PagedBlockDiagonalPaddedKeysMask>): PagedKeysMask {
    return new PagedBlockDiagonalPaddedKeysMask(...args);
  }
}

/** The same, and causal: the last query of a sequence is at the position of its last key (bottom-right). */
export class BlockDiagonalCausalWithOffsetPaddedKeysMask extends BlockDiagonalPaddedKeysMask {
  protected override within(): Mask<never> {
    return causal;
  }
  /** The same mask for keys in pages. */
  protected override inPages(
    ...args: ConstructorParameters<typeof PagedBlockDiagonalCausalWithOffsetPaddedKeysMask>
  ): PagedKeysMask {
    return new PagedBlockDiagonalCausalWithOffsetPaddedKeysMask(...args);
  }
}

/** Within a window around the position of the query, whose last one is at the position of the last key. */
export class BlockDiagonalLocalAttentionPaddedKeysMask extends BlockDiagonalPaddedKeysMask {
  readonly windowLeft: number;
  readonly windowRight: number;

  /** Throws   ConfigError for bounds that are not counts */
  constructor(queries: Sequences, keys: Sequences, windowLeft: number, windowRight: number) {
    super(queries, keys);
    this.windowLeft = windowBound(`${new.target.name}.windowLeft`, windowLeft);
    this.windowRight = windowBound(`${new.target.name}.windowRight`, windowRight);
  }

  /** Throws   ConfigError as `fromSeqlens`, and for bounds that are not counts */
  static fromSeqlensLocal(
    qSeqlens: readonly number[],
    kvPadding: number,
    kvSeqlens: readonly number[],
    windowLeft: number,
    windowRight: number,
  ): BlockDiagonalLocalAttentionPaddedKeysMask {
    const sequences = paddedSequences(`${BlockDiagonalLocalAttentionPaddedKeysMask.name}`, qSeqlens, kvPadding, kvSeqlens);
    return new BlockDiagonalLocalAttentionPaddedKeysMask(...sequences, windowLeft, windowRight);
  }
  protected override within(): Mask<never> {
    return slidingWindow({ left: this.windowLeft, right: this.windowRight });
  }
}

/** The key at the position of the query and those before it in a window; the last query is at the position of the last key. */
export class BlockDiagonalCausalLocalAttentionPaddedKeysMask extends BlockDiagonalPaddedKeysMask {
  readonly windowSize: number;

  /** Throws   ConfigError for a window below 1 */
  constructor(queries: Sequences, keys: Sequences, size: number) {
    super(queries, keys);
    this.windowSize = windowSize(`${new.target.name}.windowSize`, size);
  }

  /** Throws   ConfigError as `fromSeqlens`, and for a window below 1 */
  static fromSeqlensLocal(
    qSeqlens: readonly number[],
    kvPadding: number,
    kvSeqlens: readonly number[],
    size: number,
  ): BlockDiagonalCausalLocalAttentionPaddedKeysMask {
    const sequences = paddedSequences(`${BlockDiagonalCausalLocalAttentionPaddedKeysMask.name}`, qSeqlens, kvPadding, kvSeqlens);
    return new BlockDiagonalCausalLocalAttentionPaddedKeysMask(...sequences, size);
  }
  protected override within(): Mask<never> {
    return lastKeys(this.windowSize);
  }
}

/**
 * Packed queries over keys in pages: keys and values are a pool [1, pages · pageSize, heads, head_dim], and key t of sequence i is in page
 * `blockTables[i][⌊t / pageSize⌋]`.
 */
export class PagedBlockDiagonalPaddedKeysMask extends PagedKeysMask {
  /** Throws   ConfigError for lengths that are not counts, and for a table without a page for a key */
  static fromSeqlens(
    qSeqlens: readonly number[],
    kvSeqlens: readonly number[],
    blockTables: BlockTables,
    pageSize: number,
  ): PagedBlockDiagonalPaddedKeysMask {
    const unpaged = BlockDiagonalPaddedKeysMask.fromSeqlens(qSeqlens, spaceOf(blockTables, pageSize), kvSeqlens);
    return new PagedBlockDiagonalPaddedKeysMask(unpaged, blockTables, pageSize);
  }
}

/** The same, and causal: the last query of a sequence is at the position of its last key (bottom-right). */
export class PagedBlockDiagonalCausalWithOffsetPaddedKeysMask extends PagedKeysMask {
  /** Throws   ConfigError as that of {@link PagedBlockDiagonalPaddedKeysMask} */
  static fromSeqlens(
    qSeqlens: readonly number[],
    kvSeqlens: readonly number[],
    blockTables: BlockTables,
    pageSize: number,
  ): PagedBlockDiagonalCausalWithOffsetPaddedKeysMask {
    const unpaged = BlockDiagonalCausalWithOffsetPaddedKeysMask.fromSeqlens(qSeqlens, spaceOf(blockTables, pageSize), kvSeqlens);
    return new PagedBlockDiagonalCausalWithOffsetPaddedKeysMask(unpaged, blockTables, pageSize);
  }
}
