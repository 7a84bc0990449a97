// Functions of scores and weights, like `score_mod` of FlexAttention: what options of Attend express becomes these options.

import type { Dim } from '../dim/dim';
import { checkLookups, emit } from '../expression/emit';
import { splitHidden } from '../expression/hidden';
import { reads } from '../expression/part';
import { type ScoreForm, scoreForm } from '../expression/score-form';
import type { Alignment, Modifier, Traced } from '../expression/step';
import type { Term, Tree } from '../expression/term';
import { flattened, traceTerm } from '../expression/trace';
import { aFunction, given } from '../given';
import { Value } from '../ir/graph';
import { and } from '../mask/and';
import { expressionOf } from '../mask/expression';
import { type Mask, mapMask } from '../mask/mask';
import { none } from '../mask/none';
import { not } from '../mask/not';
import { knownSizes, placesOf } from '../mask/places';
import { recognize } from '../mask/recognize';
import type { Tensor } from '../tensor/tensor';
import type { AttendOpOptions, Modified, ScoreMod, WeightMod } from './attend-options';
import { scaleOf } from './attend-parts';
import { FlexAttend } from './flex-attend';

/** A table: a value of the graph, or a tensor, which becomes a constant of it. */
export type ModTable = Value | Tensor;
/** The modified score of the query at `q` and the key at `k`. */
export type ScoreFunction = (score: Term, b: Term, h: Term, q: Term, k: Term) => Term<ModTable>;

const places = ['score', 'b', 'h', 'q', 'k'] as const;
const inGraph =
  ({ graph }: Value) =>
  (table: ModTable): Value =>
    table instanceof Value ? table : graph.constant(table);

/**
 * A function of the scores, like `score_mod` of PyTorch's FlexAttention. It is called once, on the score of any query and key (after scale, softcap and bias), the
 * sequence `b`, the query head `h` and the positions `q` and `k` as in {@link maskMod}, and returns the modified score. −∞ as a branch of `select` hides a key.
 *
 *     y = softmax(mask(scoreMod(softcap(scale · q kᵀ) + bias))) v
 *
 * What an attention has an option for becomes this option, so that it gets the same kernels: `score.mul(2)` is a scale, `score.div(c).tanh().mul(c)` is a softcap,
 * `score.add(…)` of anything but the score is a bias [1 or batch, 1 or heads, seq, kv_seq] in the dtype of q, and −∞ is a mask. Any other function is computed on all
 * scores, in float32 and memory seq · kv_seq for each head: the op FlexAttend, which has no kernel.
 *
 * Shapes   tables as in {@link lookup}
 * Throws   ConfigError when the function returns something else, uses operators of JavaScript, forgets a condition, or uses −∞ in another way · ShapeError for tables
 *          that do not fit, here, or when it is used
 * Source   Dong et al. 2024, https://arxiv.org/abs/2412.05496
 * Lowers   scale, softcap, bias and mask: as Attend · elsewhere: primitives
 * Example  const alibi = scoreMod((score, _b, h, q, k) => score.sub(q.sub(k).mul(h.add(1).mul(-Math.LN2).exp())));
 */
export function scoreMod(f: ScoreFunction, { align }: Alignment = {}): ScoreMod {
  given('scoreMod', { f }, { f: aFunction });
  const name = 'scoreMod';
  const tree = traceTerm<ModTable>(name, places, (score, b, h, q, k) => f(score!, b!, h!, q!, k!));
  const { keep, value } = splitHidden(name, tree, true);
  const counted: Alignment = align ? { align } : {};
  const visible = maskOf(name, keep, counted);
  const form = scoreForm(value);
  const whole = flattened(name, value);
  const bias = form?.bias && flattened(name, form.bias);
  return {
    ...dependence(flattened(name, tree)),
    resolve(q, k, { scoreMod: _, ...given }) {
      const options = { ...given, mask: and(given.mask, mapMask(visible, inGraph(q))) };
      const known = form && expressible(form, given) ? form : undefined;
      if (!known) return { options, rest: modifiedBy('scores', whole, counted, q) };
      return { options: { ...options, ...optionsOf(known, k, options), ...(bias && biasOf(bias, counted, q, k, options)) } };
    },
  };
}

