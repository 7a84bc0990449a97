// Einsum: sums of products over named axes.
import { addDims, type Dim, mulDims } from '../dim/dim';
import { aText, given } from '../given';
import { defineOp } from '../ir/define-op';
import { apply, mismatch, type Operand, type Value, type Vocabulary } from '../ir/graph';
import { countOf, type NDArray } from '../tensor/tensor';
import { acceptAlike, fitting } from './accept';
import { broadcastDims } from './broadcast';
import { offsetsOf, rowMajorStrides } from './strides';

type EinsumAttrs = { readonly equation: string };

/** The label of an axis is its letter, or `.0`, `.1`, … from the right for axes of an ellipsis. */
interface Equation {
  readonly inputs: readonly (readonly string[])[];
  readonly output: readonly string[];
}

const isEllipsis = (label: string): boolean => label.startsWith('.');

function parse(equation: string, ranks: readonly number[]): Equation {
  const [left, right, more] = equation.replaceAll(' ', '').split('->');
  const texts = left!.split(',');
  if (more !== undefined || texts.length !== ranks.length)
    throw mismatch('the equation does not fit the operands', `${ranks.length} terms and at most one ->`, `"${equation}"`);
  const inputs = texts.map((text, i) => labelsOf(text, equation, ranks[i]!));
  const hidden = inputs.map((labels) => labels.filter(isEllipsis).length).filter((n) => n > 0);
  const widest = Math.max(0, ...hidden);
  if (hidden.some((n) => n !== widest))
    throw mismatch('the ellipses stand for different numbers of axes', 'the same number', hidden.join(' and '));
  const all = inputs.flat();
  const output = right === undefined ? impliedOutput(all, widest) : labelsOf(right, equation, undefined, widest);
  const unknown = output.find((label, i) => !all.includes(label) || output.indexOf(label) !== i);
  if (unknown !== undefined)
    throw mismatch(`the output axis ${unknown} is in no operand, or named twice`, 'every axis once', `"${equation}"`);
  if (widest > output.filter(isEllipsis).length)
    throw mismatch('the output lacks the ellipsis', '... after the ->', `"${equation}"`);
  return { inputs, output };
}

function labelsOf(text: string, equation: string, rank: number | undefined, ellipsis?: number): string[] {
  const [before, after, more] = text.split('...');
  const letters = `${before}${after ?? ''}`;
  if (more !== undefined || !/^[a-zA-Z]*$/.test(letters))
    throw mismatch(`"${text}" names no axes`, 'letters and at most one ...', `"${equation}"`);
  const hidden = after === undefined ? 0 : (ellipsis ?? rank! - letters.length);
  if ((rank !== undefined && letters.length + hidden !== rank) || hidden < 0)
    throw mismatch(`"${text}" does not name the axes of its operand`, `${rank} axes`, String(letters.length));
  return [...before!, ...Array.from({ length: hidden }, (_, i) => `.${hidden - 1 - i}`), ...(after ?? '')];
}

function impliedOutput(all: readonly string[], widest: number): string[] {
  const once = all.filter((label) => !isEllipsis(label) && all.indexOf(label) === all.lastIndexOf(label)).sort();
  return [...Array.from({ length: widest }, (_, i) => `.${widest - 1 - i}`), ...once];
}

/** The size of every axis. Axes of an ellipsis broadcast if they have size 1. */
function sizesOf<D extends Dim>({ inputs }: Equation, dims: readonly (readonly D[])[]): Map<string, D> {
  const sizes = new Map<string, D>();
  inputs.forEach((labels, operand) => {
    labels.forEach((label, axis) => {
      const before = sizes.get(label);
      const size = dims[operand]![axis]!;
      if (before === undefined) sizes.set(label, size);
      else if (isEllipsis(label)) sizes.set(label, broadcastDims([before], [size])[0] as D);
      else if (before !== size) throw mismatch(`the axis ${label} has two sizes`, 'one size', `${before} and ${size}`);
    });
  });
  return sizes;
}

