// Fused ops of xFormers inside graphs: SwiGLU and norms.
import { module, type Operand, ops, type Value } from '@onnxformers/core';
import { silu } from '@onnxformers/feedforward';
import { normRules } from '@onnxformers/residual';

/**
 * SwiGLU with its weights as operands, inside a graph.
 *
 *     y = (silu(x w1ᵀ + b1) ⊙ (x w2ᵀ + b2)) w3ᵀ + b3
 *
 * Shapes   x [..., dim] · w1, w2 [hidden, dim] · b1, b2 [hidden] or undefined · w3 [out, hidden] · b3 [out] or undefined → [..., out]
 * Dtypes   one float dtype
 * Throws   ShapeError when operands do not fit
 * Source   Shazeer 2020, https://arxiv.org/abs/2002.05202
 * Lowers   portable: primitives · elsewhere: MatMul, Mul and QuickGelu
 * Example  const y = xops.swiglu(x, weight, undefined, weight, undefined, weight, undefined);
 */
export function swiglu(x: Value, w1: Operand, b1: Operand, w2: Operand, b2: Operand, w3: Operand, b3: Operand): Value {
  return ops.linear(ops.mul(silu({})(ops.linear(x, w1, b1)), ops.linear(x, w2, b2)), w3, b3);
}

/**
 * Root mean square normalisation of the last axis, inside a graph.
 *
 *     y = x / √(mean(x²) + eps) ⊙ weight
 *
 * Shapes   x [..., dim] · weight [dim], undefined for 1 → like x
 * Dtypes   one float dtype; the mean in float32
 * Throws   ShapeError when the weight does not fit
 * Source   Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467
 * Lowers   portable: RMSNormalization, below opset 23 primitives · elsewhere: SimplifiedLayerNormalization
 * Example  const y = xops.rmsNorm(x, weight);
 */
export const rmsNorm = (x: Value, weight?: Operand, eps = 1e-6): Value => rms(x, weight, eps);

/** The results of {@link rmsNormAdd}. */
export interface NormAndSum<V> {
  /** The normalised sum. */
  readonly y: V;
  /** x + y, which the original writes into x. */
  readonly sum: V;
}

/**
 * The sum of two tensors and its root mean square normalisation, inside a graph.
 *
 *     sum = x + y,   result = sum / √(mean(sum²) + eps) ⊙ weight
 *
 * Shapes   x, y [batch, seq, dim] or [tokens, dim], other numbers of axes without the fused kernel · weight [dim], undefined for 1 → both like x
 * Dtypes   one float dtype; the mean in float32
 * Throws   ShapeError when operands do not fit
 * Source   Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467
 * Lowers   portable: Add, RMSNormalization, below opset 23 primitives · elsewhere: SkipSimplifiedLayerNormalization
 * Example  const { y, sum } = xops.rmsNormAdd(x, q, weight);
 */
export function rmsNormAdd(x: Value, y: Value, weight?: Operand, eps = 1e-6): NormAndSum<Value> {
  const sum = ops.add(x, y);
  return { y: rms(sum, weight, eps), sum };
}

/**
 * Layer normalisation of the last axis, inside a graph.
 *
 *     y = (x − mean(x)) / √(variance(x) + eps) ⊙ weight + bias
 *
 * Shapes   x [..., dim] · weight [dim], undefined for 1 · bias [dim], undefined for 0 → like x
 * Dtypes   one float dtype; mean and variance in float32
 * Throws   ShapeError when weight or bias do not fit
 * Source   Ba et al. 2016, https://arxiv.org/abs/1607.06450
 * Lowers   everywhere: LayerNormalization
 * Example  const y = xops.layerNorm(x, weight);
 */
export const layerNorm = (x: Value, weight?: Operand, bias?: Operand, eps = 1e-5): Value => layer(x, weight, bias, eps);

// Modules, so that their nodes have the rules of the kernels in any model.
const rms = /* @__PURE__ */ module(
  {},
  (x: Value, weight: Operand, epsilon: number): Value => ops.rmsNorm(x, weight ?? ones(x), { epsilon }),
  { rules: normRules },
);
const layer = /* @__PURE__ */ module(
  {},
  (x: Value, weight: Operand, bias: Operand, epsilon: number): Value => ops.layerNorm(x, weight ?? ones(x), bias, { epsilon }),
  { rules: normRules },
);

const ones = (x: Value): Value => ops.fill(x.graph, [x.dims.at(-1)!], 1, x.dtype);
