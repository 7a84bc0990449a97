// Small graphs that the runtime's own optimisations rewrite into other kernels: one or more for each of its fusions.
import type { Graph, Value } from '../../packages/core/src/ir/graph';
import * as ops from '../../packages/core/src/ops/index';
import { GraphBuilder } from '../../packages/core/src/ops/vocabulary';
import { toTensor } from '../../packages/core/src/tensor/convert';
import { countOf, type DType } from '../../packages/core/src/tensor/tensor';
import { randomNumbers } from '../../packages/core/src/testing/random';

/** What a pattern is made of: inputs and constants of the dtype that is probed. */
export interface Parts {
  readonly g: GraphBuilder;
  readonly dtype: DType;
  input(...dims: readonly (number | string)[]): Value;
  constant(...dims: readonly number[]): Value;
  /** The same in float32. */
  wide(...dims: readonly number[]): Value;
}

/** A pattern that the runtime rewrites. */
export interface Pattern {
  /** The optimisation, as the runtime calls it, and behind it a form of the pattern that has a row of its own. */
  readonly fusion: string;
  /** Which of its forms. */
  readonly name: string;
  /** Those that are probed; absent: all floats. */
  readonly dtypes: readonly DType[];
  readonly build: (parts: Parts) => Value;
}

const { add, sub, mul, div, pow, sqrt, matmul, transpose, reduceMean, sigmoid, tanh, softmax, reshape, unsqueeze, cast } = ops;
const swapped = (x: Value): Value => transpose(x, [...Array(x.rank - 2).keys(), x.rank - 1, x.rank - 2]);
/** One number, as the standard's scalar. */
const one = ({ g, dtype }: Parts, value: number): Value => g.number(value, dtype);

function layerNorm(
  p: Parts,
  x: Value,
  o: { readonly scale?: Value; readonly bias?: Value; readonly wide?: boolean } = {},
): Value {
  const inner = o.wide ? cast(x, 'float32') : x;
  const centred = sub(inner, reduceMean(inner, [-1]));
  const spread = sqrt(add(reduceMean(pow(centred, p.g.number(2, centred.dtype)), [-1]), 0.3));
  const y = cast(div(centred, spread), x.dtype);
  const scaled = mul(y, o.scale ?? p.constant(5));
  return o.bias ? add(scaled, o.bias) : scaled;
}
function rmsNorm(p: Parts, x: Value, scale = p.constant(5), wide = false): Value {
  const inner = wide ? cast(x, 'float32') : x;
  const spread = sqrt(add(reduceMean(pow(inner, p.g.number(2, inner.dtype)), [-1]), 0.3));
  return mul(cast(div(inner, spread), x.dtype), scale);
}
function erfGelu(p: Parts, x: Value, form: 'after' | 'before' = 'after'): Value {
  const half = one(p, 0.5);
  const inner = add(ops.erf(div(x, one(p, Math.SQRT2))), 1);
  return form === 'after' ? mul(mul(x, inner), half) : mul(mul(half, x), inner);
}
function tanhGelu(p: Parts, x: Value): Value {
  const cubic = mul(pow(x, one(p, 3)), one(p, 0.044715));
  return mul(mul(x, one(p, 0.5)), add(tanh(mul(add(x, cubic), one(p, Math.sqrt(2 / Math.PI)))), 1));
}
function attention(p: Parts, scale: (scores: Value) => Value, bias?: Value): Value {
  const heads = (x: Value): Value => transpose(reshape(x, ['batch', 'seq', 2, 4]), [0, 2, 1, 3]);
  const x = layerNorm(p, p.input('batch', 'seq', 5), { bias: p.constant(5) });
  const [q, k, v] = [0, 1, 2].map(() => heads(add(matmul(x, p.constant(5, 8)), p.constant(8)))) as [Value, Value, Value];
  const scores = scale(matmul(q, swapped(k)));
  const y = transpose(matmul(softmax(bias ? add(scores, bias) : scores, -1), v), [0, 2, 1, 3]);
  return add(matmul(reshape(y, ['batch', 'seq', 8]), p.constant(8, 5)), p.constant(5));
}

const pattern = (fusion: string, name: string, build: Pattern['build'], dtypes = floats): Pattern => ({
  fusion,
  name,
  dtypes,
  build,
});
const floats: readonly DType[] = ['float64', 'float32', 'float16', 'bfloat16'];
const rows = (p: Parts, last = 5): Value => p.input('batch', 'seq', last);

