// Biases of the projections of an attention, as part of their weights where a layer normalisation is in front of them.
import { defineOp, operandsOf, printType } from '../ir/define-op';
import { apply, type Get, madeBy, mismatch, type Node, type Value } from '../ir/graph';
import { defineReasons } from '../lower/reason';
import { type Rule, refuse, rule } from '../lower/rule';
import { Attend } from '../ops/attend';
import { attendParts } from '../ops/attend-parts';
import { Linear } from '../ops/matmul';
import { LayerNormalization } from '../ops/normalization';
import { dropKeyBias } from './attend-biases';
import { byRows, isStored, type Projection, projectionOf, readOnce, withLinear } from './projections';

const names = ['weight', 'scale', 'unit', 'shift?', 'bias?'] as const;
type Attrs = { readonly offset: number };

/**
 * The weight of a linear map with everything in it that a layer normalisation and the map add and multiply: for n with a mean of 0,
 * `result · (unit · (n + offset)) = weight · (scale ∘ n + shift) + bias`. Operands: weight [to, from], scale [from], unit [1], shift (optional) [from], bias
 * (optional) [to]. The result is rounded once, and has a value of its own for every weight: it is meant to be computed when the model is written.
 */
export const WeightWithBias = defineOp<Attrs, typeof names>({
  key: 'onnxformers.WeightWithBias',
  operands: names,
  attributes: { offset: 'float' },
  infer(given) {
    const { weight, scale, unit, shift, bias } = operandsOf(names, given);
    const [to, from] = weight.dims;
    const fits = [
      [scale, from],
      [unit, 1],
      [shift, from],
      [bias, to],
    ] as const;
    for (const [v, size] of fits)
      if (v && (v.dims.length !== 1 || v.dims[0] !== size || v.dtype !== weight.dtype))
        throw mismatch('an operand does not fit the weight', `${weight.dtype}[${size}]`, printType(v));
    return [weight];
  },
  // No run computes it.
  kernels: 'everywhere',
  evaluate(given, { offset }) {
    const { weight, scale, unit, shift, bias } = operandsOf(names, given);
    const [to, from] = weight.dims as readonly [number, number];
    const data = new Float64Array(to * from);
    for (let i = 0; i < to; i++) {
      const row = i * from;
      let [mean, moved] = [0, bias ? bias.data[i]! : 0];
      for (let j = 0; j < from; j++) {
        const w = weight.data[row + j]!;
        data[row + j] = w * scale.data[j]!;
        mean += data[row + j]! / from;
        if (shift) moved += w * shift.data[j]!;
      }
      const added = moved / (offset * from) - mean;
      for (let j = 0; j < from; j++) data[row + j] = (data[row + j]! + added) / unit.data[0]!;
    }
    return [{ ...weight, data }];
  },
});

const own = defineReasons({
  inWeights: () => 'with the biases of its projections in their weights, behind a layer normalisation that they read alone',
  readElsewhere: ({ what }: { readonly what: string }) => `something else reads the ${what}`,
  notParameters: () => 'a weight is an input, shared, or not stored as it is',
  normOfInputs: () => 'the scale or the shift of the layer normalisation is an input',
});

/**
 * The mean of what a layer normalisation returns before its scale, times 1024 channels, is off by about 32 roundings. Divided by 1024 offsets that is far less than
 * one rounding of a bias; and with this offset the normalised elements are still rounded as finely as without.
 */
const offset = 1 / 4;
/** Of the scale: no smaller, so that the elements remain normal numbers in 16 bits. */
const smallest = 2 ** -10;

/**
 * The elements of a normalised row add up to 0, so that with a constant added to each they add up to a known number: a bias is a multiple of that sum, and part of
 * the weights. All maps that read the norm take its scale into their weights too.
 */
