import { describe, expect, it } from 'vitest';
import type { Dim } from '../dim/dim';
import { footprint } from '../explain/footprint';
import { interpret } from '../interpret/interpret';
import type { Graph } from '../ir/graph';
import { lower } from '../lower/lower';
import { cuda } from '../targets/cuda';
import { toArray } from '../tensor/convert';
import { expectClose } from '../testing/close';
import { checkOp } from '../testing/op-suite';
import { randomArray } from '../testing/run-block';
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

/** The transform by its formula, of the parts in one line. */
function byFormula(parts: ArrayLike<number>, sign: 1 | -1): number[] {
  const n = parts.length / 2;
  return Array.from({ length: n }, (_, k) => {
    let [real, imaginary] = [0, 0];
    for (let j = 0; j < n; j++) {
      const angle = (sign * 2 * Math.PI * ((j * k) % n)) / n;
      const [c, s] = [Math.cos(angle), Math.sin(angle)];
      real += parts[2 * j]! * c - parts[2 * j + 1]! * s;
      imaginary += parts[2 * j]! * s + parts[2 * j + 1]! * c;
    }
    const scale = sign > 0 ? 1 / n : 1;
    return [real * scale, imaginary * scale];
  }).flat();
}

describe('long signals', () => {
  // A square, a product of different primes, twice a large prime, primes, a power of two.
  const lengths = [289, 299, 1018, 257, 509, 512];
  const both = [
    ['evaluated', {}],
    ['by its definition', { prefer: 'decompose' }],
  ] as const;
  const cases = lengths.flatMap((n) => both.flatMap(([how, o]) => ([n, 'seq'] as const).map((dim) => [n, how, dim, o] as const)));
  it.each(cases)('of %i elements, %s, traced at %s', (n, _, dim, options) => {
    const x = randomArray('x', [1, n, 2], 'float64');
    for (const [sign, o] of [
      [-1, {}],
      [1, { inverse: true }],
    ] as const) {
      const g = new GraphBuilder();
      g.output('y', dft(g.input('x', 'float64', [1, dim, 2]), o));
      const { y } = interpret(g.finish(), { x }, options);
      const expected = { dtype: 'float64', dims: [1, n, 2], data: Float64Array.from(byFormula(x.data, sign)) } as const;
      expectClose(y!, expected, { atol: 1e-10, rtol: 1e-10 });
    }
  });

  /** For a target without a kernel of its own. */
  function lowered(n: Dim): Graph {
    const g = new GraphBuilder();
    g.output('y', dft(g.input('x', 'float32', [n, 1])));
    return lower(g.finish(), cuda).graph;
  }

  it.each(lengths)('of %i elements, one-sided and back', (n) => {
    const x = randomArray('x', [n, 3, 1], 'float64');
    for (const dim of [n, 'seq']) {
      const g = new GraphBuilder();
      const input = g.input('x', 'float64', [dim, 3, 1]);
      const half = dft(input, { axis: 0, onesided: true });
      g.output('half', half);
      g.output('y', dft(half, { axis: 0, inverse: true, onesided: true, length: dim }));
      const { half: got, y } = interpret(g.finish(), { x }, { prefer: 'decompose' });
      expectClose(y!, x, { atol: 1e-10, rtol: 1e-10 });
      expect(got!.dims).toEqual([Math.floor(n / 2) + 1, 3, 2]);
    }
  });

  // A padded signal has up to 2 (2n − 1) elements of two numbers; the parts of one of unknown length have a matrix of (n / 32)².
  const bounds = [
    [4096, 3 * 4096],
    [16_384, 3 * 16_384],
    [4099, 8 * 4099],
    [65_537, 9 * 65_537],
  ] as const;
  it.each(bounds)('of %i elements use memory in proportion', (n, most) => {
    const { constants, largest } = footprint(lowered(n), {});
    expect(largest.at).toBeLessThan(most);
    expect(constants).toBeLessThan(32 * n + 2 ** 21);
  });
  it.each([1000, 16_384, 65_537])('of unknown length take memory for blocks of 128, for %i elements', (seq) => {
    const { constants, largest } = footprint(lowered('seq'), { seq });
    expect(largest.at).toBeLessThan(Math.max(4 * (seq / 64 + 1) ** 2, 4 * (seq + 128)));
    expect(constants).toBeLessThan(2 ** 20);
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
