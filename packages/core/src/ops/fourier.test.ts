import { describe, expect, it } from 'vitest';
import { toArray } from '../tensor/convert';
import { checkOp } from '../testing/op-suite';
import { DFT, dft } from './fourier';
import { cases } from './fourier.cases';
import { GraphBuilder } from './vocabulary';

describe('the op suite', () => {
  it.each(cases.map((c) => [c.name, c] as const))('%s', (_, c) => checkOp(c));
});

describe('dims', () => {
  const g = new GraphBuilder();
  const x = g.input('x', 'float32', ['batch', 'seq', 8, 1]);
  it.each([
    ['whole', dft(x), ['batch', 'seq', 8, 2]],
    ['one-sided', dft(x, { onesided: true }), ['batch', 'seq', 5, 2]],
    ['one-sided of a symbolic length', dft(x, { axis: 1, onesided: true }), ['batch', 'floorDiv(seq, 2) + 1', 8, 2]],
    ['one-sided and back', dft(dft(x, { onesided: true }), { onesided: true, inverse: true }), ['batch', 'seq', 8, 1]],
    ['of a longer signal', dft(x, { axis: 1, length: '2*seq' }), ['batch', '2*seq', 8, 2]],
  ])('%s', (_, y, dims) => expect(y.dims).toEqual(dims));
});

describe('how ONNX has it', () => {
  it('the axis is an operand', () => {
    const g = new GraphBuilder();
    const node = dft(g.input('x', 'float32', ['seq', 3, 1]), { axis: 0 }).producer!;
    const { operands, attributes } = DFT.encode!(node as Parameters<NonNullable<typeof DFT.encode>>[0]);
    expect(operands[1]).toBeUndefined();
    expect(Array.from(toArray(operands[2] as Parameters<typeof toArray>[0]).data)).toEqual([0]);
    expect(attributes).toEqual({ inverse: { kind: 'int', value: 0 }, onesided: { kind: 'int', value: 0 } });
  });
  it('of a known length it is one product with a constant', () => {
    const g = new GraphBuilder();
    const node = dft(g.input('x', 'float32', ['batch', 5, 1])).producer!;
    g.output('y', DFT.decompose!(node.operands, node.attrs as Parameters<NonNullable<typeof DFT.decompose>>[1], g.ops)[0]!);
    expect(g.finish().nodes.map((n) => n.op.key)).toEqual(['onnxformers.Reshape', 'MatMul', 'onnxformers.Reshape']);
  });
});

describe('errors', () => {
  const g = new GraphBuilder();
  const [real, complex] = [g.input('real', 'float32', ['seq', 1]), g.input('complex', 'float32', ['seq', 2])];
  it.each([
    [
      'no parts',
      () => dft(g.input('x', 'float32', ['seq', 3])),
      /does not contain real and imaginary parts; expected 1 \(real\) or 2 \(complex\), got float32\[seq, 3\]/,
    ],
    ['the axis of the parts', () => dft(real, { axis: -1 }), /contains real and imaginary parts and cannot be transformed/],
    ['one-sided of a complex signal', () => dft(complex, { onesided: true }), /starts from a real signal; expected 1, got 2/],
    [
      'one-sided back from a real spectrum',
      () => dft(real, { onesided: true, inverse: true }),
      /starts from a complex spectrum; expected 2, got 1/,
    ],
    ['integers', () => dft(g.input('i', 'int32', ['seq', 1])), /a float dtype, got int32/],
  ] as const)('%s', (_, f, message) => expect(f).toThrow(message));
});
