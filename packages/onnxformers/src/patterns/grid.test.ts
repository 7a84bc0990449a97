import { and, causal, type Mask, materialize, printMask, ShapeError, type Tensor } from '@onnxformers/core';
import { describe, expect, it } from 'vitest';
import { axial, dilatedOnGrid, gridDistances, gridGaussian, localOnGrid, swinWindows } from './index';

const sizes = [3, 5, 2];
const points = Array.from({ length: 30 }, (_, i) => [Math.floor(i / 10), Math.floor(i / 2) % 5, i % 2]);
const apart = (i: number, j: number): number[] => points[i]!.map((x, axis) => Math.abs(x - points[j]![axis]!));

/** The pairs of a mask that disagree with a condition on their points. */
function wrong(mask: Mask<Tensor>, n: number, allowed: (i: number, j: number) => boolean): string[] {
  const { data } = materialize(mask, { seq: n });
  const pairs = Array.from({ length: n * n }, (_, at) => [Math.floor(at / n), at % n] as const);
  return pairs.filter(([i, j], at) => (data[at] !== 0) !== allowed(i, j)).map(([i, j]) => `${i} → ${j}`);
}

describe('distances in a grid', () => {
  it.each([
    [0, (d: number[]) => d.filter((x) => x !== 0).length],
    [1, (d: number[]) => d[0]! + d[1]! + d[2]!],
    [2, (d: number[]) => Math.hypot(...d)],
    [3, (d: number[]) => Math.cbrt(d[0]! ** 3 + d[1]! ** 3 + d[2]! ** 3)],
    [Number.POSITIVE_INFINITY, (d: number[]) => Math.max(...d)],
  ])('of norm %s are those of plain loops', (p, expected) => {
    const { dims, data } = gridDistances(sizes, { p });
    expect(dims).toEqual([30, 30]);
    for (let i = 0; i < 30; i++)
      for (let j = 0; j < 30; j++) expect(Number(data[i * 30 + j])).toBeCloseTo(expected(apart(i, j)), 5);
  });
  it('weigh coordinates', () => {
    const rows = gridDistances([2, 3], { p: 1, weights: [1, 0] });
    expect(Array.from(rows.data as Float32Array).slice(0, 6)).toEqual([0, 0, 0, 1, 1, 1]);
    const columns = gridDistances([2, 3], { p: 1, weights: [0, 2] });
    expect(Array.from(columns.data as Float32Array).slice(0, 6)).toEqual([0, 2, 4, 0, 2, 4]);
  });
  it('give a Gaussian', () => {
    const { data } = gridGaussian(sizes, { sigma: 0.7 });
    expect(Number(data[17])).toBeCloseTo(Math.exp(-(Math.hypot(...apart(0, 17)) ** 2) / (2 * 0.49)), 6);
  });
});

describe('masks of a grid', () => {
  it.each([
    [0, 2, (d: number[]) => d.filter((x) => x !== 0).length < 2],
    [1, 2.5, (d: number[]) => d[0]! + d[1]! + d[2]! < 2.5],
    [2, 2, (d: number[]) => Math.hypot(...d) < 2],
    [2, Math.SQRT2, (d: number[]) => Math.hypot(...d) < 1.4],
    [Number.POSITIVE_INFINITY, 2, (d: number[]) => Math.max(...d) < 2],
  ])('localOnGrid of norm %s and distance %s', (p, distance, near) => {
    expect(wrong(localOnGrid(sizes, { distance, p }), 30, (i, j) => near(apart(i, j)))).toEqual([]);
  });
  it('axial: at most one coordinate differs', () => {
    expect(wrong(axial(sizes), 30, (i, j) => apart(i, j).filter((x) => x !== 0).length < 2)).toEqual([]);
  });
  it.each([0, 1, 2])('swinWindows, shifted by %s', (shift) => {
    const cell = (x: number) => Math.floor((x + 3 - shift) / 3);
    const same = (i: number, j: number, width: number) =>
      cell(Math.floor(i / width)) === cell(Math.floor(j / width)) && cell(i % width) === cell(j % width);
    expect(wrong(swinWindows([6, 9], { window: 3, shift }), 54, (i, j) => same(i, j, 9))).toEqual([]);
  });
  it('dilatedOnGrid', () => {
    const far = (a: number, b: number) => (a - b) % 3 === 0;
    expect(wrong(dilatedOnGrid([4, 7], 3), 28, (i, j) => far(Math.floor(i / 7), Math.floor(j / 7)) && far(i % 7, j % 7))).toEqual(
      [],
    );
  });
  it('combine with other masks', () => {
    const both = and(causal, axial([3, 4]));
    expect(wrong(both, 12, (i, j) => j <= i && (Math.floor(i / 4) === Math.floor(j / 4) || i % 4 === j % 4))).toEqual([]);
    expect(printMask(both)).toContain('causal');
  });
});

it.each([
  [() => gridDistances([3, 0]), /gridDistances: not a size/],
  [() => gridDistances([3, 2], { weights: [1] }), /gridDistances.weights/],
  [() => gridDistances([3, 2], { p: -1 }), /gridDistances.p/],
  [() => gridGaussian([3], { sigma: 0 }), /gridGaussian.sigma/],
  [() => localOnGrid([3, 3], { distance: 0 }), /localOnGrid.distance/],
  [() => localOnGrid([3, 3], { distance: 2, p: 3 }), /localOnGrid.p: .* expected 0, 1, 2 or Infinity, got 3/],
  [() => swinWindows([6, 7], { window: 3 }), /swinWindows.window: the window does not divide height and width/],
  [() => swinWindows([6, 6], { window: 3, shift: 3 }), /swinWindows.shift: .* an integer from 0 to 2, got 3/],
  [() => dilatedOnGrid([6, 6], 0), /dilatedOnGrid.step/],
])('refuses what is not a pattern: %s', (make, message) => {
  expect(make).toThrow(ShapeError);
  expect(make).toThrow(message);
});
