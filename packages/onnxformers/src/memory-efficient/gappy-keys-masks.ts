// Masks of packed queries over keys that start anywhere, with gaps between the sequences.
// biome-ignore-all lint/complexity/noThisInStatic: a subclass makes masks of its own class
import { ConfigError, causal, type Mask } from '@onnxformers/core';
import { PackedQueriesMask } from './block-diagonal-masks';
import { type BlockTables, PagedKeysMask, spaceOf } from './paged-keys-mask';
import { expectAsMany, packed, type Sequences, withGaps } from './sequences';

type OfGappy<T> = new (queries: Sequences, keys: Sequences) => T;

/**
 * Packed queries over keys with gaps: the keys of sequence i are rows `kvSeqstarts[i]` to `kvSeqstarts[i] + kvSeqlens[i] − 1`; the last start is the number of
 * rows. Rows in gaps may contain any numbers, also NaN.
 */
export class BlockDiagonalGappyKeysMask extends PackedQueriesMask {
  /** Throws   ConfigError for numbers that are not counts, sequences that overlap or are not in the order of their starts, and lists that do not fit */
  static fromSeqlens<T>(
    this: OfGappy<T>,
    qSeqlens: readonly number[],
    kvSeqstarts: readonly number[],
    kvSeqlens: readonly number[],
  ): T {
    const path = `${this.name}.fromSeqlens`;
    return new this(packed(`${path}.qSeqlens`, qSeqlens), withGaps(`${path}.kv`, kvSeqstarts, kvSeqlens));
  }

  /**
   * The same mask over keys in pages, where sequence i has had rows from `i · notionalPadding` on.
   *
   * Throws   ConfigError if pages do not divide the padding, or have no room for a sequence
   */
  makePaged(blockTables: BlockTables, pageSize: number, notionalPadding: number): PagedKeysMask {
    if (notionalPadding % pageSize)
      throw new ConfigError({
        path: `${this.constructor.name}.makePaged.notionalPadding`,
        problem: 'not a whole number of pages',
        expected: `a multiple of ${pageSize}`,
        got: String(notionalPadding),
      });
    const { starts, lengths } = this.keys;
    const own = starts.slice(0, -1).map((start, i) => start - i * notionalPadding);
    const keys = inOwnSpace(`${this.constructor.name}.makePaged`, own, lengths, spaceOf(blockTables, pageSize));
    const wide = Object.assign(Object.create(Object.getPrototypeOf(this)), this, { keys }) as BlockDiagonalGappyKeysMask;
    return this.inPages(wide, blockTables, pageSize);
  }
  /** The same mask for keys in pages. */
  protected inPages(...args: ConstructorParameters<typeof PagedBlockDiagonalGappyKeysMask>): PagedKeysMask {
    return new PagedBlockDiagonalGappyKeysMask(...args);
  }
}

/** The same, and causal: the last query of a sequence is at the position of its last key (bottom-right). */
export class BlockDiagonalCausalWithOffsetGappyKeysMask extends BlockDiagonalGappyKeysMask {
  protected override within(): Mask<never> {
    return causal;
  }
  /** The same mask for keys in pages. */
  protected override inPages(
    ...args: ConstructorParameters<typeof PagedBlockDiagonalCausalWithOffsetGappyKeysMask>
  ): PagedKeysMask {
    return new PagedBlockDiagonalCausalWithOffsetGappyKeysMask(...args);
  }
}

/** Packed queries over keys in pages that start anywhere: the keys of sequence i are those from number `kvSeqstarts[i]` on in its list of pages. */
export class PagedBlockDiagonalGappyKeysMask extends PagedKeysMask {
  /** Throws   ConfigError for numbers that are not counts, and for a table without a page for a key */
  static fromSeqlens(
    qSeqlens: readonly number[],
    kvSeqstarts: readonly number[],
    kvSeqlens: readonly number[],
    blockTables: BlockTables,
    pageSize: number,
  ): PagedBlockDiagonalGappyKeysMask {
    const path = `${PagedBlockDiagonalGappyKeysMask.name}.fromSeqlens`;
    const sequences = pagedSequences(path, qSeqlens, kvSeqstarts, kvSeqlens, spaceOf(blockTables, pageSize));
    return new PagedBlockDiagonalGappyKeysMask(new BlockDiagonalGappyKeysMask(...sequences), blockTables, pageSize);
  }
}

/** The same, and causal: the last query of a sequence is at the position of its last key (bottom-right). */
export class PagedBlockDiagonalCausalWithOffsetGappyKeysMask extends PagedKeysMask {
  /** Throws   ConfigError as that of {@link PagedBlockDiagonalGappyKeysMask} */
  static fromSeqlens(
    qSeqlens: readonly number[],
    kvSeqstarts: readonly number[],
    kvSeqlens: readonly number[],
    blockTables: BlockTables,
    pageSize: number,
  ): PagedBlockDiagonalCausalWithOffsetGappyKeysMask {
    const path = `${PagedBlockDiagonalCausalWithOffsetGappyKeysMask.name}.fromSeqlens`;
    const sequences = pagedSequences(path, qSeqlens, kvSeqstarts, kvSeqlens, spaceOf(blockTables, pageSize));
    const unpaged = new BlockDiagonalCausalWithOffsetGappyKeysMask(...sequences);
    return new PagedBlockDiagonalCausalWithOffsetGappyKeysMask(unpaged, blockTables, pageSize);
  }
}

function pagedSequences(
  path: string,
  qSeqlens: readonly number[],
  kvSeqstarts: readonly number[],
  kvSeqlens: readonly number[],
  space: number,
) {
  return [packed(`${path}.qSeqlens`, qSeqlens), inOwnSpace(`${path}.kv`, kvSeqstarts, kvSeqlens, space)] as const;
}

// Starts that are counted in the space of each sequence.
function inOwnSpace(path: string, starts: readonly number[], lengths: readonly number[], space: number): Sequences {
  expectAsMany(`${path}.starts`, starts, lengths.length);
  const wrong = starts.findIndex((start, i) => !(start >= 0) || start + lengths[i]! > space);
  if (wrong >= 0)
    throw new ConfigError({
      path: `${path}.starts[${wrong}]`,
      problem: 'the keys of the sequence are not in its pages',
      expected: `keys from 0 to ${space - 1}`,
      got: `${lengths[wrong]} keys from ${starts[wrong]} on`,
    });
  return withGaps(path, [...starts.map((start, i) => start + i * space), starts.length * space], lengths);
}
