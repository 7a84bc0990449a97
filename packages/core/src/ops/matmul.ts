// Products of matrices: MatMul, Linear on weights as checkpoints store them, Gemm.
import type { Dim } from '../dim/dim';
import { type Attrs, countIn, defineOp, type Op, printType, type TensorType } from '../ir/define-op';
import { apply, mismatch, type Operand, type Value, type Vocabulary } from '../ir/graph';
import { countOf, type NDArray } from '../tensor/tensor';
import { acceptAlike, fitting } from './accept';
import { broadcastDims, broadcastOffsets, broadcastTo, unbroadcast } from './broadcast';
import { readView } from './views';

type Types = readonly (TensorType | undefined)[];

/** out [rows, columns] = a [rows, inner] · b [inner, columns], at these offsets of the data. */
function multiplyInto(
  out: { readonly data: Float64Array; readonly at: number },
  a: { readonly data: Float64Array; readonly at: number },
  b: { readonly data: Float64Array; readonly at: number },
  [rows, inner, columns]: readonly [number, number, number],
): void {
  for (let i = 0; i < rows; i++)
    for (let k = 0; k < inner; k++) {
      const factor = a.data[a.at + i * inner + k]!;
      const [from, to] = [b.at + k * columns, out.at + i * columns];
      for (let j = 0; j < columns; j++) out.data[to + j]! += factor * b.data[from + j]!;
    }
}

function transposed({ dtype, dims, data }: NDArray): NDArray {
  const [rows, columns] = dims as readonly [number, number];
  return { dtype, dims: [columns, rows], data: readView(data, [columns, rows], [1, columns]) };
}

// ---- MatMul ---------------------------------------------------------------------------------------------------------

// A vector on the left is a row, on the right a column; its axis of size 1 is removed from the result.
const asLeft = <D extends Dim>(dims: readonly D[]): readonly (D | 1)[] => (dims.length === 1 ? [1, ...dims] : dims);
const asRight = <D extends Dim>(dims: readonly D[]): readonly (D | 1)[] => (dims.length === 1 ? [...dims, 1] : dims);

function productDims(a: readonly Dim[], b: readonly Dim[]): Dim[] {
  if (a.length === 0 || b.length === 0) throw mismatch('a scalar is not a matrix; use mul', 'at least one axis');
  const [left, right] = [asLeft(a), asRight(b)];
  const [inner, other] = [left.at(-1)!, right.at(-2)!];
  if (inner !== other)
    throw mismatch('the inner sizes differ', `last axis of a = second-last axis of b`, `${inner} and ${other}`);
  return [
    ...broadcastDims(left.slice(0, -2), right.slice(0, -2)),
    ...(a.length === 1 ? [] : [left.at(-2)!]),
    ...(b.length === 1 ? [] : [right.at(-1)!]),
  ];
}

function product(a: NDArray, b: NDArray): NDArray {
  const [left, right] = [asLeft(a.dims), asRight(b.dims)];
  const [rows, inner, columns] = [left.at(-2)!, left.at(-1)!, right.at(-1)!];
  const batch = broadcastDims(left.slice(0, -2), right.slice(0, -2)) as number[];
  const [fromA, fromB] = [broadcastOffsets(left.slice(0, -2), batch), broadcastOffsets(right.slice(0, -2), batch)];
  const data = new Float64Array(countOf(batch) * rows * columns);
  for (let n = 0; n < fromA.length; n++) {
    const [inA, inB] = [fromA[n]! * rows * inner, fromB[n]! * inner * columns];
    multiplyInto({ data, at: n * rows * columns }, { data: a.data, at: inA }, { data: b.data, at: inB }, [rows, inner, columns]);
  }
  return { dtype: a.dtype, dims: productDims(a.dims, b.dims) as number[], data: data.map(fitting(a.dtype)) };
}

