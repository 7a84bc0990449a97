// Which token comes next: rules that change logits, then the likeliest token or a draw.
import { randomStream } from '@onnxformers/core';
import type { GenerationSettings } from './settings';

/** What has been generated when a token is chosen. */
export interface Progress {
  /** The prompt and the new tokens. */
  readonly ids: readonly number[];
  /** New tokens so far. */
  readonly step: number;
  /** New tokens at most. */
  readonly steps: number;
}

/** The largest logit; the first of several. */
export const likeliest = (logits: Float32Array): number => logits.reduce((best, x, i) => (x > logits[best]! ? i : best), 0);

const never = Number.NEGATIVE_INFINITY;

/** Tokens that would complete a group of `size` tokens that has occurred. */
function repeated(ids: readonly number[], size: number): number[] {
  const begun = ids.slice(ids.length - size + 1);
  const places = Array.from({ length: Math.max(0, ids.length - size + 1) }, (_, at) => at);
  return places.filter((at) => begun.every((id, i) => ids[at + i] === id)).map((at) => ids[at + size - 1]!);
}

/** Changes logits in place as the settings say, before a token is chosen. */
function restrict(logits: Float32Array, { ids, step, steps }: Progress, s: GenerationSettings): void {
  const only = (id: number): void => {
    const kept = Number.isFinite(logits[id]) ? logits[id]! : 0;
    logits.fill(never);
    logits[id] = kept;
  };
  const forbid = (list: readonly number[]): void => {
    for (const id of list) if (id < logits.length) logits[id] = never;
  };
  const { repetition_penalty: penalty, no_repeat_ngram_size: group } = s;
  if (penalty !== 1) for (const id of new Set(ids)) logits[id]! *= logits[id]! > 0 ? 1 / penalty : penalty;
  if (group > 0) forbid(repeated(ids, group));
  if (step < s.min_new_tokens) forbid(s.ends);
  forbid(s.suppressed);
  if (step === 0) forbid(s.suppressedFirst);
  if (step === 0 && s.forcedFirst !== undefined) only(s.forcedFirst);
  if (step === steps - 1 && s.forcedLast !== undefined) only(s.forcedLast);
}

/** Tokens that may be drawn with their probabilities, the likeliest first. */
export function candidates(
  logits: Float32Array,
  { temperature, top_k, top_p, min_p }: GenerationSettings,
): readonly { readonly id: number; readonly p: number }[] {
  const order = Array.from(logits, (x, id) => ({ id, x: x / temperature })).sort((a, b) => b.x - a.x || a.id - b.id);
  const best = order[0]!.x;
  const some = (top_k > 0 ? order.slice(0, top_k) : order).filter(({ x }) => x > never);
  const weights = some.map(({ x }) => Math.exp(x - best));
  const sum = weights.reduce((a, b) => a + b, 0);
  let before = 0;
  const kept = some.flatMap(({ id }, i) => {
    const weight = weights[i]!;
    // The one that reaches the sum is kept too, and the likeliest always.
    const within = i === 0 || (before < top_p * sum && weight >= min_p);
    before += weight;
    return within ? [{ id, weight }] : [];
  });
  const total = kept.reduce((a, { weight }) => a + weight, 0);
  return kept.map(({ id, weight }) => ({ id, p: weight / total }));
}

/** Chooses the next token of a sequence. */
export type Choose = (logits: Float32Array, progress: Progress) => number;

/** Chooses as the settings say. Draws depend on the seed alone. */
export function chooser(s: GenerationSettings): Choose {
  const random = randomStream(s.seed, 'generation');
  const draw = new Float64Array(1);
  return (given, progress) => {
    const logits = Float32Array.from(given);
    restrict(logits, progress, s);
    if (!s.do_sample) return likeliest(logits);
    random.uniform(draw);
    let rest = draw[0]!;
    const all = candidates(logits, s);
    for (const { id, p } of all) {
      rest -= p;
      if (rest < 0) return id;
    }
    return all.at(-1)!.id;
  };
}
