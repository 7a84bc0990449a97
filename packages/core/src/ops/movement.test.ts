import { describe, expect, it } from 'vitest';
import type { Dim } from '../dim/dim';
import type { Node, Value } from '../ir/graph';
import { toArray } from '../tensor/convert';
import { checkOp } from '../testing/op-suite';
import { cast } from './cast';
import {
  concat,
  expand,
  flattenAxes,
  flip,
  pad,
  padTo,
  reshape,
  roll,
  slice,
  split,
  squeeze,
  swapLast,
  tile,
  transpose,
  unsqueeze,
  windows,
} from './movement';
import { cases } from './movement.cases';
import { GraphBuilder } from './vocabulary';

const input = (...dims: Dim[]) =>
  new GraphBuilder({
    filled: new Map([
      ['batch', 1],
      ['seq', 1],
    ]),
  }).input('x', 'float32', dims);
/** The nodes of ONNX that a value is defined by, in order. */
function defined(value: Value): string[] {
  const g = value.graph;
  const expanded = (node: Node): readonly Value[] =>
    node.op.decompose ? node.op.decompose(node.operands, node.attrs, g.ops) : node.outputs;
  g.output('y', expanded(value.producer!)[0]!);
  return g.finish().nodes.map((node) => node.op.key);
}
/** The constant that the definition's last node has as this operand. */
function constantOperand(value: Value, index: number): number[] {
  const node = value.producer!.op.decompose!(value.producer!.operands, value.producer!.attrs, value.graph.ops)[0]!.producer!;
  const leaf = node.operands[index]!.leaf;
  if (leaf?.kind !== 'constant') throw new Error(`operand ${index} of ${node.op.key} is not a constant`);
  return Array.from(toArray(leaf.tensor).data);
}

describe('the op suite', () => {
  it.each(cases.map((c) => [c.name, c] as const))('%s', (_, c) => checkOp(c));
});

describe('ops without effect are removed', () => {
  const x = input('batch', 'seq', 6);
  it.each([
    ['reshape to the same dims', reshape(x, ['batch', 'seq', 6])],
    ['reshape there and back', reshape(reshape(x, ['batch', 'seq', 2, 3]), ['batch', -1, 6])],
    ['transpose in order', transpose(x, [0, 1, 2])],
    ['transpose there and back', swapLast(swapLast(x))],
    ['three turns', transpose(transpose(transpose(x, [1, 2, 0]), [1, 2, 0]), [1, 2, 0])],
    ['slice of everything', slice(x, { axes: [0, 2], starts: [0, 0], ends: ['batch', 6] })],
    ['pad by nothing', pad(x, { axes: [1], before: [0], after: [0] })],
    ['padTo its own size', padTo(x, 1, 'seq')],
    ['concat of one', concat([x], 1)],
    ['split into one', split(x, ['seq'], 1)[0]],
    ['expand to the same dims', expand(x, ['batch', 'seq', 6])],
    ['tile once', tile(x, [1, 1, 1])],
    ['squeeze after unsqueeze', squeeze(unsqueeze(x, [1]), [1])],
    ['roll by nothing', roll(x, 0, 1)],
    ['roll around', roll(x, 12, 2)],
  ])('%s', (_, y) => expect(y).toBe(x));

  it('moving axes of size 1 is a reshape, which cancels', () => {
    const row = input(1, 'seq', 1, 6);
    const moved = transpose(row, [1, 0, 3, 2]);
    expect(moved.producer!.op.key).toBe('onnxformers.Reshape');
    expect(reshape(moved, row.dims)).toBe(row);
  });
  it('a slice of a slice is one slice', () => {
    const twice = slice(slice(x, { axes: [1], starts: [2], steps: [3] }), { axes: [1, 2], starts: [1, 4] });
    expect(twice.producer!.operands[0]).toBe(x);
    expect(twice.dims).toEqual(['batch', 'floorDiv(seq, 3) - 1', 2]);
  });
  it('an empty part of a concat is removed', () => {
    const g = new GraphBuilder();
    const [a, b, none] = [g.input('a', 'float32', [2, 3]), g.input('b', 'float32', [2, 5]), g.input('none', 'float32', [2, 0])];
    expect(concat([a, none, b], 1).producer!.operands).toEqual([a, b]);
    expect(concat([none, none], 1)).toBe(none);
  });
});