/** The modified weight of the query at `q` and the key at `k`. */
export type WeightFunction = (weight: Term, b: Term, h: Term, q: Term, k: Term) => Term<ModTable>;

/**
 * A function of the weights of an attention, after the softmax: `prob_mod` of ONNX's FlexAttention. Arguments as in {@link scoreMod}. A hidden key keeps the weight 0.
 * It is computed on all weights, in memory seq · kv_seq for each head: the op FlexAttend, which has no kernel.
 *
 *     y = weightMod(softmax(mask(softcap(scale · q kᵀ) + bias))) v
 *
 * Shapes   tables as in {@link lookup}
 * Throws   as {@link scoreMod}
 * Source   ONNX FlexAttention, https://onnx.ai/onnx/operators/
 * Lowers   everywhere: primitives
 * Example  const near = weightMod((weight, _b, _h, q, k) => q.sub(k).abs().le(8).select(weight, weight.mul(0.5)));
 */
export function weightMod(f: WeightFunction, { align }: Alignment = {}): WeightMod {
  given('weightMod', { f }, { f: aFunction });
  const name = 'weightMod';
  const tree = traceTerm<ModTable>(name, places, (weight, b, h, q, k) => f(weight!, b!, h!, q!, k!));
  const { value } = splitHidden(name, tree, false);
  const whole = flattened(name, value);
  return { ...dependence(whole), resolve: (q) => modifiedBy('weights', whole, align ? { align } : {}, q) };
}

const dependence = (e: Traced<ModTable>) => ({
  comparesPositions: reads(e, 'q'),
  measuresDistance: reads(e, 'q') && reads(e, 'k'),
});

function modifiedBy<N extends 'scores' | 'weights'>(
  name: N,
  { steps, tables }: Traced<ModTable>,
  counted: Alignment,
  q: Value,
): Modified<N> {
  const modifier: Modifier<Value> = { steps, tables: tables.map(inGraph(q)), ...counted };
  return { op: FlexAttend, modifiers: { [name]: modifier } as { readonly [name in N]: Modifier<Value> } };
}

/** True if the options of the call leave room for those of the form. */
const expressible = ({ scale, softcap }: ScoreForm, o: AttendOpOptions): boolean =>
  (scale === 1 && softcap === undefined) || (scale > 0 && o.softcap === undefined && o.bias === undefined);

const optionsOf = ({ scale, softcap }: ScoreForm, k: Value, o: AttendOpOptions): Partial<AttendOpOptions> => ({
  ...(scale !== 1 && { scale: scaleOf(k, o.scale) * scale }),
  ...(softcap !== undefined && { softcap }),
});

function biasOf(
  { steps, tables: given }: Traced<ModTable>,
  counted: Alignment,
  q: Value,
  k: Value,
  { mask, queryOffset, bias }: AttendOpOptions,
): Partial<AttendOpOptions> {
  const { graph } = q;
  const { add, cast, expand } = graph.ops;
  const [batch, heads, seq] = q.dims as [Dim, Dim, Dim];
  const sizes = { batch, heads, seq, kvSeq: k.dims[2]!, queryOffset };
  const tables = given.map(inGraph(q));
  graph.located('scoreMod', [q, k], () => checkLookups({ steps, ...counted }, tables, knownSizes(mask, sizes)));
  const added = cast(emit({ steps }, tables, { ...counted, at: placesOf(mask, { graph, ...sizes }) }), q.dtype);
  const whole = expand(added, [added.dims[0]!, added.dims[1]!, seq, sizes.kvSeq]);
  return { bias: bias ? add(bias, whole) : whole };
}

function maskOf(name: string, keep: Tree<ModTable> | boolean, counted: Alignment): Mask<ModTable> {
  if (typeof keep === 'boolean') return keep ? none : not(none);
  return recognize(flattened(name, keep), { ...counted, leaf: (part) => expressionOf(part, counted) });
}
