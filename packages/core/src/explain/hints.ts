// What a user could change so that an attention reaches a better kernel.
import type { Model } from '../compile/compile';
import type { Node } from '../ir/graph';
import type { Decision } from '../lower/lower';
import type { AttentionForecast } from './forecast';

interface Situation {
  readonly model: Model;
  readonly decision: Decision;
  readonly nodes: readonly Node[];
  readonly forecasts: readonly AttentionForecast[];
}

/** One piece of advice and when it is worth giving. */
interface Advice {
  when(s: Situation): boolean;
  readonly text: string;
}

const slow = ({ forecasts }: Situation): boolean => forecasts.some((f) => f.kernel === 'MATH');
const runs = ({ forecasts }: Situation, name: string): boolean => forecasts.some((f) => f.kernel === name);
const noted = ({ forecasts }: Situation, text: RegExp): boolean =>
  forecasts.some((f) => f.note !== undefined && text.test(f.note));
const reasons = ({ decision }: Situation): string => decision.refused.map((r) => r.reason).join('; ');
const overScores = ({ decision }: Situation): boolean => /mask in its bias|mask as a tensor/.test(decision.chosen);
// Reasons end with the mask in words.
const masked = (s: Situation, kind: string): boolean =>
  s.decision.refused.some((r) => (/mask[^:]*: (.*)$/.exec(r.reason)?.[1] ?? '').split(/, | or /).includes(kind));
const isCuda = ({ model }: Situation): boolean => model.target.name === 'cuda';

const advices: readonly Advice[] = [
  {
    when: (s) => isCuda(s) && s.model.computes === 'float32' && s.decision.chosen !== 'kept',
    text: "dtype: 'float16' or 'bfloat16' reaches flash attention; in float32 the GPU has none",
  },
  {
    when: (s) => /needs cuDNN/.test(reasons(s)),
    text: 'with cuDNN 9.3 or newer installed (not 9.10.0 or 9.10.1), MultiHeadAttention can run',
  },
  {
    when: (s) => noted(s, /lengths of a padded batch/),
    text: "layout: 'packed' avoids padding, and its kernel needs no cuDNN",
  },
  {
    when: (s) => slow(s) && noted(s, /channels of a head/),
    text: 'heads of a multiple of 8 channels reach the fast kernels',
  },
  {
    when: (s) => overScores(s) && masked(s, 'keyPadding'),
    text: 'where padding is on the right, an input lengths [batch] instead of attention_mask spares the tensor over all scores',
  },
  {
    when: (s) => overScores(s) && masked(s, 'lengths') && isCuda(s),
    text: "layout: 'packed' spares the tensor over all scores",
  },
  {
    when: (s) => /prefill into empty cache/.test(reasons(s)),
    text: "assumptions: ['prefill into empty cache'] if several new rows come in the first call alone",
  },
  {
    when: (s) => runs(s, 'EFFICIENT_ATTENTION') && noted(s, /multiple of/),
    text: 'pad sequences to a multiple of 8 positions',
  },
  {
    when: (s) => s.decision.chosen === 'decomposed' && /head_dim \d+ is no multiple of 8/.test(reasons(s)),
    text: 'heads of a multiple of 8 channels reach GroupQueryAttention',
  },
];

/** What could be changed at one place. */
export function hintsFor(
  model: Model,
  decision: Decision,
  nodes: readonly Node[],
  forecasts: readonly AttentionForecast[],
): readonly string[] {
  const situation = { model, decision, nodes, forecasts };
  return advices.filter((a) => a.when(situation)).map((a) => a.text);
}
