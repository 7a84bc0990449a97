import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ShapeError, WeightError } from '../error';
import { interpret } from '../interpret/interpret';
import type { Value } from '../ir/graph';
import {
  add,
  cast,
  concat,
  dequantizeBlocks,
  expand,
  flip,
  gather,
  loop,
  mul,
  pad,
  reshape,
  roll,
  slice,
  split,
  swapLast,
  tile,
  transpose,
  unsqueeze,
  windows,
} from '../ops/index';
import { GraphBuilder } from '../ops/vocabulary';
import { zeros } from '../parameter/init';
import { Parameter } from '../parameter/parameter';
import { castTensor, tensor, toArray, toTensor } from '../tensor/convert';
import { countOf, type DType, type Tensor } from '../tensor/tensor';
import { expressWeight } from './express';
import { type LazyTensor, lazily, lazyTensor } from './lazy';

const count = (dtype: DType, dims: readonly number[], from = 0): Tensor =>
  tensor(
    dtype,
    dims,
    Array.from({ length: countOf(dims) }, (_, i) => from + i),
  );
/** A lazy tensor as one from a file, and how often it was read. */
function counted(t: Tensor): LazyTensor & { reads: number } {
  const { dtype, dims } = t;
  const lazy = {
    dtype,
    dims,
    byteLength: t.data.byteLength,
    reads: 0,
    async load() {
      lazy.reads++;
      return t;
    },
  };
  return lazy;
}

describe('a weight expressed by others', () => {
  it('agrees with plain loops', async () => {
    const sizes = fc.integer({ min: 1, max: 9 });
    await fc.assert(
      fc.asyncProperty(sizes, sizes, sizes, fc.constantFrom('float16' as const, 'float32' as const), async (q, k, dim, dtype) => {
        const [a, b] = [count(dtype, [q, dim]), count(dtype, [k, dim], 100)];
        const packed = expressWeight([counted(a), counted(b)], (x, y) => swapLast(concat([x, y], 0)));
        expect([packed.dtype, packed.dims, packed.byteLength]).toEqual([
          dtype,
          [dim, q + k],
          (q + k) * dim * (dtype === 'float16' ? 2 : 4),
        ]);
        const expected = Array.from({ length: dim }, (_, c) =>
          Array.from({ length: q + k }, (_, r) => (r < q ? r * dim + c : 100 + (r - q) * dim + c)),
        );
        expect(Array.from(toArray(await packed.load()).data)).toEqual(expected.flat());
      }),
    );
  });

  it('moves integers beyond 2^53 as they are, and refuses to compute with them', async () => {
    const ids: Tensor = { dtype: 'int64', dims: [2], data: BigInt64Array.of(2n ** 53n + 1n, 5n) };
    const moved = await expressWeight([ids], (x) => concat([x, x], 0)).load();
    expect([...moved.data]).toEqual([2n ** 53n + 1n, 5n, 2n ** 53n + 1n, 5n]);
    await expect(expressWeight([ids], (x) => add(x, 1)).load()).rejects.toThrow(
      'integers beyond 2^53 would be rounded; expected ops that move elements, or smaller integers, got int64[2]',
    );
    const small: Tensor = { ...ids, data: BigInt64Array.of(7n, 5n) };
    expect([...(await expressWeight([small], (x) => add(x, 1)).load()).data]).toEqual([8n, 6n]);
  });

  it('reads its operands when it is loaded, each time, and those it does not use never', async () => {
    const [a, b, c] = [counted(count('float32', [2, 3])), counted(count('float32', [3])), counted(count('float32', [5]))];
    const sum = expressWeight([a, b, c], (x, y) => add(add(x, y), x));
    expect([a.reads, b.reads, c.reads]).toEqual([0, 0, 0]);
    expect(sum.loadSync).toBeUndefined();
    expect(Array.from(toArray(await sum.load()).data)).toEqual([0, 3, 6, 6, 9, 12]);
    await sum.load();
    expect([a.reads, b.reads, c.reads]).toEqual([2, 2, 0]);
  });

  it('is available synchronously if its operands are', () => {
    const half = expressWeight([count('int32', [4]), lazyTensor(count('int32', [4], 4))], (x, y) =>
      slice(concat([x, y], 0), { axes: [0], starts: [2], ends: [6] }),
    );
    expect(half.loadSync!()).toEqual(count('int32', [4], 2));
  });

  it('can be computed from expressed weights, and from constants only', async () => {
    const twice = expressWeight([count('float32', [3], 1)], (x) => mul(x, 2));
    const joined = expressWeight([twice, twice], (x, y) => concat([x, y], 0));
    expect(Array.from(toArray(await joined.load()).data)).toEqual([2, 4, 6, 2, 4, 6]);
    expect(expressWeight([count('float32', [3])], (x) => x.graph.number([7, 8], 'float32')).loadSync!()).toEqual(
      tensor('float32', [2], [7, 8]),
    );
  });

  it('is computed by definitions if an op has no evaluate', () => {
    const codes = tensor('uint8', [1, 1, 8], [0x80, 0x91, 0xa2, 0xb3, 0xc4, 0xd5, 0xe6, 0xf7]);
    const scales = tensor('float16', [1, 1], [0.5]);
    const whole = expressWeight([codes, scales], (c, s) =>
      dequantizeBlocks(c, s, undefined, { bits: 4, blockSize: 16, columns: 16 }),
    );
    expect([whole.dtype, whole.dims]).toEqual(['float16', [1, 16]]);
    const expected = Array.from({ length: 16 }, (_, i) => ((i % 2 ? 8 + (i >> 1) : i >> 1) - 8) / 2);
    expect(Array.from(toArray(whole.loadSync!()).data)).toEqual(expected);
  });

  it('rounds after each op, as a run in its dtype would', () => {
    const x = tensor('float16', [1], [2049 - 1]);
    expect(expressWeight([x], (v) => add(add(v, 1), 1)).loadSync!()).toEqual(tensor('float16', [1], [2048]));
    expect(expressWeight([x], (v) => cast(add(add(cast(v, 'float32'), 1), 1), 'float16')).loadSync!()).toEqual(
      tensor('float16', [1], [2050]),
    );
  });
});