export const useBiasInWeights: Rule = {
  ...rule('Attend → Attend on projections with their biases in the weights', Attend, (node, context) => {
    if (!context.biasTakesPass) return undefined;
    // A bias that can be left out needs no place.
    const without = dropKeyBias.match(node, context);
    if (without && 'covers' in without) return undefined;
    const { q, k, v } = attendParts(node.operands, node.attrs);
    const queries = projectionOf(q);
    const y = queries && operandsOf(Linear, queries.linear.operands).x;
    const norm = y && madeBy(y, LayerNormalization);
    if (!norm || norm.attrs.axis !== -1 || typeof y.dims.at(-1) !== 'number') return undefined;
    const behind = (heads: Value): Projection | undefined => {
      const found = projectionOf(heads);
      return found?.linear.operands[0] === y ? found : undefined;
    };
    const found = [q, k, v].flatMap((heads) => behind(heads) ?? []);
    const linears = new Set(found.map(({ linear }) => linear));
    if (![...linears].some((linear) => operandsOf(Linear, linear.operands).bias)) return undefined;
    if (context.uses(y) !== linears.size) return refuse(own.readElsewhere({ what: 'result of the layer normalisation' }));
    if (linears.size < found.length || !found.every((p) => readOnce(p, context)))
      return refuse(own.readElsewhere({ what: 'queries, keys or values' }));
    for (const linear of linears) {
      const { weight, bias } = operandsOf(Linear, linear.operands);
      const { leaf } = weight;
      if (leaf?.kind !== 'parameter' || !isStored(weight) || context.uses(weight) > 1 || (bias && !isStored(bias)))
        return refuse(own.notParameters());
    }
    const { scale, bias: shift } = operandsOf(LayerNormalization, norm.operands);
    if (![scale, shift].every((p) => !p || (isStored(p) && p.rank === 1 && p.dims[0] === y.dims.at(-1))))
      return refuse(own.normOfInputs());
    const emit = (get: Get): readonly Value[] => {
      const plain = plainNorm(norm, get);
      const heads = new Map([q, k, v].map((old) => [old, again(behind(old), plain, norm, get)] as const));
      const operands = node.operands.map((old) => old && (heads.get(old) ?? get(old)));
      return plain.y.graph.root.at(node.scope, () => apply(node.op, operands, node.attrs), node);
    };
    return { covers: node.outputs, notes: [own.inWeights()], emit };
  }),
  early: true,
};

/** The same norm with one number as its scale, the root mean square of the old one, and an offset of that times a quarter as its shift. */
function plainNorm(norm: Node, get: Get): { readonly y: Value; readonly unit: Value } {
  const { x, scale: old } = operandsOf(LayerNormalization, norm.operands);
  const scale = get(old);
  const { cast, expand, max, mul, reduceMean, sqrt } = scale.graph.ops;
  const wide = cast(scale, 'float32');
  const unit = cast(max(sqrt(reduceMean(mul(wide, wide), [0])), smallest), scale.dtype);
  const [ones, shift] = [unit, mul(unit, offset)].map((v) => expand(v, scale.dims));
  const make = (): readonly Value[] => apply(LayerNormalization, [get(x), ones, shift], norm.attrs as never);
  return { y: scale.graph.root.at(norm.scope, make, norm)[0]!, unit };
}

/** The same heads from the plain norm. */
function again(
  projection: Projection | undefined,
  { y, unit }: ReturnType<typeof plainNorm>,
  norm: Node,
  get: Get,
): Value | undefined {
  if (!projection) return undefined;
  const { weight, bias } = operandsOf(Linear, projection.linear.operands);
  const { scale, bias: shift } = operandsOf(LayerNormalization, norm.operands);
  const { slice } = y.graph.ops;
  const weights = byRows(get(weight), (rows, start, end) => {
    const part =
      bias && (rows.dims[0] === bias.dims[0] ? get(bias) : slice(get(bias), { axes: [0], starts: [start], ends: [end] }));
    return apply(WeightWithBias, [rows, get(scale), unit, shift && get(shift), part], { offset })[0]!;
  });
  return withLinear(projection, [y, weights]);
}
