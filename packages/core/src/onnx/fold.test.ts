import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { compile } from '../compile/compile';
import { serialize } from '../compile/serialize';
import type { Value } from '../ir/graph';
import { module } from '../module/module';
import { add, concat, equal, flip, gather, linear, mul, slice } from '../ops/index';
import { zeros } from '../parameter/init';
import { Parameter } from '../parameter/parameter';
import { createRunner } from '../runtime/runner';
import { targets } from '../targets/index';
import { bytesOfTensor, tensor } from '../tensor/convert';
import type { Scratch } from '../tensor/scratch';
import { countOf, type Tensor } from '../tensor/tensor';
import type { LazyTensor } from '../weights/lazy';
import { toChunks } from './encode';
import type { InitializerData } from './model';

/** Three maps whose weights, of so many rows each, are stored as one; then a fourth. */
function fused(rows: number, columns: number) {
  const weight = new Parameter([3 * rows, columns], zeros);
  const last = new Parameter([columns, 3 * rows], zeros);
  const m = module({ weight, last }, ({ x }: Readonly<Record<string, Value>>) => {
    const part = (i: number) => {
      const cut = slice(x!.graph.param(weight), { axes: [0], starts: [i * rows], ends: [(i + 1) * rows] });
      return linear(x!, cut);
    };
    return { y: linear(concat([part(0), part(1), part(2)], -1), last) };
  });
  const reads: string[] = [];
  const lazy = (name: string, dims: readonly number[]): [string, LazyTensor] => {
    const load = async (): Promise<Tensor> => {
      reads.push(name);
      return tensor(
        'float16',
        dims,
        Array.from({ length: countOf(dims) }, (_, i) => i % 1021),
      );
    };
    return [name, { dtype: 'float16', dims, byteLength: 2 * countOf(dims), load }];
  };
  const weights = new Map([lazy('weight', weight.dims), lazy('last', last.dims)]);
  const inputs = { x: ['float16', ['batch', columns]] } as const;
  return { model: compile(m, { target: targets.cuda, dtype: 'float16', inputs, weights }), reads };
}

/** A weight that lies in memory of the writer where it gives any, as one that is read from a file does. */
const counting = (dims: readonly number[], from: number): LazyTensor => {
  const byteLength = 2 * countOf(dims);
  const load = async (scratch?: Scratch): Promise<Tensor> => {
    const bytes = scratch?.take(byteLength) ?? new Uint8Array(byteLength);
    const data = new Uint16Array(bytes.buffer, 0, countOf(dims)).map((_, i) => (i + from) % 251);
    new Uint16Array(bytes.buffer).set(data);
    return { dtype: 'float16', dims, data: new Uint16Array(bytes.buffer, 0, data.length) };
  };
  return { dtype: 'float16', dims, byteLength, load };
};

it('memory of weights is used again only when all was made of them, whatever the order in which they are read', async () => {
  const dims = [2203, 1031]; // half of one is more than a piece
  const weights = [new Parameter(dims, zeros), new Parameter(dims, zeros), new Parameter(dims, zeros)];
  const m = module({ weights }, ({ x }: Readonly<Record<string, Value>>) => {
    const g = x!.graph;
    const cut = (weight: Parameter, start: number, end: number) =>
      linear(x!, slice(g.param(weight), { axes: [0], starts: [start], ends: [end] }));
    const [a, b, c] = weights as [Parameter, Parameter, Parameter];
    // The first is read twice, with another between; the last lies in the file as it is in memory.
    return {
      y: concat([cut(a, 0, 1100), cut(b, 0, 2203), cut(a, 1100, 2203), cut(c, 0, 2000)], -1),
      z: gather(g.param(c), g.constant(tensor('int64', [], [1])), 0),
    };
  });
  const lazy = new Map(weights.map((_, i) => [`weights.${i}`, counting(dims, 17 * i)]));
  const inputs = { x: ['float16', ['batch', 1031]] } as const;
  const model = compile(m, { target: targets.cuda, dtype: 'float16', inputs, weights: lazy });
  const plain = compile(m, {
    target: targets.cuda,
    dtype: 'float16',
    inputs,
    weights: new Map([...lazy].map(([name, t]) => [name, { ...t, load: () => t.load() }])),
  });
  const bytes = async (of: typeof model) => {
    const parts: Buffer[] = [];
    for await (const chunk of toChunks(serialize(of), { externalData: { location: 'w' } }).external)
      parts.push(Buffer.from(chunk));
    return Buffer.concat(parts);
  };
  expect((await bytes(model)).equals(await bytes(plain))).toBe(true);
});

