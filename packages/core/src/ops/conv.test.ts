import { describe, expect, it } from 'vitest';
import { checkOp } from '../testing/op-suite';
import { conv, convTranspose } from './conv';
import { cases } from './conv.cases';
import { averagePool, globalAveragePool, maxPool } from './pool';
import { GraphBuilder } from './vocabulary';

describe('the op suite', () => {
  it.each(cases.map((c) => [c.name, c] as const))('%s', (_, c) => checkOp(c));
});

describe('results', () => {
  const g = new GraphBuilder();
  const image = g.input('image', 'float32', ['batch', 6, 'height', 'width']);
  const weight = g.input('weight', 'float32', [4, 6, 3, 2]);
  it.each([
    ['conv', conv(image, weight), ['batch', 4, 'height - 2', 'width - 1']],
    [
      'conv by steps',
      conv(image, weight, undefined, { strides: 2, pads: 1 }),
      ['batch', 4, 'ceilDiv(height, 2)', 'floorDiv(width, 2) + 1'],
    ],
    [
      'convTranspose',
      convTranspose(g.input('x', 'float32', ['batch', 4, 'seq']), g.input('w', 'float32', [4, 5, 3]), undefined, { strides: 2 }),
      ['batch', 5, '2*seq + 1'],
    ],
    ['globalAveragePool', globalAveragePool(image), ['batch', 6, 1, 1]],
  ])('dims of %s', (_, y, dims) => expect(y.dims).toEqual(dims));
  it('every attribute is written', () => {
    expect(conv(image, weight).producer!.attrs).toEqual({
      kernel_shape: [3, 2],
      strides: [1, 1],
      pads: [0, 0, 0, 0],
      dilations: [1, 1],
      group: 1,
    });
  });
});

describe('errors', () => {
  const g = new GraphBuilder();
  const x = g.input('x', 'float32', ['batch', 6, 'seq']);
  const w = (...dims: number[]) =>
    g.constant({ dtype: 'float32', dims, data: new Float32Array(dims.reduce((a, b) => a * b, 1)) });
  it.each([
    ['channels', () => conv(x, w(4, 5, 3)), /Conv in layers.0: the weight requires 5 channels; expected 5 in axis 1 of x, got 6/],
    [
      'groups',
      () => conv(x, w(4, 2, 3), undefined, { group: 3 }),
      /output channels cannot be divided into 3 groups; expected a multiple of 3, got 4/,
    ],
    ['axes', () => conv(x, w(4, 6, 3, 3)), /the window does not fit the spatial axes/],
    ['no spatial axis', () => maxPool(g.input('flat', 'float32', [2, 3]), 1), /x has no spatial axis/],
    ['bias', () => conv(x, w(4, 6, 3), w(6)), /bias does not fit the weight; expected \[4\]/],
    ['a missing weight', () => conv(x, undefined), /the weight is missing/],
    [
      'a stride of 0',
      () => conv(x, w(4, 6, 3), undefined, { strides: 0 }),
      /strides must be known integers of at least 1; got \[0\]/,
    ],
    ['a symbolic kernel', () => conv(x, g.input('ws', 'float32', [4, 6, 'k'])), /the kernel must be known integers.*got \[k\]/],
    ['pads', () => maxPool(x, 3, { pads: [1, 2, 3] }), /the window does not fit the spatial axes/],
    [
      'a long window',
      () => averagePool(g.input('short', 'float32', [2, 3, 5]), 7, { pads: [1, 0] }),
      /longer than spatial axis 0 with its pads; expected at most 6, got 7/,
    ],
    [
      'outputPadding',
      () => convTranspose(x, w(6, 2, 3), undefined, { strides: 2, outputPadding: [2] }),
      /output_padding is not smaller than the stride; expected less than \[2\], got \[2\]/,
    ],
    ['dtypes', () => conv(x, g.input('half', 'float16', [4, 6, 3])), /dtypes differ/],
  ] as const)('%s', (_, f, message) => expect(() => g.at('layers.0', f)).toThrow(message));
});