/** ONNX Einsum. */
export const Einsum = defineOp<EinsumAttrs>({
  key: 'Einsum',
  since: 12,
  attributes: { equation: 'string' },
  infer(operands, { equation }) {
    const types = acceptAlike(operands, 'number');
    const dims = types.map((t) => t.dims);
    const parsed = parse(equation, ranksOf(dims));
    const sizes = sizesOf(parsed, dims);
    return [{ dtype: types[0]!.dtype, dims: parsed.output.map((label) => sizes.get(label)!) }];
  },
  decompose(operands, { equation }, ops) {
    const xs = operands as readonly Value[];
    const { inputs, output } = parse(equation, ranksOf(xs.map((x) => x.dims)));
    const terms = xs.map((value, i) => diagonal({ value, labels: inputs[i]! }, ops));
    const product = terms.reduce((a, b, i) =>
      contracted(a, b, new Set([...output, ...terms.slice(i + 1).flatMap((t) => t.labels)]), ops),
    );
    const { value, labels } = summed(product, (label) => !output.includes(label), ops);
    return [
      ops.transpose(
        value,
        output.map((label) => labels.indexOf(label)),
      ),
    ];
  },
  evaluate: (operands, { equation }) => [sumOfProducts(operands as readonly NDArray[], equation)],
});

const ranksOf = (dims: readonly (readonly Dim[])[]): number[] => dims.map((d) => d.length);

function sumOfProducts(xs: readonly NDArray[], equation: string): NDArray {
  const dims = xs.map((x) => x.dims);
  const parsed = parse(equation, ranksOf(dims));
  const sizes = sizesOf(parsed, dims);
  const inner = [...sizes.keys()].filter((label) => !parsed.output.includes(label));
  const sizesAlong = (labels: readonly string[]) => labels.map((label) => sizes.get(label)!);
  const offsets = (labels: readonly string[]) =>
    xs.map((x, i) =>
      offsetsOf(
        sizesAlong(labels),
        labels.map((label) => strideOf(label, parsed.inputs[i]!, x.dims)),
      ),
    );
  const [outer, along] = [offsets(parsed.output), offsets(inner)];
  const fit = fitting(xs[0]!.dtype);
  const [outDims, terms] = [sizesAlong(parsed.output), countOf(sizesAlong(inner))];
  const data = Float64Array.from({ length: countOf(outDims) }, (_, o) => {
    let sum = 0;
    for (let s = 0; s < terms; s++) {
      let factor = 1;
      for (let i = 0; i < xs.length; i++) factor *= xs[i]!.data[outer[i]![o]! + along[i]![s]!]!;
      sum += factor;
    }
    return fit(sum);
  });
  return { dtype: xs[0]!.dtype, dims: outDims, data };
}

// For an axis named twice only its diagonal is read; an axis of size 1 has stride 0.
function strideOf(label: string, labels: readonly string[], dims: readonly number[]): number {
  const strides = rowMajorStrides(dims);
  return labels.reduce((sum, own, axis) => (own === label && dims[axis] !== 1 ? sum + strides[axis]! : sum), 0);
}

// ---- The definition -------------------------------------------------------------------------------------------------

interface Term {
  readonly value: Value;
  readonly labels: readonly string[];
}

/** An operand without axes named twice. Appending n elements to n rows of n and reshaping to n rows of n + 1 moves the diagonal to the first column. */
function diagonal(term: Term, ops: Vocabulary): Term {
  const twice = term.labels.find((label, i) => term.labels.indexOf(label) !== i);
  if (twice === undefined) return term;
  const first = term.labels.indexOf(twice);
  const pair = [first, term.labels.indexOf(twice, first + 1)];
  const others = term.labels.flatMap((_, i) => (pair.includes(i) ? [] : [i]));
  const { value } = ordered(term, [...others, ...pair], ops);
  const [rest, n] = [value.dims.slice(0, -2), value.dims.at(-1)!];
  const flat = ops.pad(ops.reshape(value, [...rest, mulDims(n, n)]), { axes: [-1], before: [0], after: [n] });
  const shifted = ops.reshape(flat, [...rest, n, addDims(n, 1)]);
  const column = ops.squeeze(ops.slice(shifted, { axes: [-1], starts: [0], ends: [1] }), [-1]);
  return diagonal({ value: column, labels: [...others.map((i) => term.labels[i]!), twice] }, ops);
}

