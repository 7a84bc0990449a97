// Masks of recorded cases.
import {
  and,
  keyPadding,
  type Mask,
  type SequenceContext,
  type Tensor,
  tensor,
  type Value,
  withContext,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { fromXFormersMask } from '../../import/xformers/index';
import type { FixtureCase } from '../fixture-set';
import { recorded } from '../play';

/** Sizes of one attention. */
export interface Sizes {
  readonly batch: number;
  readonly heads: number;
  readonly seq: number;
  readonly kvSeq: number;
}

/** The part of a context that a mask determines. */
export interface Masking {
  readonly mask: Mask<Value>;
  readonly bias?: Value;
}

/** The attention mask of a case, according to its call. */
export function maskOf(given: Value | undefined, sizes: Sizes, { call }: Pick<FixtureCase, 'call'>): Masking | undefined {
  if (!given) return undefined;
  const multiplicative = call.att_mask_as === 'AttentionMask.from_multiplicative';
  const keep = multiplicative ? ops.logicalNot(ops.equal(given, 0)) : given;
  return fromXFormersMask(keep, { ...sizes, ...(recorded.compat && { compat: recorded.compat }) });
}

/** A key padding mask [batch, seq], bool or additive. */
export function paddingOf(given: Value | undefined): Masking | undefined {
  if (!given) return undefined;
  if (given.dtype === 'bool') return { mask: keyPadding(given) };
  const keep = ops.greater(given, Number.NEGATIVE_INFINITY);
  return { mask: keyPadding(keep), bias: ops.unsqueeze(ops.where(keep, given, 0), [1, 2]) };
}

/**
 * Padding by sequence, if it is given so or, as [batch · heads, 1, seq], is the same for all heads of a sequence; otherwise by head, as for so many
 * sequences of one head.
 */
export function paddingByHead(
  padding: Tensor | undefined,
  heads: number,
): { readonly heads: number; readonly padding: Tensor | undefined } {
  if (padding?.dims.length !== 3) return { heads, padding };
  const [folded, , seq] = padding.dims as [number, number, number];
  const data = Array.from(padding.data as Float32Array);
  const own = (n: number) => data.slice(n * seq, (n + 1) * seq);
  const alike = Array.from({ length: folded }, (_, n) => n).every((n) =>
    own(n).every((x, j) => x === data[(n - (n % heads)) * seq + j]),
  );
  if (!alike) return { heads: 1, padding: tensor(padding.dtype, [folded, seq], data) };
  const rows = Array.from({ length: folded / heads }, (_, b) => own(b * heads)).flat();
  return { heads, padding: tensor(padding.dtype, [folded / heads, seq], rows) };
}

/** Several masks together. */
export function masked(ctx: SequenceContext, ...masks: readonly (Masking | undefined)[]): SequenceContext {
  const given = masks.filter((m) => m !== undefined);
  const bias = given.flatMap((m) => m.bias ?? []).reduce<Value | undefined>((sum, b) => (sum ? ops.add(sum, b) : b), undefined);
  return withContext(ctx, { mask: and(ctx.mask, ...given.map((m) => m.mask)), ...(bias && { bias }) });
}

// ---- Patterns that the original stores sparsely -----------------------------------------------------------------------

const densest = 0.3;

/** The positions that the sparse format keeps: a multiple of four of the allowed ones, in row-major order. */
export function roundedDown(keep: Tensor): Tensor {
  const data = Uint8Array.from(keep.data as Uint8Array);
  let left = 4 * Math.floor(data.reduce((n, x) => n + x, 0) / 4);
  for (let i = 0; i < data.length; i++) if (data[i] && left-- <= 0) data[i] = 0;
  return { ...keep, data };
}

/** True where a pattern is stored sparsely. */
export const isSparse = (keep: Tensor): boolean =>
  (keep.data as Uint8Array).reduce((n, x) => n + x, 0) / keep.data.length <= densest;
