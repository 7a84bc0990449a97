// Options of an attention call, and how functions of scores and weights take part in it.
import type { Modifier, Modifiers } from '../expression/step';
import type { Op } from '../ir/define-op';
import type { Value } from '../ir/graph';
import type { Mask } from '../mask/mask';
import type { AttendAttrs } from './attend-parts';

/** Options of {@link attendOp}. */
export interface AttendOpOptions {
  readonly mask: Mask<Value>;
  /** int64 [batch]: keys before query 0 (query offset), at least 0; only the first `queryOffset + seq` keys exist. Absent: `kv_seq − seq`. */
  readonly queryOffset?: Value;
  /** [1 or batch, 1 or heads, seq, kv_seq], added to the scores. Finite: express −∞ by the mask, see {@link fromAdditive}. */
  readonly bias?: Value;
  /** One more logit [heads] in each softmax, whose share of the weights has no value (attention sink). */
  readonly sinks?: Value;
  /** Default 1 / √head_dim. */
  readonly scale?: number;
  /** Scores become `softcap · tanh(score / softcap)` before bias and mask. */
  readonly softcap?: number;
  /** A function of the scores, after softcap and bias and before the mask; made by {@link scoreMod}. */
  readonly scoreMod?: ScoreMod;
  /** A function of the weights, after the softmax and before dropout; made by {@link weightMod}. */
  readonly weightMod?: WeightMod;
  /** Weights are kept, and divided by `1 − probability`, where the uniform noise float32 [batch, heads, seq, kv_seq] is `>= probability`. */
  readonly dropout?: { readonly probability: number; readonly noise: Value };
}

/** What a function of scores or weights depends on; as of a mask. */
interface PlaceDependent {
  readonly comparesPositions: boolean;
  readonly measuresDistance: boolean;
}
/** A function of the scores; made by {@link scoreMod}. */
export interface ScoreMod extends PlaceDependent {
  /** The call with all of it that kernels know as mask, scale, softcap and bias, and the rest, if there is any. */
  resolve(
    q: Value,
    k: Value,
    options: AttendOpOptions,
  ): { readonly options: AttendOpOptions; readonly rest?: Modified<'scores'> };
}
/** A function of the weights; made by {@link weightMod}. */
export interface WeightMod extends PlaceDependent {
  /** What it becomes for queries q. */
  resolve(q: Value): Modified<'weights'>;
}
/** What the op for modified attention does instead of Attend, which no kernel computes. */
export interface Modified<N extends keyof Modifiers<Value>> {
  readonly op: Op<ModifiedAttrs>;
  readonly modifiers: { readonly [name in N]: Modifier<Value> };
}

/** Attributes of an attention with modified scores or weights; tables are operand indices. */
export type ModifiedAttrs = AttendAttrs & { readonly modifiers: Modifiers<number> };