/** ONNX MatMul. */
export const MatMul = defineOp({
  key: 'MatMul',
  since: 13,
  attributes: {},
  infer(operands: Types) {
    const [a, b] = acceptAlike([operands[0], operands[1]], 'number') as [TensorType, TensorType];
    return [{ dtype: a.dtype, dims: productDims(a.dims, b.dims) }];
  },
  flops: ({ operands: [a], outputs: [y] }, sizes) => 2 * countIn(y!, sizes) * sizes.of(a!.dims.at(-1)!),
  evaluate: ([a, b]) => [product(a!, b!)],
  vjp({ operands: [a, b] }, [grad], ops) {
    if (!grad) return [];
    const [left, right] = [ops.reshape(a!, asLeft(a!.dims)), ops.reshape(b!, asRight(b!.dims))];
    const g = ops.reshape(grad, productDims(left.dims, right.dims));
    const toA = unbroadcast(matmul(g, ops.swapLast(right)), left.dims, ops);
    return [ops.reshape(toA, a!.dims), ops.reshape(rightGradient(left, right, g, ops), b!.dims)];
  },
});

// For one matrix on the right and a batch on the left, the rows of the batch are summed over inside one product.
function rightGradient(left: Value, right: Value, grad: Value, ops: Vocabulary): Value {
  if (right.rank > 2) return unbroadcast(matmul(ops.swapLast(left), grad), right.dims, ops);
  return matmul(ops.swapLast(rowsOf(left, ops)), rowsOf(grad, ops));
}

const rowsOf = (x: Value, { flattenAxes, reshape }: Vocabulary): Value =>
  x.rank > 2 ? flattenAxes(x, 0, -2) : reshape(x, x.rank === 1 ? [1, ...x.dims] : x.dims);

/**
 * The product of matrices, their leading axes broadcast. A vector on the left is a row, on the right a column.
 *
 * Shapes   a [..., n, k], b [..., k, m] → [..., n, m]
 * Dtypes   numbers, both the same
 * Throws   ShapeError when the inner sizes differ, the leading axes do not broadcast, or one is a scalar
 * Lowers   everywhere: MatMul
 * Example  const y = ops.matmul(x, ops.swapLast(x));
 */
export const matmul = (a: Operand, b: Operand): Value => apply(MatMul, [a, b], {})[0]!;

// ---- Linear ---------------------------------------------------------------------------------------------------------

const linearOperands = ['x', 'weight', 'bias?'] as const;
/** The high-level op: `x weightᵀ + bias`. Its decomposition transposes the weight, which is done once when a model is saved. */
export const Linear = defineOp<Attrs, typeof linearOperands>({
  key: 'onnxformers.Linear',
  operands: linearOperands,
  attributes: {},
  infer([x, weight, bias]: Types) {
    acceptAlike(bias ? [x, weight, bias] : [x, weight], 'number');
    if (weight!.dims.length !== 2) throw mismatch('the weight is not a matrix', '[out, in]', printType(weight));
    const [out, inner] = weight!.dims as readonly [Dim, Dim];
    if (x!.dims.at(-1) !== inner)
      throw mismatch(`the weight requires ${inner} channels`, `${inner} in the last axis of x`, printType(x));
    if (bias && (bias.dims.length !== 1 || bias.dims[0] !== out))
      throw mismatch('the bias does not fit the weight', `[${out}]`, printType(bias));
    return [{ dtype: x!.dtype, dims: [...x!.dims.slice(0, -1), out] }];
  },
  decompose([x, weight, bias], _, { add, transpose }) {
    const y = matmul(x, transpose(weight!, [1, 0]));
    return [bias ? add(y, bias) : y];
  },
  evaluate([x, weight, bias]) {
    const y = product(x!, transposed(weight!));
    if (!bias) return [y];
    const fit = fitting(y.dtype);
    return [{ ...y, data: y.data.map((v, i) => fit(v + bias.data[i % bias.data.length]!)) }];
  },
  vjp({ operands: [x, weight, bias] }, [grad], ops) {
    if (!grad) return [];
    const rows = rowsOf(grad, ops);
    return [
      matmul(grad, weight),
      matmul(ops.swapLast(rows), rowsOf(x!, ops)),
      bias && ops.reduceSum(rows, [0], { keepDims: false }),
    ];
  },
});