/** Patterns by the fusion that they are meant for. */
export const patterns: readonly Pattern[] = [
  pattern('QuickGeluFusion', 'x · sigmoid(x)', (p) => ((x) => mul(x, sigmoid(x)))(rows(p))),
  pattern('QuickGeluFusion', 'sigmoid(1.7 x) · x', (p) => ((x) => mul(sigmoid(mul(x, one(p, 1.7))), x))(rows(p))),
  pattern('GeluFusion', 'erf, half after', (p) => erfGelu(p, rows(p))),
  pattern('GeluFusion', 'erf, half before', (p) => erfGelu(p, rows(p), 'before')),
  pattern('BiasGeluFusion', 'BiasGelu', (p) => erfGelu(p, add(rows(p), p.constant(5)))),
  pattern('BiasGeluFusion', 'BiasGelu behind a product', (p) =>
    erfGelu(p, add(matmul(rows(p), p.constant(5, 7)), p.constant(7))),
  ),
  pattern('FastGeluFusion', 'FastGelu', (p) => tanhGelu(p, rows(p))),
  pattern('FastGeluFusion', 'FastGelu with a bias', (p) => tanhGelu(p, add(matmul(rows(p), p.constant(5, 7)), p.constant(7)))),
  pattern('BiasGeluFusion', 'Gelu of the standard with a bias', (p) => ops.gelu(add(rows(p), p.constant(5)))),
  pattern('FastGeluFusion', 'tanh Gelu of the standard with a bias', (p) => ops.geluTanh(add(rows(p), p.constant(5)))),
  pattern('LayerNormFusion', 'LayerNormalization', (p) => layerNorm(p, rows(p), { bias: p.constant(5) })),
  pattern('LayerNormFusion', 'LayerNormalization without a bias', (p) => layerNorm(p, rows(p))),
  pattern('LayerNormFusion', 'LayerNormalization between casts', (p) =>
    layerNorm(p, rows(p), { bias: p.constant(5), wide: true }),
  ),
  pattern('SimplifiedLayerNormFusion', 'SimplifiedLayerNormalization', (p) => rmsNorm(p, rows(p))),
  // Two that share the constant of their epsilon, as a model's norms do.
  pattern('LayerNormFusion', 'LayerNormalization twice', (p) =>
    layerNorm(p, layerNorm(p, rows(p), { bias: p.constant(5) }), { bias: p.constant(5) }),
  ),
  pattern('SimplifiedLayerNormFusion', 'SimplifiedLayerNormalization twice', (p) => rmsNorm(p, rmsNorm(p, rows(p)))),
  pattern('LayerNormFusion of a Cast', 'in float32 from there on', (p) =>
    layerNorm(p, cast(rows(p), 'float32'), { scale: p.wide(5), bias: p.wide(5) }),
  ),
  pattern('LayerNormFusion of a Cast', 'without a bias', (p) => layerNorm(p, cast(rows(p), 'float32'), { scale: p.wide(5) })),
  pattern('SimplifiedLayerNormFusion of a Cast', 'in float32 from there on', (p) =>
    rmsNorm(p, cast(rows(p), 'float32'), p.wide(5)),
  ),
  pattern('SimplifiedLayerNormFusion', 'SimplifiedLayerNormalization between casts', (p) =>
    rmsNorm(p, rows(p), p.constant(5), true),
  ),
  pattern('SkipLayerNormFusion', 'SkipLayerNormalization', (p) => layerNorm(p, add(rows(p), rows(p)), { bias: p.constant(5) })),
  pattern('SkipLayerNormFusion', 'SkipLayerNormalization of the standard', (p) =>
    ops.layerNorm(add(rows(p), rows(p)), p.constant(5), p.constant(5)),
  ),
  pattern('SkipLayerNormFusion', 'SkipLayerNormalization with a bias', (p) =>
    ops.layerNorm(add(add(matmul(rows(p), p.constant(5, 5)), p.constant(5)), rows(p)), p.constant(5), p.constant(5)),
  ),
  pattern('SkipLayerNormFusion', 'SkipSimplifiedLayerNormalization', (p) => rmsNorm(p, add(rows(p), rows(p)))),
  pattern('EmbedLayerNormFusion', 'EmbedLayerNormalization', (p) => {
    const ids = p.g.input('ids', 'int64', ['batch', 'seq']);
    const position = ops.gather(p.constant(8, 5), p.g.input('places', 'int64', ['batch', 'seq']), 0);
    return ops.layerNorm(add(ops.gather(p.constant(7, 5), ids, 0), position), p.constant(5), p.constant(5));
  }),
  pattern('AttentionFusion', 'Attention', (p) => attention(p, (s) => mul(s, one(p, 0.5)))),
  pattern('AttentionFusion', 'Attention with a bias', (p) =>
    attention(p, (s) => div(s, one(p, 2)), p.input('batch', 1, 'seq', 'seq')),
  ),
  pattern('MatMulAddFusion', 'product and sum', (p) => add(matmul(p.input('n', 5), p.constant(5, 7)), p.constant(7))),
  pattern('MatMulAddFusion', 'transposed product and sum', (p) =>
    add(matmul(swapped(p.input(5, 3)), p.constant(5, 7)), p.constant(7)),
  ),
  pattern('MatMulAddFusion', 'product and sum of inputs', (p) => add(matmul(p.input(3, 5), p.input(5, 7)), p.input(3, 7))),
  pattern('GemmActivationFusion', 'Gemm and Relu', (p) => ops.relu(add(matmul(p.input(3, 5), p.constant(5, 7)), p.constant(7)))),
  pattern('GemmActivationFusion', 'Gemm and Tanh', (p) => tanh(add(matmul(p.input(3, 5), p.constant(5, 7)), p.constant(7)))),
  pattern('GemmActivationFusion', 'Gemm and Sigmoid', (p) =>
    sigmoid(add(matmul(p.input(3, 5), p.constant(5, 7)), p.constant(7))),
  ),
  pattern('GemmActivationFusion', 'Gemm and LeakyRelu', (p) =>
    ops.leakyRelu(add(matmul(p.input(3, 5), p.constant(5, 7)), p.constant(7))),
  ),
  pattern('MatMulActivationFusion', 'MatMul and Sigmoid', (p) => sigmoid(matmul(rows(p), p.constant(5, 7)))),
  pattern('MatMulScaleFusion', 'MatMul of a scaled operand', (p) =>
    matmul(mul(rows(p), one(p, 1 / 3)), p.input('batch', 5, 'n')),
  ),
  pattern('MatMulScaleFusion', 'MatMul of a divided operand', (p) => matmul(div(rows(p), one(p, 3)), p.input('batch', 5, 'n'))),
  pattern('MatMulScaleFusion', 'MatMul, its result scaled', (p) => mul(matmul(rows(p), p.input('batch', 5, 'n')), one(p, 1 / 3))),
  pattern('MatMulScaleFusion', 'MatMul, its result divided', (p) => div(matmul(rows(p), p.input('batch', 5, 'n')), one(p, 3))),
  pattern('MatMulScaleFusion', 'MatMul scaled by a constant of one axis', (p) =>
    mul(matmul(rows(p), p.input('batch', 5, 'n')), p.constant(1)),
  ),
  pattern('MatmulTransposeFusion', 'MatMul of a transposed operand', (p) => matmul(rows(p), swapped(p.input('batch', 'n', 5)))),
  pattern('MatmulTransposeFusion', 'MatMul of two transposed operands', (p) =>
    matmul(swapped(p.input('batch', 5, 'seq')), swapped(p.input('batch', 'n', 5))),
  ),
  pattern('MatmulTransposeFusion', 'MatMul of a batch transposed', (p) =>
    matmul(transpose(p.input('seq', 2, 3, 5), [1, 2, 0, 3]), p.input(2, 3, 5, 7)),
  ),
  pattern('MatmulTransposeFusion', 'MatMul of a cast and transposed operand', (p) =>
    matmul(rows(p), swapped(cast(cast(p.input('batch', 'n', 5), 'float32'), p.dtype))),
  ),
  pattern('MatMulScaleFusion', 'MatMul of an operand scaled and then transposed', (p) =>
    matmul(rows(p), swapped(mul(p.input('batch', 'n', 5), one(p, 1 / 3)))),
  ),
  pattern('MatMulScaleFusion', 'MatMul of an operand transposed and then scaled', (p) =>
    matmul(rows(p), mul(swapped(p.input('batch', 'n', 5)), one(p, 1 / 3))),
  ),
  pattern('MatMulScaleFusion', 'MatMul of an operand scaled twice', (p) =>
    matmul(mul(mul(rows(p), one(p, 1 / 3)), one(p, 0.7)), p.input('batch', 5, 'n')),
  ),
  pattern('MatMulScaleFusion', 'MatMul of operands that are both scaled', (p) =>
    matmul(mul(rows(p), one(p, 1 / 3)), mul(p.input('batch', 5, 'n'), one(p, 0.7))),
  ),
  pattern('MatMulScaleFusion', 'a number divided by MatMul', (p) =>
    div(one(p, 1 / 3), matmul(rows(p), p.input('batch', 5, 'n'))),
  ),
  pattern('MatMulScaleFusion', 'MatMul scaled and transposed', (p) =>
    mul(matmul(rows(p), swapped(p.input('batch', 'n', 5))), one(p, 1 / 3)),
  ),
  pattern('BiasSoftmaxFusion', 'Softmax of biased scores', (p) =>
    softmax(add(p.input('batch', 2, 'seq', 'n'), p.input('batch', 1, 1, 'n')), -1),
  ),
  pattern('BiasSoftmaxFusion', 'Softmax of biased scores, a bias of all', (p) =>
    softmax(add(p.input('batch', 2, 'seq', 'n'), p.input('batch', 2, 'seq', 'n')), -1),
  ),
  pattern('ConvActivationFusion', 'Conv and Relu', (p) =>
    ops.relu(ops.conv(p.input('batch', 3, 7, 11), p.constant(5, 3, 3, 3), p.constant(5))),
  ),
  pattern('ConvActivationFusion', 'Conv and Sigmoid', (p) =>
    sigmoid(ops.conv(p.input('batch', 3, 7, 11), p.constant(5, 3, 3, 3))),
  ),
  pattern('ConvActivationFusion', 'Conv and Clip', (p) =>
    ops.clip(ops.conv(p.input('batch', 3, 7, 11), p.constant(5, 3, 3, 3)), 0, 6),
  ),
  pattern('ConvActivationFusion', 'Conv and HardSwish', (p) =>
    ops.hardSwish(ops.conv(p.input('batch', 3, 7, 11), p.constant(5, 3, 3, 3))),
  ),
  pattern('ConvAddActivationFusion', 'Conv, sum and Relu', (p) =>
    ops.relu(add(ops.conv(p.input(2, 3, 7, 11), p.constant(5, 3, 3, 3)), p.input(2, 5, 5, 9))),
  ),
  pattern('ConvMulFusion', 'Conv and a scale', (p) =>
    mul(ops.conv(p.input('batch', 3, 7, 11), p.constant(5, 3, 3, 3)), p.constant(5, 1, 1)),
  ),
  pattern('ConvAddFusion', 'Conv and a sum', (p) =>
    add(ops.conv(p.input('batch', 3, 7, 11), p.constant(5, 3, 3, 3)), p.constant(5, 1, 1)),
  ),
  pattern('ConvActivationFusion', 'Conv of a row and Tanh', (p) =>
    tanh(ops.conv(p.input('batch', 3, 'length'), p.constant(5, 3, 3))),
  ),
  pattern('NchwcTransformer', 'Conv of 4 channels', (p) =>
    ops.conv(p.input(1, 4, 7, 11), p.constant(16, 4, 3, 3), p.constant(16)),
  ),
  pattern('Pad_Fusion', 'Conv of a padded image', (p) =>
    ops.conv(ops.pad(p.input(1, 3, 7, 11), { axes: [2, 3], before: [1, 1], after: [1, 1] }), p.constant(5, 3, 3, 3)),
  ),
  pattern('Pad_Fusion', 'AveragePool of a padded image', (p) =>
    ops.averagePool(ops.pad(p.input(1, 3, 7, 11), { axes: [2, 3], before: [1, 1], after: [1, 1] }), 3),
  ),
  pattern('Pad_Fusion', 'MaxPool of a padded image', (p) =>
    ops.maxPool(ops.pad(p.input(1, 3, 7, 11), { axes: [2, 3], before: [1, 1], after: [1, 1] }), 3),
  ),
  pattern('FuseReluClip', 'Relu and Clip', (p) => ops.clip(ops.relu(rows(p)), 0, 6), [...floats, 'int32', 'int8', 'int64']),
  pattern('FuseReluClip', 'Relu and Clip of a negative bound', (p) => ops.clip(ops.relu(rows(p)), -1, 1)),
  pattern('DivMulFusion', 'reciprocal and product', (p) => mul(div(one(p, 1), rows(p)), rows(p))),
  pattern('NotWhereFusion', 'Not and Where', (p) =>
    ((x) => ops.where(ops.logicalNot(ops.greater(x, 0)), x, mul(x, one(p, 2))))(rows(p)),
  ),
  pattern('CastChainElimination', 'casts there and back', (p) => cast(cast(rows(p), 'float32'), p.dtype)),
  pattern('CastChainElimination', 'casts through float64', (p) => cast(cast(rows(p), 'float64'), p.dtype)),
  pattern('CastChainElimination', 'casts through int32', (p) => cast(cast(rows(p), 'int32'), p.dtype)),
  pattern('CastChainElimination', 'casts through float16', (p) => cast(cast(cast(rows(p), 'float16'), 'float32'), p.dtype)),
  pattern('ReshapeFusion', 'two reshapes', (p) =>
    reshape(reshape(p.input('batch', 'seq', 6), ['batch', 'seq', 2, 3]), ['batch', 'seq', 6]),
  ),
  pattern('TransposeOptimizer', 'reshape and transpose', (p) =>
    transpose(transpose(reshape(p.input('batch', 'seq', 6), ['batch', 'seq', 2, 3]), [0, 2, 1, 3]), [0, 1, 3, 2]),
  ),
  pattern('UnsqueezeElimination', 'two unsqueezes', (p) => unsqueeze(unsqueeze(rows(p), [0]), [0])),
  pattern('ConcatSliceElimination', 'two slices', (p) =>
    ops.slice(ops.slice(rows(p), { axes: [2], starts: [1], ends: [4] }), { axes: [2], starts: [0], ends: [2] }),
  ),
  pattern('GatherSliceToSplitFusion', 'slices side by side', (p) =>
    ((x) =>
      ops.concat([ops.slice(x, { axes: [2], starts: [0], ends: [2] }), ops.slice(x, { axes: [2], starts: [2], ends: [5] })], 2))(
      rows(p),
    ),
  ),
  pattern('GatherSliceToSplitFusion', 'gathers side by side', (p) =>
    ((x) =>
      add(
        ops.gather(x, p.g.constant(toTensor({ dtype: 'int64', dims: [], data: Float64Array.of(0) })), 2),
        ops.gather(x, p.g.constant(toTensor({ dtype: 'int64', dims: [], data: Float64Array.of(1) })), 2),
      ))(p.input('batch', 'seq', 2)),
  ),
  pattern('NoopElimination', 'sum of 0 and product with 1', (p) =>
    mul(add(rows(p), p.g.number(0, p.dtype)), p.g.number(1, p.dtype)),
  ),
  pattern('ExpandElimination', 'expand by 1', (p) => ops.expand(rows(p), ['batch', 'seq', 5])),
  pattern('CommonSubexpressionElimination', 'the same twice', (p) => ((x) => add(ops.exp(x), ops.exp(x)))(rows(p))),
  pattern('ConstantFolding', 'constants folded', (p) =>
    mul(rows(p), add(mul(p.constant(5), p.constant(5)), ops.exp(p.constant(5)))),
  ),
  pattern('ConstantFolding', 'a constant transposed', (p) => matmul(rows(p), swapped(p.constant(7, 5)))),
  pattern('ConcatSliceElimination', 'rotary embedding', (p) =>
    ((x) =>
      add(
        mul(x, p.constant(6)),
        mul(
          ops.concat(
            [ops.neg(ops.slice(x, { axes: [2], starts: [3], ends: [6] })), ops.slice(x, { axes: [2], starts: [0], ends: [3] })],
            2,
          ),
          p.constant(6),
        ),
      ))(p.input('batch', 'seq', 6)),
  ),
  pattern('QuickGeluFusion', 'SwiGLU', (p) =>
    ((x) =>
      matmul(
        mul(((gate) => mul(gate, sigmoid(gate)))(matmul(x, p.constant(5, 7))), matmul(x, p.constant(5, 7))),
        p.constant(7, 5),
      ))(rows(p)),
  ),
  pattern('GatherToSliceFusion', 'Gather of a product', (p) =>
    ops.gather(mul(rows(p), one(p, 3)), p.g.input('ids', 'int64', []), 0),
  ),
];

/** The pattern as a graph at names of sizes, of inputs or behind other nodes; what sessions cannot be fed is cast inside. */
export function graphOf({ fusion, name, build }: Pattern, dtype: DType, behind: boolean): Graph {
  const g = new GraphBuilder();
  const numbers = randomNumbers(`${fusion} ${name}`);
  let inputs = 0;
  const carried = dtype === 'bfloat16' ? 'float32' : dtype;
  const constant = (of: DType, dims: readonly number[]): Value =>
    g.constant(toTensor({ dtype: of, dims, data: Float64Array.from({ length: countOf(dims) }, () => 2 * numbers() - 1) }));
  const y = build({
    g,
    dtype,
    input(...dims) {
      const x = cast(g.input(`x${inputs++}`, carried, dims), dtype);
      return behind ? ops.neg(x) : x;
    },
    constant: (...dims) => constant(dtype, dims),
    wide: (...dims) => constant('float32', dims),
  });
  g.output('y', cast(y, y.dtype === 'bfloat16' ? 'float32' : y.dtype));
  return g.finish();
}
