// Which experts process a token, and with what weights.
import type { Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';

// What only some gates and limits need reads its ops from the graph, so that a bundle need not contain them.

/** One choice of an expert for each token. */
export interface Choice {
  /** int64 [tokens] */
  readonly expert: Value;
  /** The factor of the expert's result, float32 [tokens]. */
  readonly weight: Value;
  /** 1 at the expert, 0 elsewhere, int64 [tokens, experts]. */
  readonly member: Value;
}

/** The experts with the largest gates. The second is chosen by the largest logit plus noise. */
export interface Routing {
  readonly choices: readonly Choice[];
  /** softmax of the logits, float32 [tokens, experts] */
  readonly gates: Value;
}

/** What ensures that a sum of two gates is not 0: the epsilon of float32. */
const smallest = 2 ** -23;

/**
 * The one or two experts of each token.
 *
 *     g = softmax(logits)
 *     i₁ = argmax logits, i₂ = argmax over the others of logits + noise
 *
 * Shapes   logits, noise float32 [tokens, experts]
 */
export function routeByGate(logits: Value, count: 1 | 2, noise: Value | undefined): Routing {
  const gates = ops.softmax(logits);
  const first = choiceOf(ops.argMax(logits, 1, { keepDims: false }), gates);
  if (count === 1) return { choices: [first], gates };
  const others = ops.where(ops.equal(first.member, 1), Number.NEGATIVE_INFINITY, noise ? ops.add(logits, noise) : logits);
  return { choices: [first, choiceOf(ops.argMax(others, 1, { keepDims: false }), gates)], gates };
}

function choiceOf(expert: Value, gates: Value): Choice {
  const member = ops.oneHot(expert, gates.dims[1]!, { dtype: 'int64' });
  const weight = ops.reduceSum(ops.mul(gates, ops.cast(member, gates.dtype)), [1], { keepDims: false });
  return { expert, weight, member };
}

/** A choice that has a slot of its expert, or not. */
export interface Placed extends Choice {
  /** Number of the slot, int64 [tokens]. */
  readonly slot: Value;
  /** False for a token that is dropped, bool [tokens]. */
  readonly kept: Value;
}

/**
 * The expert t mod experts for the token with the number t, weight 1.
 *
 * @param real 1 for the tokens that are counted, int64 [tokens]; absent: all
 */
export function routeInTurn(tokens: Value, experts: number, real: Value | undefined): Placed {
  const { ops } = tokens.graph;
  const rank = real ? ops.sub(ops.cumSum(real, 0), 1) : ops.iota(tokens, tokens.dims[0]!);
  const expert = ops.mod(rank, experts);
  const kept = ops.greater(real ?? ops.fill(tokens, [tokens.dims[0]!], 1, 'int64'), 0);
  const member = ops.oneHot(expert, experts, { dtype: 'int64' });
  return { expert, member, weight: ops.cast(kept, 'float32'), slot: ops.div(rank, experts), kept };
}

/** The slots of each choice: those of an expert in the order of tokens, second choices after all first ones. */
export function slotsOf(choices: readonly Choice[], real: Value | undefined): readonly Value[] {
  let taken: Value | undefined;
  return choices.map(({ member }) => {
    const { ops } = member.graph;
    const own = real ? ops.mul(member, ops.unsqueeze(real, [1])) : member;
    const rank = ops.sub(ops.cumSum(own, 0), 1);
    const slot = ops.reduceSum(ops.mul(taken ? ops.add(rank, taken) : rank, member), [1], { keepDims: false });
    const count = ops.reduceSum(own, [0]);
    taken = taken ? ops.add(taken, count) : count;
    return slot;
  });
}

/** Choices in the first `limit` slots of their experts keep their weight, others get 0. `limit`: int64 [] */
export function limited(choices: readonly Choice[], real: Value | undefined, limit: Value): readonly Placed[] {
  const slots = slotsOf(choices, real);
  return choices.map((choice, i) => {
    const { ops } = limit.graph;
    const fits = ops.less(slots[i]!, limit);
    const kept = real ? ops.logicalAnd(fits, ops.greater(real, 0)) : fits;
    return { ...choice, slot: slots[i]!, kept, weight: ops.where(kept, choice.weight, 0) };
  });
}

/** The weights of two choices divided by their sum; those of one choice as they are. */
export function normalized<C extends Choice>(choices: readonly C[]): readonly C[] {
  if (choices.length === 1) return choices;
  const { ops } = choices[0]!.weight.graph;
  const sum = ops.max(
    choices.map((c) => c.weight).reduce((a, b) => ops.add(a, b)),
    smallest,
  );
  return choices.map((c) => ({ ...c, weight: ops.div(c.weight, sum) }));
}

/**
 * The loss that balances experts: the mean over experts of mean gate times share of the tokens whose first choice they are.
 *
 * @param real 1 for the tokens that count, int64 [tokens]; absent: all
 */
export function balanceLoss({ gates, choices }: Routing, real: Value | undefined): Value {
  const weights = real && ops.cast(ops.unsqueeze(real, [1]), 'float32');
  const count = weights && ops.max(ops.reduceSum(weights, [0]), 1);
  const mean = (x: Value): Value => (weights ? ops.div(ops.reduceSum(ops.mul(x, weights), [0]), count) : ops.reduceMean(x, [0]));
  const share = mean(ops.cast(choices[0]!.member, 'float32'));
  return ops.reduceMean(ops.mul(mean(gates), share), [0, 1], { keepDims: false });
}
