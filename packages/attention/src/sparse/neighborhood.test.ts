import { type Dim, interpret } from '@onnxformers/core';
import { expectClose, randomArray, runBlock, traceBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { attention, perHead } from '../plain.test-helper';
import { neighborhood } from './neighborhood';

const feeds = (seq: number) => ({
  q: randomArray('q', [2, 4, seq, 3]),
  k: randomArray('k', [2, 2, seq, 3]),
  v: randomArray('v', [2, 2, seq, 5]),
});
/** The first cell of a neighbourhood along an axis: centred, but within the image. */
function firstOf(i: number, size: number, kernel: number): number {
  let first = i - (kernel - 1) / 2;
  while (first + kernel > size) first--;
  while (first < 0) first++;
  return first;
}
const neighbours = (columns: number, rows: number, kernel: number) => (i: number, j: number) => {
  const near = (a: number, b: number, size: number) => {
    const first = firstOf(a, size, kernel);
    return b >= first && b < first + kernel;
  };
  return near(Math.floor(i / columns), Math.floor(j / columns), rows) && near(i % columns, j % columns, columns);
};
const expected = (given: ReturnType<typeof feeds>, rows: number, columns: number, kernel: number, scale?: number) =>
  perHead(given.q, given.k, given.v, (q, k, v) => attention(q, k, v, neighbours(columns, rows, kernel), scale));
const float32 = { atol: 1e-6, rtol: 1e-6 };

describe('neighborhood', () => {
  it.each([
    [{ grid: [7, 5] }, 3],
    [{ kernel: 5, grid: [5, 13] }, 5],
    [{ kernel: 5, grid: [3, 11], scale: 0.3 }, 5],
    [{ kernel: 1, grid: [2, 3] }, 1],
    [{ kernel: 7, grid: [11, 17] }, 7],
  ] as const)('%o attends to the cells around each', (config, kernel) => {
    const [rows, columns] = config.grid;
    const given = feeds(rows * columns);
    const scale = 'scale' in config ? config.scale : undefined;
    expectClose(runBlock(neighborhood(config), given).outputs.y!, expected(given, rows, columns, kernel, scale), float32);
  });

  it('has as many cells at a border as inside', () => {
    for (const cell of [0, 4, 17, 34]) {
      const count = Array.from({ length: 35 }, (_, j) => j).filter((j) => neighbours(5, 7, 3)(cell, j)).length;
      expect(count).toBe(9);
    }
  });

  it('takes rows and columns from the context, of symbolic sizes too', () => {
    const rows = (heads: number, width: number) => ['float32', ['batch', heads, 25, width]] as const;
    const graph = traceBlock(neighborhood({}), { q: rows(4, 3), k: rows(2, 3), v: rows(2, 5) });
    const given = feeds(25);
    expectClose(interpret(graph, given).y!, expected(given, 5, 5, 3), float32);
  });

  it('has no intermediate result that grows with the square of the cells', () => {
    const largest = (rows: number) => {
      const dims = (heads: number): [string, Dim[]] => ['float32', [1, heads, rows * rows, 8]];
      const graph = traceBlock(neighborhood({ kernel: 7, grid: [rows, rows] }), {
        q: dims(2),
        k: dims(2),
        v: dims(2),
      } as never);
      return Math.max(...graph.nodes.flatMap((n) => n.outputs.map((o) => o.dims.reduce<number>((a, d) => a * Number(d), 1))));
    };
    expect(largest(56) / largest(28)).toBeLessThanOrEqual(4);
  });

  it('refuses an even kernel, a bias and a memory', () => {
    expect(() => neighborhood({ kernel: 4 })).toThrow(/neighborhood\.kernel: .*expected an odd number, got 4/);
    const biased = { ...feeds(15), attention_bias: randomArray('bias', [1, 4, 15, 15]) };
    expect(() => runBlock(neighborhood({ grid: [3, 5] }), biased)).toThrow(/got an attention bias/);
    expect(() => runBlock(neighborhood({ grid: [3, 5] }), feeds(14))).toThrow(/the positions do not fill the grid/);
  });
});
