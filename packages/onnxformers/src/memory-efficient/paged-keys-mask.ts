// Keys in pages: every sequence reads its own list of pages of one pool, in the order of its block table.
import { ConfigError, describe, type Mask, materialize, type Tensor, tensor } from '@onnxformers/core';
import { AttentionBias, type Batched, type Pages } from './attention-bias';
import type { PackedQueriesMask } from './block-diagonal-masks';
import { counts, expectAsMany, type Sequences } from './sequences';

/** For each sequence the numbers of its pages, all lists of the same length. Entries behind its last key are not read. */
export type BlockTables = readonly (readonly number[])[];

/** The number of keys for which each sequence has pages. Throws ConfigError for a page size below 1. */
export function spaceOf(tables: BlockTables, pageSize: number): number {
  if (Number.isSafeInteger(pageSize) && pageSize > 0) return (tables[0]?.length ?? 0) * pageSize;
  const expected = 'an integer of at least 1';
  throw new ConfigError({ path: 'pageSize', problem: 'not a page size', expected, got: describe(pageSize) });
}

/** A mask over the pages of each sequence, one list of pages after another. */
export abstract class PagedKeysMask extends AttentionBias {
  override readonly pages: Pages<Tensor>;

  /** Throws   ConfigError for a table that does not fit, or has no page for a key */
  constructor(
    readonly unpaged: PackedQueriesMask,
    tables: BlockTables,
    pageSize: number,
  ) {
    super();
    const space = spaceOf(tables, pageSize);
    this.pages = { table: tableOf(`${new.target.name}.blockTables`, tables, space, pageSize, unpaged.keys), size: pageSize };
  }

  get mask(): Mask<Tensor> {
    return this.unpaged.mask;
  }
  override get batched(): Batched | undefined {
    return this.unpaged.batched;
  }
  override get lengthsOf(): ReadonlyMap<Tensor, Tensor> {
    return this.unpaged.lengthsOf;
  }

  /** Throws   ConfigError: keys in pages have no order among all sequences that the axes of a bias could have */
  override addBias(): never {
    throw new ConfigError({
      path: `${this.constructor.name}.addBias`,
      problem: 'keys in pages cannot have a bias',
      hint: 'Add it to the mask without pages, and pass the keys in the order of the sequences',
    });
  }

  /** As `splitQueries` of the mask without pages. */
  splitQueries(x: Tensor): readonly Tensor[] {
    return this.unpaged.splitQueries(x);
  }

  protected override visible(seq: number, kvSeq: number): ArrayLike<number> {
    const { table, size } = this.pages;
    const logical = materialize(this.mask, { seq, kvSeq: table.data.length * size }).data as Uint8Array;
    const rows = table.data.length * size;
    const seen = new Uint8Array(seq * kvSeq);
    for (let row = 0; row < rows; row++) {
      const physical = Number(table.data[Math.floor(row / size)]) * size + (row % size);
      for (let query = 0; query < seq; query++) if (logical[query * rows + row]) seen[query * kvSeq + physical] = 1;
    }
    return seen;
  }
}

// Pages without a key of their sequence become page 0, so that every entry can be gathered.
function tableOf(path: string, tables: BlockTables, space: number, size: number, { starts, lengths }: Sequences): Tensor {
  expectAsMany(path, tables, lengths.length);
  const width = space / size;
  const entries = tables.flatMap((row, sequence) => {
    expectAsMany(`${path}[${sequence}]`, row, width);
    const first = starts[sequence]! - sequence * space;
    const end = first + lengths[sequence]!;
    const used = row.map((page, i) => (i * size < end && (i + 1) * size > first && first < end ? page : 0));
    return counts(`${path}[${sequence}]`, used);
  });
  return tensor('int64', [lengths.length, width], entries);
}
