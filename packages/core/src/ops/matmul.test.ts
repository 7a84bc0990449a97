import { describe, expect, it } from 'vitest';
import { checkOp } from '../testing/op-suite';
import { einsum } from './einsum';
import { gemm, linear, matmul } from './matmul';
import { cases } from './matmul.cases';
import { GraphBuilder } from './vocabulary';

describe('the op suite', () => {
  it.each(cases.map((c) => [c.name, c] as const))('%s', (_, c) => checkOp(c));
});

describe('definitions', () => {
  const g = new GraphBuilder();
  const x = g.input('x', 'float32', ['batch', 'seq', 3]);
  const keysOf = (v: ReturnType<typeof matmul>) => {
    const { op, operands, attrs } = v.producer!;
    const inner = new GraphBuilder();
    const inputs = operands.map((o, i) => o && inner.input(String(i), o.dtype, o.dims));
    inner.output('y', op.decompose!(inputs, attrs, inner.ops)[0]!);
    return inner.finish().nodes.map((n) => n.op.key);
  };
  it('linear is a product with the transposed weight', () => {
    const [weight, bias] = [g.input('w', 'float32', [2, 3]), g.input('b', 'float32', [2])];
    expect(keysOf(linear(x, weight, bias))).toEqual(['Transpose', 'MatMul', 'Add']);
    expect(keysOf(linear(x, weight))).toEqual(['Transpose', 'MatMul']);
  });
  it('einsum is a plain product where it is one', () => {
    expect(keysOf(einsum('bij,bjk->bik', x, g.input('y', 'float32', ['batch', 3, 5])))).toEqual(['MatMul']);
    expect(keysOf(einsum('bsd,d->bsd', x, g.input('s', 'float32', [3])))).toEqual(['onnxformers.Reshape', 'Mul']);
  });
  it('spaces in an equation do not matter', () => {
    expect(einsum('b s d -> b d s', x)).toBe(einsum('bsd->bds', x));
  });
});

describe('errors', () => {
  const g = new GraphBuilder();
  const x = g.input('x', 'float32', ['batch', 'seq', 3]);
  const w = g.input('w', 'float32', [2, 3]);
  const past = g.input('past', 'float32', ['past', 3, 2]);
  it.each([
    ['inner sizes', () => matmul(x, w), /MatMul: the inner sizes differ; .*got 3 and 2/],
    ['leading axes', () => matmul(x, past), /batch and past cannot be broadcast/],
    ['a scalar', () => matmul(x, 2), /a scalar is not a matrix/],
    ['dtypes', () => matmul(x, g.input('h', 'float16', [3, 2])), /dtypes differ/],
    ['a weight of another width', () => linear(past, w), /the weight requires 3 channels.*got float32\[past, 3, 2\]/],
    ['a weight of three axes', () => linear(x, past), /the weight is not a matrix; expected \[out, in\]/],
    [
      'a bias of another size',
      () => linear(x, w, g.input('b', 'float32', [3])),
      /bias does not fit.*expected \[2\], got float32\[3\]/,
    ],
    ['gemm of three axes', () => gemm(x, w), /not a matrix; expected two axes/],
    ['a gemm addend', () => gemm(w, w, w, { transB: true }), /addend|broadcast/],
    ['another number of terms', () => einsum('ij,jk->ik', x), /does not fit the operands; expected 1 terms/],
    ['another number of axes', () => einsum('ij->ji', x), /"ij" does not name the axes of its operand; expected 3 axes, got 2/],
    ['two sizes', () => einsum('bsd,sd->b', x, w), /the axis s has two sizes; expected one size, got seq and 2/],
    ['an unknown output', () => einsum('bsd->bx', x), /output axis x is in no operand/],
    ['an output axis twice', () => einsum('bsd->bb', x), /output axis b is in no operand, or named twice/],
    ['a summed ellipsis', () => einsum('...d->d', x), /the output lacks the ellipsis/],
    [
      'ellipses',
      () => einsum('...d,...o->...do', x, w),
      /stand for different numbers of axes; expected the same number, got 2 and 1/,
    ],
    ['signs', () => einsum('b-d->b', x), /names no axes/],
  ])('%s', (_, f, message) => expect(f).toThrow(message));
});
