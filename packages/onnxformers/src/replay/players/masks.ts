// Masks of recorded cases.
import {
  and,
  equal,
  greater,
  logicalNot,
  type Mask,
  type SequenceContext,
  type Tensor,
  unsqueeze,
  type Value,
  withContext,
} from '@onnxformers/core';
import { fromXFormersMask } from '../../xformers/index';
import type { FixtureCase } from '../fixture-set';
import { recorded } from '../play';

/** Sizes of one attention. */
export interface Sizes {
  readonly batch: number;
  readonly heads: number;
  readonly seq: number;
  readonly kvSeq: number;
}

/** What a mask adds to a context. */
export interface Masking {
  readonly mask: Mask<Value>;
  readonly bias?: Value;
}

/** The attention mask of a case, wrapped as its call says. */
export function maskOf(given: Value | undefined, sizes: Sizes, { call }: Pick<FixtureCase, 'call'>): Masking | undefined {
  if (!given) return undefined;
  const multiplicative = call.att_mask_as === 'AttentionMask.from_multiplicative';
  const keep = multiplicative ? logicalNot(equal(given, 0)) : given;
  return fromXFormersMask(keep, { ...sizes, ...(recorded.compat && { compat: recorded.compat }) });
}

/** A key padding mask [batch, seq] or [batch, 1, seq], bool or additive. */
export function paddingOf(given: Value | undefined): Masking | undefined {
  if (!given) return undefined;
  const keep = given.dtype === 'bool' ? given : greater(given, Number.NEGATIVE_INFINITY);
  if (keep.rank === 2) return { mask: { kind: 'keys', keep } };
  return { mask: { kind: 'tensor', keep: unsqueeze(keep, [1]) } };
}

/** Several masks together. */
export function masked(ctx: SequenceContext, ...masks: readonly (Masking | undefined)[]): SequenceContext {
  const given = masks.filter((m) => m !== undefined);
  const bias = given.find((m) => m.bias)?.bias;
  return withContext(ctx, { mask: and(ctx.mask, ...given.map((m) => m.mask)), ...(bias && { bias }) });
}

// ---- Patterns that the original stores sparsely -----------------------------------------------------------------------

const densest = 0.3;

/** The positions that its sparse form keeps: of those allowed, a multiple of four, in row-major order. */
export function roundedDown(keep: Tensor): Tensor {
  const data = Uint8Array.from(keep.data as Uint8Array);
  let left = 4 * Math.floor(data.reduce((n, x) => n + x, 0) / 4);
  for (let i = 0; i < data.length; i++) if (data[i] && left-- <= 0) data[i] = 0;
  return { ...keep, data };
}

/** True where a pattern is stored sparsely. */
export const isSparse = (keep: Tensor): boolean =>
  (keep.data as Uint8Array).reduce((n, x) => n + x, 0) / keep.data.length <= densest;

interface LocalConfig {
  readonly window_size?: number | null;
  readonly causal?: boolean | null;
  readonly force_sparsity?: boolean | null;
}

/** The mask under which local attention ran: its own pattern, where that was stored sparsely, and the user's. */
export function localMask(config: LocalConfig, seq: number, user: Tensor | undefined): Tensor | undefined {
  const { window_size, causal, force_sparsity } = config;
  const size = window_size ?? 5;
  const near = (i: number, j: number) => (causal ? j <= i && i - j <= size : Math.abs(i - j) <= (size - 1) / 2);
  const data = Uint8Array.from({ length: seq * seq }, (_, at) => Number(near(Math.floor(at / seq), at % seq)));
  const pattern: Tensor = { dtype: 'bool', dims: [seq, seq], data };
  if (!force_sparsity && !isSparse(pattern)) return user;
  const kept = roundedDown(pattern);
  if (!user) return kept;
  if (user.data.length !== data.length) return user;
  const allowed = (x: number | bigint) => (user.dtype === 'bool' ? x !== 0 : x !== Number.NEGATIVE_INFINITY);
  const both = (kept.data as Uint8Array).map((x, i) => Number(x && allowed(user.data[i]!)));
  return roundedDown({ ...kept, data: both });
}
