import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { compile } from '../compile/compile';
import type { Value } from '../ir/graph';
import { module } from '../module/module';
import { portable } from '../targets/portable';
import { tensor } from '../tensor/convert';
import type { Tensor } from '../tensor/tensor';
import { makeCopies } from './copies';
import { createRunner } from './runner';

const rows = 300_007;
const filled = (n: number, value: number): Tensor => tensor('float32', [n], new Float32Array(n).fill(value));
const first = (t: Tensor | undefined): number => (t!.data as Float32Array)[0]!;

describe('copies of feeds', () => {
  it('reuse the memory of a run that has ended, for feeds of about its size', () => {
    const copies = makeCopies();
    const a = copies.copy(0, filled(rows, 1));
    const during = copies.copy(0, filled(rows, 2));
    expect(during.data.buffer).not.toBe(a.data.buffer);
    copies.release([a], {});
    const b = copies.copy(0, filled(rows - 11, 3));
    expect(b.data.buffer).toBe(a.data.buffer);
    expect([b.data.length, first(b), (b.data as Float32Array).at(-1)]).toEqual([rows - 11, 3, 3]);
    expect(copies.copy(0, filled(rows, 4)).data.buffer).not.toBe(a.data.buffer);
    copies.release([b], {});
    expect(copies.copy(1, filled(rows, 5)).data.buffer).not.toBe(a.data.buffer);
    const small = copies.copy(0, filled(rows * 3, 6));
    expect(small.data.length).toBe(rows * 3);
    expect(small.data.buffer).not.toBe(a.data.buffer);
  });

  it('do not reuse what a run returned, what another thread has taken, or what they did not copy', () => {
    const copies = makeCopies();
    const [returned, taken] = [copies.copy(0, filled(rows, 1)), copies.copy(1, filled(rows, 1))];
    const given = filled(rows, 1);
    structuredClone(taken.data.buffer, { transfer: [taken.data.buffer as ArrayBuffer] });
    copies.release([returned, taken, given], { y: { ...returned, dims: [1, rows] } });
    for (const [at, { data }] of [returned, taken, given].entries()) {
      const next = copies.copy(at, filled(rows, 2));
      expect(next.data.buffer).not.toBe(data.buffer);
      expect([next.data.length, first(next)]).toEqual([rows, 2]);
    }
  });
});

it('results of a run do not change when the next one reuses its copies', async () => {
  const same = module({}, ({ x, u }: Record<string, Value>) => ({ y: x!, z: u! }));
  const inputs = { x: ['float32', ['n']], u: ['float32', ['n']] } as const;
  const run = await createRunner(compile(same, { target: portable(21), inputs }), ort);
  const one = run({ x: filled(rows, 1), u: filled(rows, 2) });
  const two = run({ x: filled(rows, 3), u: filled(rows, 4) });
  const three = await two.then(() => run({ x: filled(rows, 5), u: filled(rows, 6) }));
  const all = [await one, await two, three].flatMap(({ y, z }) => [y, z] as readonly Tensor[]);
  expect(all.map(first)).toEqual([1, 2, 3, 4, 5, 6]);
  expect(all.every(({ data }) => (data as Float32Array).every((n) => n === (data as Float32Array)[0]))).toBe(true);
  await run.dispose();
});
