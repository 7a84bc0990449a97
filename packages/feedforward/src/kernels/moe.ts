// MoE of com.microsoft: experts of which each row uses the k with the largest router logits.
import type { Value } from '@onnxformers/core';
import { apply, defineOp, defineReasons, mismatch, operandsOf, printType, refuse, rule } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';
import { Experts } from '../experts';

type MoEAttrs = {
  readonly k: number;
  /** swiglu or relu. */
  readonly activation_type: string;
  readonly normalize_routing_weights: number;
  readonly swiglu_fusion: number;
  readonly activation_alpha: number;
  readonly activation_beta: number;
  readonly swiglu_limit: number;
};

const names = ['x', 'logits', 'first', 'firstBias?', 'second', 'secondBias?'] as const;
/**
 * The kernel. Operands: x [tokens, dim], logits [tokens, experts], first [experts, rows, dim], second [experts, dim, hidden]; biases [experts, rows] and
 * [experts, dim]. With swiglu the rows of `first` are a gate and what it multiplies, in turn.
 */
export const MoE = defineOp<MoEAttrs, typeof names>({
  key: 'com.microsoft.MoE',
  operands: names,
  attributes: {
    k: 'int',
    activation_type: 'string',
    normalize_routing_weights: 'int',
    swiglu_fusion: 'int',
    activation_alpha: 'float',
    activation_beta: 'float',
    swiglu_limit: 'float',
  },
  asks: ([x, logits, , , second]) => ({ dim: x!.dims[1]!, hidden: second!.dims[2]!, experts: logits!.dims[1]! }),
  infer([x, logits, first, , second]) {
    if (x!.dims.length !== 2 || logits!.dims.length !== 2) throw mismatch('expects rows', '[tokens, dim]', printType(x));
    if (first!.dims[0] !== logits!.dims[1] || second!.dims[0] !== logits!.dims[1])
      throw mismatch('the numbers of experts differ', String(logits!.dims[1]), printType(first));
    return [x!];
  },
  decompose([x, logits, first, firstBias, second, secondBias], { k, activation_type, activation_alpha, ...o }) {
    const { add, clip, matmul, min, mul, oneHot, reduceSum, relu, reshape, slice, softmax, squeeze, swapLast, swish, topK } =
      x!.graph.ops;
    const { cast, transpose, unsqueeze } = x!.graph.ops;
    const [experts, rows] = first!.dims as [number, number];
    const wide = softmax(cast(logits!, 'float32'));
    const chosen = reduceSum(oneHot(topK(wide, k)[1], experts, { dtype: 'float32' }), [1], { keepDims: false });
    const map = (input: Value, weight: Value, bias: Value | undefined): Value => {
      const y = matmul(input, swapLast(weight));
      return bias ? add(y, unsqueeze(bias, [1])) : y;
    };
    const raised = map(unsqueeze(x!, [0]), first!, firstBias);
    const gated = (): Value => {
      const pairs = reshape(raised, [experts, x!.dims[0]!, rows / 2, 2]);
      const part = (at: number) => squeeze(slice(pairs, { axes: [3], starts: [at], ends: [at + 1] }), [3]);
      const gate = min(part(0), o.swiglu_limit);
      return mul(swish(gate, activation_alpha), add(clip(part(1), -o.swiglu_limit, o.swiglu_limit), o.activation_beta));
    };
    const results = transpose(map(activation_type === 'relu' ? relu(raised) : gated(), second!, secondBias), [1, 0, 2]);
    return [squeeze(matmul(unsqueeze(cast(mul(wide, chosen), x!.dtype), [1]), results), [1])];
  },
});

const own = defineReasons({
  activation: ({ activation, gated }: { readonly activation: string; readonly gated: boolean }) =>
    `it has no ${activation} ${gated ? 'gates' : 'without gates'}`,
  width: () => 'its experts return as many channels as they take',
});

const alphas: Readonly<Record<string, number>> = { silu: 1, quick_gelu: 1.702 };
/** Larger than any number of a model, so that nothing is clipped. */
const noLimit = 1e30;
/** What replaces a weight of 0 in a logarithm: the least normal float32. */
const smallest = 2 ** -126;

/**
 * Experts → MoE. The kernel's weights are the softmax of its logits: of log w it is w / Σ w, so that weights of any routing can be passed on, and the sum is
 * multiplied afterwards.
 */
export const useMoE = rule('Experts → MoE', Experts, (node) => {
  const { activation, limit, offset, chosen } = node.attrs;
  const { x, weights, up, down, gate, upBias, downBias, gateBias } = operandsOf(Experts, node.operands);
  const alpha = alphas[activation];
  if (gate ? alpha === undefined : activation !== 'relu') return refuse(own.activation({ activation, gated: !!gate }));
  if (down.dims[1] !== x.dims[1]) return refuse(own.width());
  return {
    covers: node.outputs,
    emit(get) {
      const rows = get(x);
      const own = get(weights);
      const logits = ops.cast(ops.log(ops.max(own, smallest)), rows.dtype);
      const result = apply(
        MoE,
        [
          rows,
          logits,
          gate ? inTurn(get(gate), get(up)) : get(up),
          upBias && (gateBias ? inTurn(get(gateBias), get(upBias)) : get(upBias)),
          get(down),
          downBias && get(downBias),
        ],
        {
          k: chosen,
          activation_type: gate ? 'swiglu' : 'relu',
          normalize_routing_weights: 0,
          swiglu_fusion: gate ? 1 : 0,
          activation_alpha: alpha ?? 1,
          activation_beta: offset,
          swiglu_limit: limit || noLimit,
        },
      )[0]!;
      return [ops.mul(result, ops.cast(ops.reduceSum(own, [1]), rows.dtype))];
    },
  };
});

/** Rows of two stacks in turn, [experts, n, …] twice → [experts, 2 n, …]; computed once, when the model is written. */
function inTurn(a: Value, b: Value): Value {
  const [experts, count, ...rest] = a.dims;
  const pairs = ops.concat([ops.unsqueeze(a, [2]), ops.unsqueeze(b, [2])], 2);
  return ops.reshape(pairs, [experts!, 2 * Number(count), ...rest]);
}