describe('what only moves elements', () => {
  const moves: Record<string, (x: Value) => Value> = {
    transpose: (x) => transpose(x, [2, 0, 1]),
    'slice by steps': (x) => slice(x, { axes: [0, 2], starts: [1, 0], ends: [4, 3], steps: [2, 2] }),
    flip: (x) => flip(x, 1),
    roll: (x) => roll(x, 2, 0),
    'first part': (x) => split(x, [1, 2, 3], 1)[0]!,
    'last part': (x) => split(x, [1, 2, 3], 1)[2]!,
    reshape: (x) => reshape(x, [2, 2, 6, 3]),
    'heads moved': (x) => reshape(transpose(reshape(x, [2, 2, 6, 3]), [0, 2, 1, 3]), [12, 6]),
    unsqueeze: (x) => unsqueeze(x, [1]),
    expand: (x) => expand(slice(x, { axes: [1], starts: [2], ends: [3] }), [5, 4, 7, 3]),
    windows: (x) => windows(x, 0, 2, 1),
    concat: (x) => concat([x, slice(x, { axes: [2], starts: [1] })], 2),
    gather: (x) => gather(x, tensor('int64', [3], [5, 0, -1]), 1),
    tile: (x) => tile(x, [2, 1, 3]),
    pad: (x) => pad(x, { axes: [1, 2], before: [2, -1], after: [1, 2] }),
  };
  const inPlace = Object.keys(moves).filter((name) => name !== 'tile' && name !== 'pad');

  it.each(Object.entries(moves))('%s is what the interpreter says', (_, move) => {
    const x = count('float32', [4, 6, 3], 1);
    const g = new GraphBuilder();
    g.output('y', move(g.input('x', 'float32', x.dims)));
    expect(expressWeight([x], move).loadSync!()).toEqual(toTensor(interpret(g.finish(), { x: toArray(x) }).y!));
  });

  // Numbers that float64 does not hold, and bit patterns of NaN that a conversion would change.
  it.each(inPlace)('%s keeps every bit', (name) => {
    const big = (x: Tensor): Tensor => ({ ...x, data: BigInt64Array.from(x.data as BigInt64Array, (n) => 2n ** 62n + n) });
    const after = expressWeight([big(count('int64', [4, 6, 3]))], moves[name]!).loadSync!();
    expect(after).toEqual(big(expressWeight([count('int64', [4, 6, 3])], moves[name]!).loadSync!()));
    const signalling = (x: Tensor): Tensor => ({ ...x, data: Uint16Array.from(x.data as Uint16Array, (n) => 0x7c01 + n) });
    const codes = castTensor(count('int32', [4, 6, 3]), 'uint16');
    const moved = expressWeight([codes], moves[name]!).loadSync!();
    const nans = { ...signalling(codes), dtype: 'float16' as const };
    expect(expressWeight([nans], moves[name]!).loadSync!().data).toEqual(signalling(moved).data);
  });
});

