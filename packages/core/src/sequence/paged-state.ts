// Paged KV cache: it stays in the runtime's memory, in pools of blocks that kernels update in place. Kwon et al. 2023, https://arxiv.org/abs/2309.06180
import { type Dim, mulDims, subDims } from '../dim/dim';
import { ConfigError, checkOptions } from '../error';
import type { GraphBuilder, Pool, Value } from '../ir/graph';
import { pagedAppend } from '../ops/paged';
import { ioState } from './io-state';
import type { CallSizes, State } from './types';

/** Name of the size of a row of the block table. */
export const tableDim = 'table_blocks';

/**
 * Keys and values are kept in pools of blocks, `[blocks, blockSize, kv_heads, head_dim]` each, one for each layer with a cache. They are not
 * inputs or outputs: only `past_lengths` int64 [batch] (positions in use before this call; default none) and `block_table` int32 [batch, table_blocks]
 * (the blocks of each sequence; by default every sequence of the batch has the same number of blocks) are inputs. States of cross attention and
 * of recurrent mechanisms are inputs and outputs.
 *
 * Throws   ConfigError when the sizes are wrong
 */
export function pagedState(g: GraphBuilder, call: CallSizes, pool: Pool): State {
  checkPool(pool);
  const others = ioState(g, call, 1);
  const { pastLengths } = others;
  const room = subDims(mulDims(tableDim, pool.blockSize), call.seq);
  g.limit({ input: 'past_lengths', min: 0, max: room, problem: 'the block table has too few blocks for the new tokens' });
  const table = blockTable(g, [call.batch, tableDim], pool, [pastLengths], call.seq);
  return { ...others, append: (name, rows) => appendPaged(g, pool, { name, rows, pastLengths, table }) };
}

/** The block table, which assigns blocks to sequences: computed by the runner, or fed. */
export function blockTable(g: GraphBuilder, dims: readonly Dim[], pool: Pool, from: readonly Value[], seq: Dim): Value {
  // Entries beyond the positions in use are not read; some libraries mark them by −1.
  const problem = 'a block index outside of the pool';
  g.limit({ input: 'block_table', min: -1, max: pool.blocks - 1, problem, by: 'state.paged.blocks' });
  return g.derivedInput('block_table', { dtype: 'int32', dims }, 'blockTable', from, seq, pool);
}

/** Appends keys or values to the pool of this layer. */
export function appendPaged(
  g: GraphBuilder,
  { blocks, blockSize }: Pool,
  o: { readonly name: string; readonly rows: Value; readonly pastLengths: Value; readonly table: Value },
): Value {
  const { name, rows, pastLengths, table } = o;
  return pagedAppend(
    g.state(`${g.where}.${name}_pool`, rows.dtype, poolDims(blocks, blockSize, rows), 0),
    rows,
    pastLengths,
    table,
  );
}

/** Throws ConfigError for sizes that no kernel supports. */
export function checkPool(pool: Pool): void {
  checkOptions('state.paged', pool, { blocks: true, blockSize: true });
  const { blocks, blockSize } = pool;
  if (!Number.isInteger(blocks) || blocks < 1)
    throw new ConfigError({
      path: 'state.paged.blocks',
      problem: 'not a number of blocks',
      expected: 'an integer >= 1',
      got: String(blocks),
    });
  if (!Number.isInteger(Math.log2(blockSize)) || blockSize < 16)
    throw new ConfigError({
      path: 'state.paged.blockSize',
      problem: 'not a block size',
      expected: 'a power of two of at least 16, in positions',
      got: String(blockSize),
    });
}

/** The dims of a pool for these keys or values. */
const poolDims = (blocks: number, blockSize: number, rows: Value): readonly Dim[] => [
  blocks,
  blockSize,
  rows.dims[1]!,
  rows.dims[3]!,
];
