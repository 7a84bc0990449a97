// The example of a block at realistic sizes.
import { type AnyModule, kinds } from '@onnxformers/core';
import { zoo } from '../index';

type AnyBlock = (typeof zoo.blocks)[number];

/** Sizes of configs. */
export interface ConfigSizes {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly seq: number;
  readonly kvSeq: number;
  readonly window?: number;
}

/** The blocks of a name; several kinds may have one. */
export const blocksCalled = (name: string, kind?: string): readonly AnyBlock[] =>
  zoo.blocks.filter((b) => b.blockName === name && (kind === undefined || b.kind === kind));

/** A block's first example with the sizes in it, at any depth, replaced by these. */
export function exampleAt(block: AnyBlock, sizes: ConfigSizes): AnyModule {
  const config = resized({ name: block.blockName, ...block.definition.examples[0] }, replacements(block, sizes));
  return zoo.parse(block.kind, config) as unknown as AnyModule;
}

/** The size for a field name, or a list of sizes; undefined: the block's own. */
type Replacements = Readonly<Record<string, number | readonly unknown[] | undefined>>;

function replacements({ kind }: AnyBlock, s: ConfigSizes): Replacements {
  const { heads, kvHeads, headDim, seq, kvSeq, window = 129 } = s;
  const ofHeads = 'ofHeads' in kinds[kind];
  return {
    dim: ofHeads ? headDim : heads * headDim,
    heads,
    kvHeads,
    headDim,
    hidden: undefined,
    seqLen: ofHeads ? kvSeq : seq,
    vocabSize: 8192,
    window,
    landmarks: 64,
    // Of a layout of at least two blocks.
    blockSize: Math.ceil(kvSeq / 2),
    grid: cellsOf(seq),
    // Of each query its own key and the one before it.
    keys: [Array.from({ length: Math.max(seq, kvSeq) }, (_, i) => (i === 0 ? [0] : [i - 1, i]))],
  };
}

/** Rows and columns of the grid closest to a square. */
export function cellsOf(seq: number): readonly [number, number] {
  let rows = Math.floor(Math.sqrt(seq));
  while (seq % rows !== 0) rows--;
  return [rows, seq / rows];
}

function resized(x: unknown, by: Replacements): unknown {
  if (Array.isArray(x)) return x.map((part) => resized(part, by));
  if (typeof x !== 'object' || x === null) return x;
  // Of an image, a window is a square of a few rows and columns.
  if ('grid' in x && by.window !== undefined) {
    const { window: _, ...others } = by;
    return resized(x, others);
  }
  return Object.fromEntries(
    Object.entries(x).flatMap(([key, value]) => {
      const size = by[key];
      if (Array.isArray(value) && Array.isArray(size)) return [[key, size]];
      if (!Object.hasOwn(by, key) || typeof value !== 'number' || Array.isArray(size)) return [[key, resized(value, by)]];
      return size === undefined ? [] : [[key, size]];
    }),
  );
}
