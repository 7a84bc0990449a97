// Concat and Split along an axis.
import { addDims, type Dim, dim } from '../dim/dim';
import { aList, given } from '../given';
import { defineOp, noFlops, printType, type TensorType } from '../ir/define-op';
import { apply, mismatch, type Operand, Value, type Vocabulary } from '../ir/graph';
import { countOf, type NDArray } from '../tensor/tensor';
import { accept, acceptAlike } from './accept';
import { axisOf, rowMajorStrides } from './strides';
import { readView, writeView } from './views';

type ConcatAttrs = { readonly axis: number };

/** ONNX Concat. */
export const Concat = defineOp<ConcatAttrs>({
  key: 'Concat',
  flops: noFlops,
  since: 13,
  attributes: { axis: 'int' },
  infer(operands, { axis }) {
    const [first, ...others] = acceptAlike(operands, 'any') as [TensorType, ...TensorType[]];
    const fits = (t: TensorType) =>
      t.dims.length === first.dims.length && t.dims.every((d, i) => i === axis || d === first.dims[i]);
    const odd = others.find((t) => !fits(t));
    if (odd)
      throw mismatch(`sizes differ on an axis other than ${axis}, along which they are joined`, printType(first), printType(odd));
    const joined = addDims(first.dims[axis]!, ...others.map((t) => t.dims[axis]!));
    return [{ dtype: first.dtype, dims: first.dims.with(axis, joined) }];
  },
  simplify(operands, { axis }) {
    const full = operands.filter((v) => v!.dims[axis] !== 0) as Value[];
    const alike = operands.every((v) => v!.dtype === operands[0]!.dtype && v!.rank === operands[0]!.rank);
    if (!alike || full.length === operands.length) return operands.length === 1 ? operands[0] : undefined;
    Concat.infer(operands, { axis });
    return full.length ? concat(full, axis) : operands[0];
  },
  vjp({ operands, attrs: { axis } }, [grad]) {
    return grad
      ? split(
          grad,
          operands.map((v) => v!.dims[axis]!),
          axis,
        )
      : [];
  },
  evaluate(operands, { axis }) {
    const parts = operands as readonly NDArray[];
    const joined = parts.reduce((n, p) => n + p.dims[axis]!, 0);
    const dims = parts[0]!.dims.with(axis, joined);
    const strides = rowMajorStrides(dims);
    const data = new Float64Array(countOf(dims));
    let at = 0;
    for (const part of parts) {
      writeView(data, part.data, part.dims, strides, at);
      at += part.dims[axis]! * strides[axis]!;
    }
    return [{ dtype: parts[0]!.dtype, dims, data }];
  },
});

/**
 * Concatenates values along an axis.
 *
 * Shapes   [batch, past, 5], [batch, seq, 5], axis 1 → [batch, past + seq, 5]
 * Throws   ShapeError when other axes or the dtypes differ, or none of them is a value
 * Lowers   everywhere: Concat
 * Example  const y = ops.concat([q, k], -1);
 */
export function concat(xs: readonly Operand[], axis: number): Value {
  given('concat', { xs }, { xs: aList });
  const anchor = xs.find((x) => x instanceof Value);
  const along = anchor ? anchor.graph.located(Concat.key, [anchor], () => axisOf(axis, anchor.rank)) : axis;
  return apply(Concat, xs, { axis: along })[0]!;
}

type SplitAttrs = { readonly sizes: readonly Dim[]; readonly axis: number };

function inferSplit([x]: readonly (TensorType | undefined)[], { sizes: parts, axis }: SplitAttrs): readonly TensorType[] {
  const { dtype, dims } = accept(x, 'any');
  const total = addDims(...parts);
  if (total !== dims[axis])
    throw mismatch(`the parts of axis ${axis} do not add up to it`, String(dims[axis]), `${parts.join(' + ')} = ${total}`);
  const negative = parts.find((p) => typeof p === 'number' && p < 0);
  if (negative !== undefined) throw mismatch('a part has a negative size', 'at least 0', String(negative));
  return parts.map((part) => ({ dtype, dims: dims.with(axis, part) }));
}

function partsOf(x: NDArray, parts: readonly number[], axis: number): readonly NDArray[] {
  const strides = rowMajorStrides(x.dims);
  let at = 0;
  return parts.map((part) => {
    const dims = x.dims.with(axis, part);
    const data = readView(x.data, dims, strides, at);
    at += part * strides[axis]!;
    return { dtype: x.dtype, dims, data };
  });
}

// The gradient of a part that is not read is absent, and counts as zeros.
function joinGradients(
  outputs: readonly Value[],
  grads: readonly (Value | undefined)[],
  axis: number,
  { fill }: Vocabulary,
): Value | undefined {
  if (grads.every((g) => g === undefined)) return undefined;
  return concat(
    outputs.map((v, i) => grads[i] ?? fill(v, v.dims, 0, v.dtype)),
    axis,
  );
}

/** The high-level op: parts of any sizes. */
export const Split = defineOp<SplitAttrs>({
  key: 'onnxformers.Split',
  flops: noFlops,
  attributes: { sizes: 'data', axis: 'int' },
  infer: inferSplit,
  decompose: ([x], attrs, { OnnxSplit, sizes }) => apply(OnnxSplit, [x, sizes(x!, attrs.sizes, [x!])], attrs),
  vjp: ({ outputs, attrs: { axis } }, grads, ops) => [joinGradients(outputs, grads, axis, ops)],
  evaluate: ([x], { sizes: parts, axis }, bound) =>
    partsOf(
      x!,
      parts.map((p) => bound.of(p)),
      axis,
    ),
});

/** ONNX Split. Operands: x, and the sizes of the parts as int64. */
export const OnnxSplit = defineOp<SplitAttrs>({
  key: 'Split',
  flops: noFlops,
  since: 13,
  attributes: { sizes: 'data', axis: 'int' },
  infer: inferSplit,
  vjp: ({ outputs, attrs: { axis } }, grads, ops) => [joinGradients(outputs, grads, axis, ops), undefined],
  evaluate: ([x, parts], { axis }) => partsOf(x!, Array.from(parts!.data), axis),
});

/**
 * Parts of x along an axis, in order.
 *
 * Shapes   x [batch, seq, 12], sizes [7, 5], axis -1 → [batch, seq, 7] and [batch, seq, 5]
 * Throws   ShapeError when the sizes do not add up to the axis
 * Lowers   everywhere: Split
 * Example  const [a, b] = ops.split(x, [7, 5], -1);
 */
export function split(x: Value, parts: readonly Dim[], axis: number): readonly Value[] {
  given('split', { x, parts }, { parts: aList });
  const along = x.graph.located(Split.key, [x], () => axisOf(axis, x.rank));
  const canonical = parts.map(dim);
  if (canonical.length === 1 && canonical[0] === x.dims[along]) return [x];
  return apply(Split, [x], { sizes: canonical, axis: along });
}