async function bytesFrom(data: InitializerData): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of (data as () => AsyncIterable<Uint8Array>)()) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}

describe('weights stored as one', () => {
  it.each([
    ['large, are read once', 1031, 1049, ['weight', 'last']],
    ['small, are read for each part', 7, 5, ['weight', 'weight', 'weight', 'last']],
  ])('%s', async (_, rows, columns, expected) => {
    const { model, reads } = fused(rows, columns);
    const { initializers } = serialize(model).graph;
    expect(reads).toEqual([]);
    const tables = initializers.filter(({ dims }) => dims.length === 2);
    expect(tables.map(({ dims }) => dims)).toEqual([...new Array(3).fill([columns, rows]), [3 * rows, columns]]);
    for (const round of [1, 2]) {
      for (const [i, { data }] of tables.slice(0, 3).entries()) {
        const made = await bytesFrom(data);
        const wanted = tensor(
          'float16',
          [columns, rows],
          Array.from({ length: rows * columns }, (_, n) => {
            const [column, row] = [Math.floor(n / rows), n % rows];
            return ((i * rows + row) * columns + column) % 1021;
          }),
        );
        expect(made.equals(bytesOfTensor(wanted))).toBe(true);
      }
      await bytesFrom(tables[3]!.data);
      expect(reads).toEqual(round === 1 ? expected : [...expected, ...expected]);
    }
  });
});

it('a large weight read as it is and transposed is stored once, a small one in both forms', () => {
  const formsOf = (rows: number, columns: number) => {
    const table = new Parameter([rows, columns], zeros);
    const m = module({ table }, ({ ids }: Readonly<Record<string, Value>>) => {
      const g = ids!.graph;
      return { y: linear(gather(g.param(table), ids!, 0), g.param(table)) };
    });
    const model = compile(m, { target: targets.portable(21), inputs: { ids: ['int64', ['seq']] } });
    return serialize(model)
      .graph.initializers.filter(({ dims }) => dims.length === 2)
      .map(({ dims }) => dims);
  };
  expect(formsOf(1031, 257)).toEqual([[1031, 257]]);
  expect(formsOf(7, 5)).toEqual([
    [7, 5],
    [5, 7],
  ]);
});

it('arithmetic on 64-bit integers of weights is left to the runtime, which is exact', async () => {
  const ids = new Parameter([3], zeros, { dtype: 'int64' });
  const m = module({ ids }, ({ x }: Readonly<Record<string, Value>>) => {
    const stored = x!.graph.param(ids);
    return { same: equal(stored, x!), turned: add(flip(stored, 0), x!) };
  });
  const large = BigInt64Array.of(2n ** 53n + 1n, -(2n ** 60n) - 1n, 3n);
  const weights = new Map([['ids', { dtype: 'int64', dims: [3], data: large } as const]]);
  const run = await createRunner(compile(m, { target: targets.portable(21), inputs: { x: ['int64', [3]] }, weights }), ort);
  const { same, turned } = await run({ x: { dtype: 'int64', dims: [3], data: BigInt64Array.of(2n ** 53n, -(2n ** 60n), 3n) } });
  await run.dispose();
  expect([...same.data]).toEqual([0, 0, 1]);
  expect([...turned.data]).toEqual([2n ** 53n + 3n, -(2n ** 61n) - 1n, 2n ** 53n + 4n]);

  const alone = module({ ids }, ({ x }: Readonly<Record<string, Value>>) => ({ y: add(mul(x!.graph.param(ids), 3), x!) }));
  const model = compile(alone, { target: targets.portable(21), inputs: { x: ['int64', [3]] }, weights });
  expect(serialize(model).graph.nodes.map(({ opType }) => opType)).toEqual(['Mul', 'Add']);
});