describe('shapes are constants if possible', () => {
  it.each([
    ['copied sizes', input('batch', 'seq', 12), ['batch', 'seq', 3, 4], [0, 0, 3, 4]],
    ['one product', input('batch', 'seq', 12), ['batch*seq', 12], [-1, 12]],
    ['a product behind a copied size', input('batch', 'seq', 12), ['batch', '12*seq'], [0, -1]],
    ['known sizes', input(6, 5), [5, 2, 3], [5, 2, 3]],
  ] as const)('reshape: %s', (_, x, dims, shape) => {
    expect(constantOperand(reshape(x, dims), 1)).toEqual(shape);
    expect(defined(reshape(x, dims))).toEqual(['Reshape']);
  });
  it('reshape: axes of size 1 are added and removed without a shape', () => {
    expect(defined(reshape(input('batch', 1, 'seq'), ['batch', 'seq', 1]))).toEqual(['Squeeze', 'Unsqueeze']);
    expect(defined(reshape(input('batch', 'seq', 3), ['batch', 1, 'seq', 3]))).toEqual(['Unsqueeze']);
  });
  it('reshape: a size that moves is read from an input, the product is left to -1', () => {
    const x = input('batch', 3, 'seq', 2);
    expect(defined(reshape(x, ['3*batch', 'seq', 2]))).toEqual(['Shape', 'Concat', 'Reshape']);
  });
  it('reshape: sizes beside one that may be 0 are computed', () => {
    const grouped = defined(reshape(input('items', 6, 'rows', 4), ['items', 2, '3*rows', 4]));
    expect(grouped).toEqual(['Shape', 'Shape', 'Mul', 'Concat', 'Max', 'Reshape']);
    const apart = defined(reshape(input('batch', 2, '3*rows', 'keys'), ['batch', 6, 'rows', 'keys']));
    expect(apart).toEqual(['Shape', 'Shape', 'Div', 'Shape', 'Concat', 'Max', 'Reshape']);
  });
  it('reshape: a new empty axis requires explicit sizes', () => {
    const y = reshape(input(0, 5), [3, 0]);
    const node = y.producer!.op.decompose!(y.producer!.operands, y.producer!.attrs, y.graph.ops)[0]!.producer!;
    expect(node.attrs).toMatchObject({ allowzero: 1 });
  });
  it('expand keeps the sizes of x', () => {
    expect(constantOperand(expand(input('batch', 1, 3), ['batch', 5, 3]), 1)).toEqual([1, 5, 1]);
  });
  it('expand to nothing is a slice', () => {
    const y = expand(input(1, 3), [0, 3]);
    expect(y.dims).toEqual([0, 3]);
    expect(defined(y)).toEqual(['onnxformers.Slice']);
  });
  it('slice: bounds at a known distance from the end', () => {
    const y = slice(input('seq', 7), { axes: [0, 1], starts: [-5, 2], ends: ['seq - 2', 7] });
    expect(constantOperand(y, 1)).toEqual([-5, 2]);
    expect(constantOperand(y, 2)).toEqual([-2, 2 ** 31 - 1]);
    expect(defined(y)).toEqual(['Slice']);
  });
  it('flip and windows need no sizes', () => {
    expect(defined(flip(input('seq', 7), 0))).toEqual(['Slice']);
    expect(windows(input('batch', '4*n', 3), 1, 4, 4).producer!.op.key).toBe('onnxformers.Reshape');
  });
});

