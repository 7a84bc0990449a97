import { describe, expect, it } from 'vitest';
import { closestPairs, formatSimilarity, formatTime, formatTypes, kernelsOf, placesOf, shortOp, similaritiesOf } from './report';

it('tells the types of weights and arithmetic apart where they differ', () => {
  expect(formatTypes({ dtype: 'float16', computes: 'float32' })).toBe('weights float16, arithmetic float32');
  expect(formatTypes({ dtype: 'float32', computes: 'float32' })).toBe('weights and arithmetic float32');
});

describe('report', () => {
  it('compares directions, not lengths', () => {
    const matrix = similaritiesOf([
      [1, 0],
      [0, 5],
      [2, 2],
      [-3, 0],
    ]);
    const half = Math.SQRT1_2;
    const expected = [
      [1, 0, half, -1],
      [0, 1, half, 0],
      [half, half, 1, -half],
      [-1, 0, -half, 1],
    ];
    for (const [i, row] of expected.entries())
      for (const [j, value] of row.entries()) expect(matrix[i]![j]).toBeCloseTo(value, 12);
  });

  it('lists different pairs once, closest first', () => {
    const matrix = [
      [1, 0.2, 0.9],
      [0.2, 1, 0.5],
      [0.9, 0.5, 1],
    ];
    expect(closestPairs(matrix, 2)).toEqual([
      { first: 0, second: 2, similarity: 0.9 },
      { first: 1, second: 2, similarity: 0.5 },
    ]);
    expect(closestPairs([[1]], 5)).toEqual([]);
  });

  it('counts the nodes of each op', () => {
    const nodes = [
      { op: 'Gemm', path: 'layers.0.up' },
      { op: 'com.microsoft.MultiHeadAttention', path: 'layers.0' },
      { op: 'Gemm', path: 'layers.1.up' },
    ];
    expect(kernelsOf({ nodes })).toEqual([
      { op: 'Gemm', paths: ['layers.0.up', 'layers.1.up'] },
      { op: 'com.microsoft.MultiHeadAttention', paths: ['layers.0'] },
    ]);
    expect(shortOp('com.microsoft.MultiHeadAttention')).toBe('MultiHeadAttention');
    expect(shortOp('Gemm')).toBe('Gemm');
  });

  it('joins the places that differ in a number only', () => {
    expect(placesOf(['layers.0.up', 'layers.1.up', 'layers.1.up', 'layers.0.down', 'dense', ''])).toEqual([
      'layers.*.up',
      'layers.0.down',
      'dense',
    ]);
    expect(placesOf(['norm1', 'norm2'])).toEqual(['norm1', 'norm2']);
  });

  it.each([
    [0.0412, '0.04 ms'],
    [0.4213, '0.421 ms'],
    [12.345, '12.3 ms'],
    [412.8, '413 ms'],
    [1234, '1.23 s'],
  ])('writes %f ms as %s', (milliseconds, text) => expect(formatTime(milliseconds)).toBe(text));

  it.each([
    [0.8549, '0.85'],
    [-0.0001, '0.00'],
    [-0.014, '-0.01'],
    [1, '1.00'],
  ])('writes a similarity of %f as %s', (similarity, text) => expect(formatSimilarity(similarity)).toBe(text));
});
