// Rules between ops of core: they do not belong to a block, so every model has them.
import type { Rule } from '../lower/rule';
import { useAlignedHeads } from './attend-aligned';
import { biasesOfAttend } from './attend-biases';
import { useBlocks } from './attend-blocks';
import { useChunks, useFlexChunks } from './attend-chunks';
import { useFewQueries } from './attend-few-queries';
import { useGlobalTokens } from './attend-global';
import { useLayout } from './attend-layout';
import { usePackedChunks } from './attend-packed-chunks';
import { useSpread } from './attend-spread';
import { unpackRows, useGatherBlockQuantized } from './gather-block-quantized';
import { useNarrowRows } from './gather-narrow';
import { keepApart } from './keep-apart';
import { splitLowRank } from './low-rank';
import { useMatMulNBits } from './mat-mul-n-bits';
import { useBiasInWeights } from './norm-biases';
import { cosineAfterRangeReduction, sineAfterRangeReduction } from './range-reduction';
import { useOwnScalars } from './scalar-sizes';

/** Rules that `compile` adds to those of a model's blocks. */
export const coreRules: readonly Rule[] = [
  useMatMulNBits,
  useGatherBlockQuantized,
  unpackRows,
  useNarrowRows,
  splitLowRank,
  sineAfterRangeReduction,
  cosineAfterRangeReduction,
  ...keepApart,
  useBlocks,
  useAlignedHeads,
  usePackedChunks,
  useFewQueries,
  useChunks,
  useFlexChunks,
  useGlobalTokens,
  useLayout,
  useSpread,
  ...biasesOfAttend,
  useBiasInWeights,
  useOwnScalars,
];
