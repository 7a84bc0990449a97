// A linear map with a low-rank update, as two small products besides the large one.
import { operandsOf } from '../ir/define-op';
import { madeBy, type Value } from '../ir/graph';
import { defineReasons } from '../lower/reason';
import { refuse, rule } from '../lower/rule';
import { add, mul } from '../ops/elementwise';
import { LowRankUpdate } from '../ops/low-rank';
import { Linear, linear } from '../ops/matmul';

const own = defineReasons({
  storedUpdate: () => 'the update is stored, so it becomes part of the weight',
});

/** x (w + s · b a)ᵀ → x wᵀ + s · (x aᵀ) bᵀ, where a or b is an input; stored ones are added to the weight when the model is written. */
export const splitLowRank = rule('Linear(LowRankUpdate) → Linear + Linear(Linear)', Linear, (node) => {
  const { x, weight: made, bias } = operandsOf(Linear, node.operands);
  const update = madeBy(made, LowRankUpdate);
  if (!update) return undefined;
  const { weight, b, a } = operandsOf(LowRankUpdate, update.operands);
  if (!dependsOnInput(b) && !dependsOnInput(a)) return refuse(own.storedUpdate());
  return {
    covers: node.outputs,
    emit(get) {
      const narrow = linear(linear(get(x), get(a)), get(b));
      return [add(linear(get(x), get(weight), bias && get(bias)), mul(narrow, update.attrs.scale))];
    },
  };
});

const dependsOnInput = (v: Value): boolean =>
  v.graph.root.inputs.includes(v) || (v.producer?.operands.some((o) => o !== undefined && dependsOnInput(o)) ?? false);