const ordered = ({ value, labels }: Term, axes: readonly number[], { transpose }: Vocabulary): Term => ({
  value: transpose(value, axes),
  labels: axes.map((i) => labels[i]!),
});

function summed({ value, labels }: Term, gone: (label: string) => boolean, { reduceSum }: Vocabulary): Term {
  const axes = labels.flatMap((label, i) => (gone(label) ? [i] : []));
  if (axes.length === 0) return { value, labels };
  return { value: reduceSum(value, axes, { keepDims: false }), labels: labels.filter((label) => !gone(label)) };
}

/** The product of two terms, summed over the axes that no later term needs. `needed` lists the axes of the output in their order, then others. */
function contracted(a: Term, b: Term, needed: ReadonlySet<string>, ops: Vocabulary): Term {
  const left = summed(a, (label) => !needed.has(label) && !b.labels.includes(label), ops);
  const right = summed(b, (label) => !needed.has(label) && !a.labels.includes(label), ops);
  const both = left.labels.filter((label) => right.labels.includes(label));
  const [batch, inner] = [both.filter((l) => needed.has(l)), both.filter((l) => !needed.has(l))];
  const [rows, columns] = [left.labels.filter((l) => !both.includes(l)), right.labels.filter((l) => !both.includes(l))];
  if (inner.length === 0) {
    const labels = [...needed].filter((label) => left.labels.includes(label) || right.labels.includes(label));
    return { value: ops.mul(spread(left, labels, ops), spread(right, labels, ops)), labels };
  }
  const product = ops.matmul(grouped(left, batch, rows, inner, ops), grouped(right, batch, inner, columns, ops));
  const dimsOf = (term: Term, of: readonly string[]) => of.map((l) => term.value.dims[term.labels.indexOf(l)]!);
  const dims = [...product.dims.slice(0, -2), ...dimsOf(left, rows), ...dimsOf(right, columns)];
  return { value: ops.reshape(product, dims), labels: [...batch, ...rows, ...columns] };
}

/** With an axis of size 1 where the term lacks a label. */
function spread(term: Term, labels: readonly string[], ops: Vocabulary): Value {
  const own = labels.filter((label) => term.labels.includes(label));
  const { value } = ordered(
    term,
    own.map((label) => term.labels.indexOf(label)),
    ops,
  );
  return ops.unsqueeze(
    value,
    labels.flatMap((label, i) => (own.includes(label) ? [] : [i])),
  );
}

/** [batch axes joined, row axes joined, column axes joined]. */
function grouped(
  term: Term,
  batch: readonly string[],
  rows: readonly string[],
  columns: readonly string[],
  ops: Vocabulary,
): Value {
  const order = [...batch, ...rows, ...columns].map((label) => term.labels.indexOf(label));
  const { value } = ordered(term, order, ops);
  const from = batch.length + rows.length;
  const { dims } = value;
  return ops.reshape(value, [
    ...dims.slice(0, batch.length),
    mulDims(...dims.slice(batch.length, from)),
    mulDims(...dims.slice(from)),
  ]);
}

/**
 * Sums of products over named axes, in the notation of Einstein: axes that are not in the output are summed over, `...` represents axes that
 * broadcast. Without `->` the output has the axes that occur once, in alphabetical order.
 *
 *     einsum('b s h d, b t h d -> b h s t', q, k)
 *
 * Shapes   as the equation says
 * Dtypes   numbers, all the same
 * Throws   ShapeError when the equation does not fit the operands, or an axis has two sizes
 * Lowers   everywhere: Einsum
 * Example  const scores = ops.einsum('b h s d, b h t d -> b h s t', q, k);
 */
export const einsum = (equation: string, ...xs: readonly Operand[]): Value => {
  given('einsum', { equation }, { equation: aText });
  return apply(Einsum, xs, { equation: equation.replaceAll(' ', '') })[0]!;
};
