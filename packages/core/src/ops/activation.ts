// Activations that the standard defines in terms of simpler ops.

import { defineOp, type Op, type TensorType } from '../ir/define-op';
import { apply, mismatch, type Operand, type Value } from '../ir/graph';
import type { NDArray } from '../tensor/tensor';
import { accept } from './accept';
import { erfOf } from './erf';

const inferFloat = ([x]: readonly (TensorType | undefined)[]): readonly TensorType[] => [accept(x, 'float')];
const mapped = (x: NDArray | undefined, f: (v: number) => number): readonly NDArray[] => [{ ...x!, data: x!.data.map(f) }];
const sigmoidOf = (x: number): number => (x < 0 ? Math.exp(x) / (1 + Math.exp(x)) : 1 / (1 + Math.exp(-x)));

type GeluAttrs = { readonly approximate: 'none' | 'tanh' };
const slope = Math.sqrt(2 / Math.PI);
const cubic = 0.044715;

/** ONNX Gelu. */
export const Gelu: Op<GeluAttrs> = defineOp<GeluAttrs>({
  key: 'Gelu',
  since: 20,
  attributes: { approximate: 'string' },
  infer([x], { approximate }) {
    if (approximate !== 'none' && approximate !== 'tanh')
      throw mismatch('unknown approximation', '"none" or "tanh"', `"${String(approximate)}"`);
    return inferFloat([x]);
  },
  decompose([x], { approximate }, { add, erf, mul, tanh }) {
    const half = mul(x, 0.5);
    if (approximate === 'none') return [mul(half, add(erf(mul(x, Math.SQRT1_2)), 1))];
    const inner = mul(add(x, mul(mul(x, mul(x, x)), cubic)), slope);
    return [mul(half, add(tanh(inner), 1))];
  },
  evaluate: ([x], { approximate }) =>
    mapped(
      x,
      (v) => (v / 2) * (1 + (approximate === 'none' ? erfOf(v * Math.SQRT1_2) : Math.tanh(slope * (v + cubic * v ** 3)))),
    ),
});

/**
 * Gaussian error linear unit: x / 2 · (1 + erf(x / √2)).
 *
 * Shapes   x any → the same
 * Dtypes   floats
 * Throws   ShapeError when x is not a float
 * Lowers   everywhere: Gelu
 * Example  const y = ops.gelu(x);
 */
export const gelu = (x: Operand): Value => apply<GeluAttrs>(Gelu, [x], { approximate: 'none' })[0]!;
/**
 * The same, approximated: x / 2 · (1 + tanh(√(2/π) (x + 0.044715 x³))).
 *
 * Shapes   x any → the same
 * Dtypes   floats
 * Throws   ShapeError when x is not a float
 * Lowers   everywhere: Gelu
 */
export const geluTanh = (x: Operand): Value => apply<GeluAttrs>(Gelu, [x], { approximate: 'tanh' })[0]!;

type SwishAttrs = { readonly alpha: number };

/** ONNX Swish. */
export const Swish: Op<SwishAttrs> = defineOp<SwishAttrs>({
  key: 'Swish',
  since: 24,
  attributes: { alpha: 'float' },
  infer: inferFloat,
  decompose: ([x], { alpha }, { mul, sigmoid }) => [mul(x, sigmoid(mul(x, alpha)))],
  evaluate: ([x], { alpha }) => mapped(x, (v) => v * sigmoidOf(alpha * v)),
});

/**
 * x / (1 + e^(-alpha x)).
 *
 * Shapes   x any → the same
 * Dtypes   floats
 * Throws   ShapeError when x is not a float
 * Lowers   everywhere: primitives
 */
export const swish = (x: Operand, alpha = 1): Value => apply(Swish, [x], { alpha })[0]!;
/**
 * Sigmoid linear unit: x / (1 + e⁻ˣ).
 *
 * Shapes   x any → the same
 * Dtypes   floats
 * Throws   ShapeError when x is not a float
 * Lowers   everywhere: primitives
 */
export const silu = (x: Operand): Value => swish(x, 1);
/**
 * The cheap approximation of Gelu: x / (1 + e^(-1.702 x)).
 *
 * Shapes   x any → the same
 * Dtypes   floats
 * Throws   ShapeError when x is not a float
 * Lowers   everywhere: primitives
 */
export const quickGelu = (x: Operand): Value => swish(x, 1.702);

/** ONNX Mish. */
export const Mish: Op = defineOp({
  key: 'Mish',
  since: 18,
  attributes: {},
  infer: inferFloat,
  decompose: ([x], _, { mul, softplus, tanh }) => [mul(x, tanh(softplus(x)))],
  evaluate: ([x]) => mapped(x, (v) => v * Math.tanh(Math.max(v, 0) + Math.log1p(Math.exp(-Math.abs(v))))),
});
/**
 * x · tanh(log(1 + eˣ)).
 *
 * Shapes   x any → the same
 * Dtypes   floats
 * Throws   ShapeError when x is not a float
 * Lowers   portable: Mish · cpu, wasm, webgpu, cuda: primitives
 */
export const mish = (x: Operand): Value => apply(Mish, [x], {})[0]!;

/** ONNX HardSwish. */
export const HardSwish: Op = defineOp({
  key: 'HardSwish',
  since: 14,
  attributes: {},
  infer: inferFloat,
  decompose: ([x], _, { add, clip, mul }) => [mul(x, clip(add(mul(x, 1 / 6), 0.5), 0, 1))],
  evaluate: ([x]) => mapped(x, (v) => v * Math.min(Math.max(v / 6 + 0.5, 0), 1)),
});
/**
 * x · max(0, min(1, x / 6 + 1/2)).
 *
 * Shapes   x any → the same
 * Dtypes   floats
 * Throws   ShapeError when x is not a float
 * Lowers   portable, webgpu, cuda: HardSwish · cpu, wasm: primitives
 */
export const hardSwish = (x: Operand): Value => apply(HardSwish, [x], {})[0]!;
