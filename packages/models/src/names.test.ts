import { expressWeight, ops, type Tensor, tensor } from 'onnxformers';
import { expect, it } from 'vitest';
import { regrouped, reordered, transposed, weightNames } from './names';

const rows = (count: number, width: number): Tensor =>
  tensor(
    'float32',
    [count, width],
    Array.from({ length: count * width }, (_, i) => i),
  );
const firsts = (t: Tensor): number[] =>
  Array.from({ length: t.dims[0]! }, (_, i) => Number(t.data[i * (t.dims[1] ?? 1)]) / (t.dims[1] ?? 1));

it.each([
  ['transposed', transposed],
  ['regrouped', regrouped([3, 2, 5], [1, 0, 2])],
  ['reordered', reordered([2, 0, 1, 4, 3], 6)],
] as const)('%s is undone by its inverse, for matrices and vectors', async (_, form) => {
  for (const t of [
    rows(30, 7),
    tensor(
      'float32',
      [30],
      Array.from({ length: 30 }, (_, i) => i),
    ),
  ]) {
    const back = expressWeight([expressWeight([t], form.toOurs)], form.toTheirs);
    const made = await back.load();
    expect(made.dims).toEqual(t.dims);
    expect(made.data).toEqual(t.data);
  }
});

it('queries, keys and values of each head become all queries, all keys, all values', async () => {
  const heads = regrouped([2, 3, 2], [1, 0, 2]);
  const ours = await expressWeight([rows(12, 5)], heads.toOurs).load();
  expect(firsts(ours)).toEqual([0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11]);
});

it('blocks of rows are put in order', async () => {
  const ours = await expressWeight([rows(6, 5)], reordered([2, 0, 1], 2).toOurs).load();
  expect(firsts(ours)).toEqual([4, 5, 0, 1, 2, 3]);
});

it('the first entry that matches gives name and form', () => {
  const names = weightNames([
    ['a.{i}.out.{x}', 'b.{i}.o.{x}', transposed],
    ['a.{i}.{p}.{x}', 'b.{i}.{p}.{x}'],
  ]);
  expect(names.oursOf('a.3.out.weight')).toEqual([{ name: 'b.3.o.weight', toOurs: transposed.toOurs }]);
  expect(names.oursOf('a.3.up.weight')).toEqual([{ name: 'b.3.up.weight', toOurs: undefined }]);
  expect(names.oursOf('c')).toEqual([]);
  expect(names.theirsOf('b.3.o.weight')).toBe('a.3.out.weight');
});

it('a stored tensor of several weights is taken apart and joined', async () => {
  const names = weightNames(
    [],
    [
      {
        theirs: 'a.{i}.both',
        ours: ['b.{i}.first', 'b.{i}.second'],
        take: (x, part) => ops.slice(x, { axes: [0], starts: [2 * part], ends: [2 * part + 2] }),
        join: (parts) => ops.concat(parts, 0),
      },
    ],
  );
  const stored = rows(4, 3);
  const parts = names.oursOf('a.5.both');
  expect(parts.map(({ name }) => name)).toEqual(['b.5.first', 'b.5.second']);
  const ours = parts.map(({ toOurs }) => expressWeight([stored], toOurs!));
  expect((await ours[1]!.load()).data).toEqual(Float32Array.of(6, 7, 8, 9, 10, 11));
  expect(names.theirsOf('b.5.second')).toBe('a.5.both');
  const back = expressWeight(ours, (...values) => names.toTheirs('a.5.both', values));
  expect((await back.load()).data).toEqual(stored.data);
});
