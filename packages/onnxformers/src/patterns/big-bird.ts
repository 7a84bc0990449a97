// Big bird as a config of blocks: a window, global blocks and random blocks.
import { checkArguments } from '@onnxformers/core';
import { type BigBirdLayoutOptions, bigBirdLayout } from './layouts';

/** Options of {@link bigBird}. */
export interface BigBirdOptions extends BigBirdLayoutOptions {
  /** No query attends to a later key; the layout is unidirectional too. Default false. */
  readonly causal?: boolean;
}

/**
 * The config of block-sparse attention in the pattern of Big Bird: a sliding window, global blocks, and random blocks of each row. With fixed numbers of blocks its cost
 * grows linearly with `seqLen`, except that the global blocks attend to all keys.
 *
 * Throws   ShapeError for sizes and numbers that do not fit
 * Source   Zaheer et al. 2020, https://arxiv.org/abs/2007.14062
 * Example  const attention = zoo.parse('attention', bigBird({ seqLen: 512, heads: 8, blockSize: 64, randomBlocks: 2 }));
 */
export function bigBird(options: BigBirdOptions) {
  checkArguments('bigBird', { options });
  const { causal = false, ...o } = options;
  const { blockSize = 16 } = o;
  const { dims, data } = bigBirdLayout({ ...o, ...(causal && { direction: 'unidirectional' as const }) });
  const [heads, blocks] = dims as [number, number];
  const flags = Array.from(data as Uint8Array);
  const rowsOf = (head: number): number[][] =>
    Array.from({ length: blocks }, (_, row) => flags.slice((head * blocks + row) * blocks, (head * blocks + row + 1) * blocks));
  const layout = Array.from({ length: o.perHead ? heads : 1 }, (_, head) => rowsOf(head));
  return { name: 'blocksparse', blockSize, causal, layout } as const;
}
