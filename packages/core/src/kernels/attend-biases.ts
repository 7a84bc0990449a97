// Biases of the projections around a softmax attention: equal graphs without the key's bias, and with the value's behind the output projection.
import { operandsOf } from '../ir/define-op';
import { apply, type Get, madeBy, type Node, type Value } from '../ir/graph';
import { weightsAddUp } from '../lower/known-data';
import { defineReasons } from '../lower/reason';
import { reasons } from '../lower/reasons';
import { type Rule, refuse, rule } from '../lower/rule';
import { Attend } from '../ops/attend';
import { type AttendAttrs, attendParts } from '../ops/attend-parts';
import { Linear } from '../ops/matmul';
import { Transpose } from '../ops/movement';
import { Reshape } from '../ops/reshape';
import { byRows, channelsOf, isHeadsFirst, isStored, projectionOf, readOnce, withoutBias } from './projections';

const own = defineReasons({
  keyBiasDropped: () => 'without the bias of the keys, which adds the same number to all scores of a query',
  valueBiasMoved: () => 'with the bias of the values, which the weights of each query add up to once',
  readElsewhere: ({ what }: { readonly what: string }) => `something else reads the ${what}`,
  weightsBelowOne: () =>
    'the weights of a query may add up to less than 1: by sinks, dropout, a bias of −∞, or a mask that hides all keys',
  ofInputs: () => 'a weight or a bias is an input, so that the bias would be computed in every run',
});

/** The same attention with one operand replaced. */
function attendWith(
  { op, operands, attrs, scope, rules, history }: Node<AttendAttrs>,
  old: Value,
  by: Value,
  get: Get,
): readonly Value[] {
  const again = operands.map((v) => (v === old ? by : v && get(v)));
  return by.graph.root.at(scope, () => apply(op, again, attrs), { rules, history });
}

/** softmax(q · (k + b)) = softmax(q · k): the bias of the keys adds the same number, q · b, to all scores of a query. */
export const dropKeyBias: Rule = {
  ...rule('Attend → Attend on keys without bias', Attend, (node, context) => {
    const { k, sinks } = attendParts(node.operands, node.attrs);
    const keys = projectionOf(k);
    if (!keys || !operandsOf(Linear, keys.linear.operands).bias) return undefined;
    if (node.attrs.softcap !== undefined) return refuse(reasons.lacks({ feature: 'softcap' }));
    if (sinks) return refuse(reasons.lacks({ feature: 'sinks' }));
    if (!readOnce(keys, context)) return refuse(own.readElsewhere({ what: 'keys' }));
    const emit = (get: Get): readonly Value[] => attendWith(node, k, withoutBias(keys, get), get);
    return { covers: node.outputs, notes: [own.keyBiasDropped()], emit };
  }),
  early: true,
};

/** W (weights · (v + b)) + c = W (weights · v) + (W b + c), if the weights add up to 1: W b + c is computed when the model is written. */
const moveValueBias: Rule = {
  ...rule('Linear(Attend) → Linear with the bias of the values', Linear, (node, context) => {
    const { x, weight, bias } = operandsOf(Linear, node.operands);
    const merged = madeBy(x, Reshape);
    const turned = merged && madeBy(merged.operands[0], Transpose);
    const attend = turned && madeBy(turned.operands[0], Attend);
    if (!attend || !isHeadsFirst(turned.attrs.perm) || channelsOf(turned.outputs[0]!) !== x.dims.at(-1)) return undefined;
    const { q, v } = attendParts(attend.operands, attend.attrs);
    const values = projectionOf(v);
    const offset = values && operandsOf(Linear, values.linear.operands).bias;
    if (!offset) return undefined;
    const { uses } = context;
    if (!readOnce(values, context)) return refuse(own.readElsewhere({ what: 'values' }));
    if (attend.outputs.length > 1 || [attend, turned, merged].some((n) => uses(n.outputs[0]!) !== 1))
      return refuse(own.readElsewhere({ what: 'result of the attention' }));
    if (!weightsAddUp(attend, context)) return refuse(own.weightsBelowOne());
    if (![weight, offset, bias].every((p) => p === undefined || isStored(p))) return refuse(own.ofInputs());
    const emit = (get: Get): readonly Value[] => {
      const y = attendWith(attend, v, withoutBias(values, get), get)[0]!;
      const { add, linear, matmul } = y.graph.ops;
      const like = (n: Node, of: Value): Value => y.graph.root.at(n.scope, () => apply(n.op, [of], n.attrs)[0]!, n);
      const once = repeated(get(offset), v.dims[1] as number, q.dims[1] as number);
      const passed = byRows(get(weight), (rows) => matmul(rows, once));
      return [linear(like(merged, like(turned, y)), get(weight), bias ? add(get(bias), passed) : passed)];
    };
    return { covers: node.outputs, notes: [own.valueBiasMoved()], emit };
  }),
  early: true,
};

/** The bias of each key head for all query heads that share it. */
function repeated(bias: Value, kvHeads: number, heads: number): Value {
  if (heads === kvHeads) return bias;
  const { expand, reshape } = bias.graph.ops;
  const width = Number(bias.dims[0]) / kvHeads;
  const apart = expand(reshape(bias, [kvHeads, 1, width]), [kvHeads, heads / kvHeads, width]);
  return reshape(apart, [heads * width]);
}

/** Fewer biases around softmax attention. */
export const biasesOfAttend: readonly Rule[] = [dropKeyBias, moveValueBias];