describe('results', () => {
  const x = input('batch', 'seq', 6);
  it.each([
    ['-1', reshape(x, [-1, 2, 'seq']).dims, ['3*batch', 2, 'seq']],
    ['flattenAxes', flattenAxes(x, 0, -2).dims, ['batch*seq', 6]],
    ['concat', concat([input('a', 2), input('a', 2)].slice(0, 1), 0).dims, ['a', 2]],
    ['pad', pad(x, { axes: [1], before: [2], after: ['past'] }).dims, ['batch', 'past + seq + 2', 6]],
    ['tile', tile(x, [2, 'heads', 1]).dims, ['2*batch', 'heads*seq', 6]],
    ['windows', windows(input('batch', 'seq'), 1, 6, 4).dims, ['batch', 'floorDiv(seq + 2, 4) - 1', 6]],
  ])('dims of %s', (_, dims, expected) => expect(dims.map(String)).toEqual(expected.map((d) => String(d))));
});

describe('errors have path, problem, expected and got', () => {
  const g = new GraphBuilder();
  const x = g.input('x', 'float32', ['batch', 'seq', 6]);
  it.each([
    ['a -1 that does not divide', () => reshape(x, [-1, 4]), /-1 in \[-1, 4\] cannot be inferred from 6\*batch\*seq/],
    ['two -1', () => reshape(x, [-1, -1, 6]), /cannot be inferred/],
    ['another count', () => reshape(x, ['batch', 'past', 6]), /expected 6\*batch\*seq, got \[batch, past, 6\]/],
    ['squeeze of a wide axis', () => squeeze(x, [2]), /axis 2 cannot be squeezed; expected size 1, got 6/],
    ['unsqueeze twice', () => unsqueeze(x, [1, 1]), /axis 1 is named twice/],
    ['flattenAxes backwards', () => flattenAxes(x, 2, 1), /first axis is after the last/],
    ['perm', () => transpose(x, [0, 2]), /order of 0 to 2, got \[0, 2\]/],
    ['expand of a wide axis', () => expand(x, ['batch', 'past', 6]), /seq and past cannot be broadcast/],
    ['expand to fewer axes', () => expand(x, [6]), /cannot remove axes/],
    ['expand to 1', () => expand(x, ['batch', 'seq', 1]), /only axes of size 1 can be expanded/],
    [
      'slice outside',
      () => slice(x, { axes: [2], starts: [1], ends: [9] }),
      /outside of axis 2; expected 0 <= start <= end <= 6, got 1 to 9/,
    ],
    ['slice outside of a symbolic axis', () => slice(x, { axes: [1], starts: [0], ends: ['seq + 1'] }), /outside of axis 1/],
    ['slice backwards', () => slice(x, { axes: [2], starts: [4], ends: [3] }), /outside of axis 2/],
    ['slice twice', () => slice(x, { axes: [1, -2], starts: [0, 0] }), /sliced twice/],
    ['a step of 0', () => slice(x, { axes: [2], starts: [0], steps: [0] }), /step is not a positive integer/],
    ['a missing start', () => slice(x, { axes: [0, 2], starts: [0] }), /expected 2, got 1/],
    ['no such axis', () => flip(x, 3), /there is no axis 3/],
    ['pad twice', () => pad(x, { axes: [2, -1], before: [1, 1], after: [0, 0] }), /padded twice/],
    ['crop by pad', () => pad(x, { axes: [2], before: [-7], after: [0] }), /more than the whole of axis 2/],
    ['concat of other sizes', () => concat([x, transpose(x, [1, 0, 2])], 2), /sizes differ on an axis other than 2/],
    ['concat of other dtypes', () => concat([x, cast(x, 'float16')], 2), /dtypes differ/],
    ['split', () => split(x, [2, 3], 2), /expected 6, got 2 \+ 3 = 5/],
    ['split into less than nothing', () => split(x, [7, -1], 2), /negative size/],
    ['tile', () => tile(x, [2]), /every axis requires a number of repeats; expected 3, got 1/],
    ['windows', () => windows(x, 2, 7, 1), /shorter than a window; expected at least 7, got 6/],
    ['windows of nothing', () => windows(x, 2, 0, 1), /positive integers/],
  ] as readonly (readonly [string, () => unknown, RegExp])[])('%s', (_, f, message) => {
    expect(() => g.at('layers.0.mixer', f)).toThrow(message);
    expect(() => g.at('layers.0.mixer', f)).toThrow(/ in layers\.0\.mixer: .*Operands: float32\[batch, seq, 6\]/);
  });
});
