// Feed-forwards of several experts, weighed for each token.
import type { TensorType, Value } from '@onnxformers/core';
import { apply, defineOp, mismatch, printType } from '@onnxformers/core/lowering';

/** The activations that experts have. */
export const activations = ['silu', 'quick_gelu', 'gelu', 'gelu_tanh', 'relu', 'squared_relu'] as const;
/** One of {@link activations}. */
export type ActivationName = (typeof activations)[number];

const functions: Readonly<Record<ActivationName, (x: Value) => Value>> = {
  silu: (x) => x.graph.ops.silu(x),
  quick_gelu: (x) => x.graph.ops.quickGelu(x),
  gelu: (x) => x.graph.ops.gelu(x),
  gelu_tanh: (x) => x.graph.ops.geluTanh(x),
  relu: (x) => x.graph.ops.relu(x),
  squared_relu: (x) => {
    const positive = x.graph.ops.relu(x);
    return x.graph.ops.mul(positive, positive);
  },
};

/** What all experts have in common. */
export type ExpertsAttrs = {
  readonly activation: ActivationName;
  /** With gates: the gate is at most `limit`, and what it multiplies lies between −limit and limit. 0: none. */
  readonly limit: number;
  /** With gates: added to the hidden channels that the gate multiplies. */
  readonly offset: number;
  /** At most so many weights of a token are not 0. */
  readonly chosen: number;
};

const names = ['x', 'weights', 'up', 'down', 'gate?', 'upBias?', 'downBias?', 'gateBias?'] as const;
/**
 * The high-level op behind {@link experts}. Its definition computes every expert for every token; kernels and rules compute those of a token whose weight is
 * not 0.
 */
export const Experts = defineOp<ExpertsAttrs, typeof names>({
  key: 'onnxformers.Experts',
  operands: names,
  attributes: { activation: 'data', limit: 'data', offset: 'data', chosen: 'data' },
  infer: (operands) => [resultOf(operands)],
  decompose([x, weights, up, down, gate, upBias, downBias, gateBias], attrs) {
    const { add, cast, linear, matmul, mul, swapLast, squeeze, transpose, unsqueeze } = x!.graph.ops;
    const maps = { up: up!, down: down!, gate, upBias, downBias, gateBias };
    const shares = cast(weights!, x!.dtype);
    if (up!.dims[0] === 1)
      return [
        mul(
          throughMaps(
            x!,
            ofOne(maps, (map) => squeeze(map, [0])),
            attrs,
            linear,
          ),
          shares,
        ),
      ];
    // [experts or 1, tokens, from] → [experts, tokens, to]
    const map = (rows: Value, weight: Value, bias: Value | undefined): Value => {
      const y = matmul(rows, swapLast(weight));
      return bias ? add(y, unsqueeze(bias, [1])) : y;
    };
    const results = transpose(throughMaps(unsqueeze(x!, [0]), maps, attrs, map), [1, 0, 2]);
    return [squeeze(matmul(unsqueeze(shares, [1]), results), [1])];
  },
});

/** The same part of all linear maps. */
export const ofOne = (maps: ExpertMaps, part: (map: Value) => Value): ExpertMaps =>
  Object.fromEntries(Object.entries(maps).map(([name, map]) => [name, map && part(map)])) as unknown as ExpertMaps;

/** The results of experts, whose linear maps `map` applies. */
function throughMaps(
  rows: Value,
  { up, down, gate, upBias, downBias, gateBias }: ExpertMaps,
  { activation, limit, offset }: ExpertsAttrs,
  map: (rows: Value, weight: Value, bias: Value | undefined) => Value,
): Value {
  const { add, clip, min, mul } = rows.graph.ops;
  const f = functions[activation];
  const raised = map(rows, up, upBias);
  const own = gate && map(rows, gate, gateBias);
  const hidden = own
    ? mul(f(limit ? min(own, limit) : own), add(limit ? clip(raised, -limit, limit) : raised, offset))
    : f(raised);
  return map(hidden, down, downBias);
}

function resultOf(operands: readonly (TensorType | undefined)[]): TensorType {
  const [x, weights, up, down, gate, ...biases] = operands;
  const [tokens, dim] = x!.dims;
  const [count, hidden] = up!.dims;
  const check = (what: string, given: TensorType | undefined, dims: TensorType['dims'], dtype = x!.dtype) => {
    if (!given || (given.dtype === dtype && given.dims.join() === dims.join())) return;
    throw mismatch(`${what} does not fit`, printType({ dtype, dims }), printType(given));
  };
  if (x!.dims.length !== 2) throw mismatch('expects rows', '[tokens, dim]', printType(x));
  check('weights', weights, [tokens!, count!], 'float32');
  check('up', up, [count!, hidden!, dim!]);
  check('gate', gate, [count!, hidden!, dim!]);
  check('down', down, [count!, down!.dims[1]!, hidden!]);
  for (const [i, what] of ['upBias', 'downBias', 'gateBias'].entries())
    check(what, biases[i], [count!, what === 'downBias' ? down!.dims[1]! : hidden!]);
  return { dtype: x!.dtype, dims: [tokens!, down!.dims[1]!] };
}

/** The linear maps of all experts. */
export interface ExpertMaps {
  /** [experts, hidden, dim] */
  readonly up: Value;
  /** [experts, outDim, hidden] */
  readonly down: Value;
  /** [experts, hidden, dim]; absent: no gates */
  readonly gate?: Value | undefined;
  /** [experts, hidden] */
  readonly upBias?: Value | undefined;
  /** [experts, outDim] */
  readonly downBias?: Value | undefined;
  /** [experts, hidden] */
  readonly gateBias?: Value | undefined;
}

/**
 * The weighted sum of the results of experts for each row.
 *
 *     y = Σ_e weights[e] · (down_e (f(gate_e x) ⊙ (up_e x + offset)) )      or down_e f(up_e x), with biases
 *
 * Shapes   x [tokens, dim], weights float32 [tokens, experts] → [tokens, outDim]
 * Throws   ShapeError when the operands do not fit
 */
export const experts = (x: Value, weights: Value, m: ExpertMaps, attrs: ExpertsAttrs): Value =>
  apply(Experts, [x, weights, m.up, m.down, m.gate, m.upBias, m.downBias, m.gateBias], attrs)[0]!;
