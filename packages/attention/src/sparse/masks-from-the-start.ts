// Masks beside patterns that count positions from the start of a row, where padding on the left would shift them.
import type { MaskKind } from '@onnxformers/core';

/** All kinds of masks except those of padding that may be on the left. */
export const masksFromTheStart = [
  'causal',
  'causalFromTopLeft',
  'window',
  'windowFromTopLeft',
  'dilated',
  'prefix',
  'global',
  'blocks',
  'random',
  'lengths',
  'documents',
  'documentIds',
  'dense',
  'expression',
  'or',
  'not',
] as const satisfies readonly MaskKind[];