/**
 * A linear map of the channels: `y = x weightᵀ + bias`, with the weight as checkpoints store it.
 *
 * Shapes   x [..., in], weight [out, in], bias [out] or none → [..., out]
 * Dtypes   numbers, all the same
 * Throws   ShapeError when the last axis of x is not `in`, or the bias is not [out]
 * Lowers   everywhere: MatMul, Add
 * Example  const y = ops.linear(x, weight);
 */
export const linear = (x: Operand, weight: Operand, bias?: Operand): Value => apply(Linear, [x, weight, bias], {})[0]!;

// ---- Gemm -----------------------------------------------------------------------------------------------------------

type GemmAttrs = { readonly alpha: number; readonly beta: number; readonly transA: 0 | 1; readonly transB: 0 | 1 };

const gemmOperands = ['a', 'b', 'c?'] as const;
/** ONNX Gemm. */
export const Gemm: Op<GemmAttrs, typeof gemmOperands> = defineOp<GemmAttrs, typeof gemmOperands>({
  key: 'Gemm',
  operands: gemmOperands,
  since: 13,
  attributes: { alpha: 'float', beta: 'float', transA: 'int', transB: 'int' },
  infer([a, b, c], { transA, transB }) {
    acceptAlike(c ? [a, b, c] : [a, b], 'number');
    for (const m of [a!, b!]) if (m.dims.length !== 2) throw mismatch('an operand is not a matrix', 'two axes', printType(m));
    const [left, right] = [transA ? a!.dims.toReversed() : a!.dims, transB ? b!.dims.toReversed() : b!.dims];
    const dims = productDims(left, right);
    const fits = !c || broadcastDims(dims, c.dims).every((d, i) => d === dims[i]);
    if (!fits || (c && c.dims.length > 2))
      throw mismatch('the addend does not fit the product', `what broadcasts to [${dims.join(', ')}]`, printType(c));
    return [{ dtype: a!.dtype, dims }];
  },
  evaluate([a, b, c], { alpha, beta, transA, transB }) {
    const y = product(transA ? transposed(a!) : a!, transB ? transposed(b!) : b!);
    const addend = c && broadcastTo(c, y.dims).data;
    const fit = fitting(y.dtype);
    return [{ ...y, data: y.data.map((v, i) => fit(alpha * v + (addend ? beta * addend[i]! : 0))) }];
  },
  vjp({ operands: [a, b, c], attrs: { alpha, beta, transA, transB } }, [grad], ops) {
    if (!grad) return [];
    const [flipA, flipB] = [transA === 1, transB === 1];
    return [
      flipA
        ? gemm(b, grad, undefined, { alpha, transA: flipB, transB: true })
        : gemm(grad, b, undefined, { alpha, transB: !flipB }),
      flipB
        ? gemm(grad, a, undefined, { alpha, transA: true, transB: flipA })
        : gemm(a, grad, undefined, { alpha, transA: !flipA }),
      c && unbroadcast(ops.mul(grad, beta), c.dims, ops),
    ];
  },
});

/**
 * `alpha · a b + beta · c` for matrices; a and b can be transposed.
 *
 * Shapes   a [n, k], b [k, m], c broadcasts to [n, m] → [n, m]
 * Dtypes   numbers, all the same
 * Throws   ShapeError when an operand is not a matrix, the inner sizes differ or c does not broadcast
 * Lowers   everywhere: Gemm
 */
export function gemm(
  a: Operand,
  b: Operand,
  c?: Operand,
  o: { readonly alpha?: number; readonly beta?: number; readonly transA?: boolean; readonly transB?: boolean } = {},
): Value {
  const { alpha = 1, beta = 1, transA = false, transB = false } = o ?? {};
  const attrs: GemmAttrs = { alpha, beta, transA: transA ? 1 : 0, transB: transB ? 1 : 0 };
  return apply(Gemm, [a, b, c], attrs)[0]!;
}