describe('memory', () => {
  it('keeps an operand in memory no longer than needed', async () => {
    setFlagsFromString('--expose-gc');
    const collectGarbage = runInNewContext('gc') as () => void;
    const seen: WeakRef<object>[] = [];
    const alive = (): number => {
      collectGarbage();
      return seen.filter((ref) => ref.deref() !== undefined).length;
    };
    const big = (i: number): LazyTensor => ({
      ...lazily('uint8', [2 ** 20], () => count('uint8', [1])),
      load: async () => {
        await new Promise((resolve) => setTimeout(resolve, 1)); // a turn of its own: weak references hold within one
        const t = tensor('uint8', [2 ** 20], new Uint8Array(2 ** 20).fill(i));
        seen.push(new WeakRef(t.data));
        return t;
      },
    });
    const first = (x: Value) => slice(x, { axes: [0], starts: [0], ends: [2 ** 19], steps: [2] });
    const joined = expressWeight([0, 1, 2].map(big), (...parts) => concat(parts.map(first), 0));
    const result = await joined.load();
    await new Promise((resolve) => setTimeout(resolve, 1));
    expect(seen.length).toBe(3);
    expect(alive()).toBe(0);
    expect(result.dims).toEqual([3 * 2 ** 18]);
  });
});

describe('what cannot be a weight is refused', () => {
  const x = count('float32', [2, 3]);
  it.each<[string, () => unknown, RegExp]>([
    ['operands that do not fit', () => expressWeight([x, count('float32', [4])], (a, b) => add(a, b)), /^Add: /],
    [
      'no value',
      () => expressWeight([x], (() => 3) as never),
      /the expression did not return a value computed from its operands; expected a value, got 3/,
    ],
    [
      'a parameter',
      () => expressWeight([x], (a) => add(a, new Parameter([3], zeros))),
      /the expression depends on values other than its operands; expected operand 0: float32\[2, 3\], got /,
    ],
    [
      'a draw',
      () => expressWeight([x], (a) => add(a, a.graph.draw('noise', [3], 'uniform'))),
      /depends on values other than its operands/,
    ],
    [
      'a loop',
      () =>
        expressWeight([x], (a) => {
          const trips = a.graph.number(3, 'int64');
          return loop(a.graph, { trips, count: 3, carried: [a], body: (_, v) => ({ carried: [add(v, 1)] }) }).carried[0]!;
        }),
      /Loop: the op can only be computed in a run of a model/,
    ],
  ])('%s', (_, express, message) => {
    expect(express).toThrow(message);
  });

  it('an operand that does not match its declaration', async () => {
    const liar: LazyTensor = { ...counted(x), dims: [3, 2] };
    const load = expressWeight([liar], (a) => swapLast(a)).load();
    await expect(load).rejects.toBeInstanceOf(WeightError);
    await expect(load).rejects.toThrow(
      'operand 0: float32[3, 2] does not match its declaration; expected float32[3, 2], got float32[2, 3]',
    );
  });

  it('an index that is out of range', () => {
    const row = expressWeight([x, tensor('int64', [1], [7])], (a, i) => gather(a, i, 0));
    expect(() => row.loadSync!()).toThrow(ShapeError);
    expect(() => row.loadSync!()).toThrow('Gather: an index is out of range; expected -2 to 1, got 7');
  });
});
