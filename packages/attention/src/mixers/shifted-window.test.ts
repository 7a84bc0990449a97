import type { NDArray } from '@onnxformers/core';
import { expectClose, randomArray, runBlock, traceBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { multiHead } from './multi-head';
import { shiftedWindow } from './shifted-window';

const dim = 6;
const mixer = multiHead({ dim, heads: 2 });

/** One cell attends to cells of the image, or to zeros that fill it. */
interface Case {
  readonly window: number;
  readonly shifted: boolean;
  readonly grid: readonly [number, number];
}

describe('shifted_window', () => {
  it.each<Case>([
    { window: 2, shifted: false, grid: [4, 6] },
    { window: 3, shifted: false, grid: [4, 5] },
    { window: 3, shifted: true, grid: [6, 9] },
    { window: 3, shifted: true, grid: [7, 5] },
    { window: 5, shifted: true, grid: [5, 7] },
  ])('is the mixer on each set of neighbours by itself: %o', ({ window, shifted, grid: [rows, columns] }) => {
    const x = randomArray('x', [2, rows * columns, dim]);
    const block = shiftedWindow({ dim, window, shifted, grid: [rows, columns], mixer });
    const { outputs, parameters } = runBlock(block, { x });
    // An image of which a side is one window is not shifted.
    const shift = shifted && Math.min(rows, columns) > window ? Math.floor(window / 2) : 0;
    const [down, across] = [rows, columns].map((n) => Math.ceil(n / window) * window) as [number, number];
    /** Window and side of a border of a cell on an axis that was rolled. */
    const partOf = (cell: number, filled: number): number => {
      const rolled = (cell - shift + filled) % filled;
      return Math.floor(rolled / window) * 2 + Number(rolled >= filled - shift);
    };
    const sets = new Map<string, [number, number][]>();
    for (let r = 0; r < down; r++)
      for (let c = 0; c < across; c++) {
        const key = `${partOf(r, down)},${partOf(c, across)}`;
        sets.set(key, [...(sets.get(key) ?? []), [r, c]]);
      }
    const expected = new Float64Array(x.data.length);
    for (let b = 0; b < 2; b++)
      for (const cells of sets.values()) {
        const place = ([r, c]: readonly [number, number]) =>
          r < rows && c < columns ? ((b * rows + r) * columns + c) * dim : undefined;
        const own = cells.flatMap((cell) => {
          const at = place(cell);
          return Array.from({ length: dim }, (_, i) => (at === undefined ? 0 : x.data[at + i]!));
        });
        const alone: NDArray = { dtype: 'float32', dims: [1, cells.length, dim], data: Float64Array.from(own) };
        const y = attended(alone, parameters);
        for (const [i, cell] of cells.entries()) {
          const at = place(cell);
          if (at !== undefined) expected.set(y.slice(i * dim, (i + 1) * dim), at);
        }
      }
    expectClose(outputs.y!, { ...x, data: expected }, { atol: 1e-6, rtol: 1e-6 });
  });

  it('refuses an image smaller than a window, and positions that are not a grid', () => {
    const small = shiftedWindow({ dim, window: 4, grid: [3, 5], mixer });
    expect(() => runBlock(small, { x: randomArray('x', [1, 15, dim]) })).toThrow(/an image smaller than a window/);
    const block = shiftedWindow({ dim, window: 2, mixer });
    expect(() => traceBlock(block, { x: ['float32', ['batch', 'seq', dim]] })).toThrow(/rows and columns .* are not known/);
  });
});

/** Softmax attention with two heads in plain loops. */
function attended(x: NDArray, p: Readonly<Record<string, NDArray>>): number[] {
  const n = x.dims[1]!;
  const [heads, width] = [2, dim / 2];
  const row = (t: ArrayLike<number>, i: number): number[] => Array.from({ length: dim }, (_, c) => t[i * dim + c]!);
  const map = (name: string, v: readonly number[]): number[] =>
    Array.from({ length: dim }, (_, o) =>
      v.reduce((sum, each, i) => sum + p[`mixer.${name}.weight`]!.data[o * dim + i]! * each, p[`mixer.${name}.bias`]!.data[o]!),
    );
  const rows = Array.from({ length: n }, (_, i) => row(x.data, i));
  const [q, k, v] = ['q_proj', 'k_proj', 'v_proj'].map((name) => rows.map((r) => map(name, r))) as [
    number[][],
    number[][],
    number[][],
  ];
  return rows.flatMap((_, i) => {
    const joined = Array.from({ length: heads }, (__, h) => {
      const part = (r: readonly number[]) => r.slice(h * width, (h + 1) * width);
      const scores = k.map((key) => part(q[i]!).reduce((sum, c, j) => sum + c * part(key)[j]!, 0) / Math.sqrt(width));
      const weights = scores.map(Math.exp);
      const total = weights.reduce((s, w) => s + w, 0);
      return Array.from({ length: width }, (___, c) => weights.reduce((sum, w, j) => sum + (w / total) * part(v[j]!)[c]!, 0));
    });
    return map('o_proj', joined.flat());
  });
}
