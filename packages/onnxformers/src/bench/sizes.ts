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

/** The size for a field name; undefined: the block's own. */
function replacements({ kind }: AnyBlock, s: ConfigSizes): Readonly<Record<string, number | undefined>> {
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
  };
}

function resized(x: unknown, by: Readonly<Record<string, number | undefined>>): unknown {
  if (Array.isArray(x)) return x.map((part) => resized(part, by));
  if (typeof x !== 'object' || x === null) return x;
  return Object.fromEntries(
    Object.entries(x).flatMap(([key, value]) => {
      if (!Object.hasOwn(by, key) || typeof value !== 'number') return [[key, resized(value, by)]];
      return by[key] === undefined ? [] : [[key, by[key]]];
    }),
  );
}
