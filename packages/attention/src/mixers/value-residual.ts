// The values of the first layer, added to those of later ones. Zhou et al. 2024, https://arxiv.org/abs/2410.17897
import { init, module, Parameter, type SequenceContext, ShapeError, type Value } from '@onnxformers/core';

/** Options of {@link valueResidual}. */
interface ResidualOptions {
  /** λ₁ and λ₂ are numbers, or parameters that begin with these numbers. */
  readonly kind: 'constant' | 'learned';
  /** [λ₁, λ₂] */
  readonly shares: readonly number[];
  /** The place of the mixer in a model. */
  readonly path: string;
  /** Index of its layer, in a list of layers. */
  readonly layer: number | undefined;
}

/**
 * λ₁ v₁ + λ₂ v, where v₁ are the values of the first mixer of the stack that asks for them, before its own sum.
 *
 * Shapes   v [batch, kv_heads, seq, v_head_dim] → the same
 * Throws   ShapeError when v₁ has other dims
 */
export function valueResidual({ kind, shares, path, layer }: ResidualOptions) {
  // The first layer has nothing to add.
  if (layer === 0) return module({}, (v: Value, ctx: SequenceContext) => firstValues(v, ctx, path));
  const [first, own] = shares.map((share) =>
    kind === 'learned' ? new Parameter([1], init.constant(share), { role: 'mechanism', part: 'other' }) : share,
  );
  const of = (share: Parameter | number | undefined, v: Value): Value | number =>
    share instanceof Parameter ? v.graph.root.param(share) : share!;
  const record = {
    first: first instanceof Parameter ? first : undefined,
    own: own instanceof Parameter ? own : undefined,
  };
  return module(record, (v: Value, ctx: SequenceContext) => {
    const { add, mul } = v.graph.ops;
    return add(mul(firstValues(v, ctx, path), of(first, v)), mul(v, of(own, v)));
  });
}

// Each stack of a model has first values of its own.
function firstValues(v: Value, { shared }: SequenceContext, path: string): Value {
  const first = shared.get(`values of the first layer of ${path.split('[')[0]}`, () => v);
  if (`${first.dims}` === `${v.dims}`) return first;
  throw new ShapeError({
    path: `${path}.valueResidual`,
    problem: 'the values of the first layer have other sizes',
    expected: `[${v.dims.join(', ')}]`,
    got: `[${first.dims.join(', ')}]`,
    hint: 'All layers with valueResidual have the same kvHeads, valueHeadDim and positions',
  });
}
