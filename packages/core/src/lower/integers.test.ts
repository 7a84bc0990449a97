// Constants of integers are computed exactly, or left to the run: near the limits of every dtype.
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Value } from '../ir/graph';
import { cast } from '../ops/cast';
import { equal, greater, less } from '../ops/comparison';
import { add, max, min, mul, neg, sub } from '../ops/elementwise';
import { concat } from '../ops/movement';
import { reduceSum } from '../ops/reduce';
import { GraphBuilder } from '../ops/vocabulary';
import type { DType, Tensor } from '../tensor/tensor';

const bits: Readonly<Partial<Record<DType, readonly [signed: boolean, bits: number]>>> = {
  int8: [true, 8],
  uint8: [false, 8],
  int16: [true, 16],
  uint16: [false, 16],
  int32: [true, 32],
  uint32: [false, 32],
  int64: [true, 64],
  uint64: [false, 64],
};
const arrays = {
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
} as const;
const wrapped = (dtype: DType, n: bigint): bigint => (bits[dtype]![0] ? BigInt.asIntN : BigInt.asUintN)(bits[dtype]![1], n);

function tensorOf(dtype: DType, numbers: readonly bigint[]): Tensor {
  const dims = [numbers.length];
  if (dtype === 'int64') return { dtype, dims, data: BigInt64Array.from(numbers) };
  if (dtype === 'uint64') return { dtype, dims, data: BigUint64Array.from(numbers) };
  return { dtype, dims, data: arrays[dtype as keyof typeof arrays].from(numbers.map(Number)) };
}

type Apply = readonly [name: string, make: (a: Value, b: Value) => Value, f: (a: bigint, b: bigint) => bigint | boolean];
const binary: readonly Apply[] = [
  ['add', add, (a, b) => a + b],
  ['sub', sub, (a, b) => a - b],
  ['mul', mul, (a, b) => a * b],
  ['max', (a, b) => max(a, b), (a, b) => [a, b].sort((x, y) => (x < y ? 1 : -1))[0]!],
  ['min', (a, b) => min(a, b), (a, b) => [a, b].sort((x, y) => (x < y ? -1 : 1))[0]!],
  ['equal', equal, (a, b) => a === b],
  ['less', less, (a, b) => a < b],
  ['greater', greater, (a, b) => a > b],
];

/** A number near a limit: of the dtype, of what float64 holds, of 0. */
const near = (dtype: DType): fc.Arbitrary<bigint> => {
  const [signed, width] = bits[dtype]!;
  const high = (1n << BigInt(signed ? width - 1 : width)) - 1n;
  const low = signed ? -high - 1n : 0n;
  const middles = [low, high, 0n, 1n << 53n, -(1n << 53n), 1n << 31n, 1n << 32n].filter((n) => n >= low && n <= high);
  return fc
    .tuple(fc.constantFrom(...middles), fc.bigInt(-4n, 4n))
    .map(([n, by]) => n + by)
    .filter((n) => n >= low && n <= high);
};

it.each(Object.keys(bits) as DType[])('what is folded of %s is what integers give', (dtype) => {
  let folded = 0;
  fc.assert(
    fc.property(near(dtype), near(dtype), fc.constantFrom(...binary), (a, b, [name, make, f]) => {
      const g = new GraphBuilder();
      const y = make(g.constant(tensorOf(dtype, [a])), g.constant(tensorOf(dtype, [b])));
      if (y.leaf?.kind !== 'constant') return;
      folded++;
      const expected = f(a, b);
      const got = BigInt(y.leaf.tensor.data[0] as number | bigint);
      const exact = typeof expected === 'boolean' ? BigInt(expected) : wrapped(dtype, expected);
      // What overflows in arithmetic of signed integers is the runtime's to say.
      if (typeof expected !== 'boolean' && bits[dtype]![0] && exact !== expected) return;
      expect(got, `${name}(${a}, ${b}) of ${dtype}`).toBe(exact);
    }),
    { numRuns: 500 },
  );
  expect(folded).toBeGreaterThan(50);
});

it('neighbours beyond 2^53 are two numbers', () => {
  const g = new GraphBuilder();
  const [a, b] = [2n ** 53n + 1n, 2n ** 53n].map((n) => g.constant(tensorOf('int64', [n]))) as [Value, Value];
  const small = g.constant(tensorOf('int64', [7n]));
  for (const y of [equal(a, b), concat([a, small], 0), cast(a, 'float64'), neg(a)]) expect(y.leaf).toBeUndefined();
  expect(equal(small, small).leaf).toMatchObject({ kind: 'constant', tensor: { data: Uint8Array.of(1) } });
});

it('sums are not folded if their parts may be rounded', () => {
  const g = new GraphBuilder();
  const x = g.constant(tensorOf('int64', [2n ** 53n - 1n, 3n, 1n - 2n ** 53n]));
  expect(reduceSum(x, [0], { keepDims: false }).leaf).toBeUndefined();
  const y = reduceSum(g.constant(tensorOf('int64', [2n ** 51n, 3n, -(2n ** 51n)])), [0], { keepDims: false });
  expect(y.leaf).toMatchObject({ kind: 'constant', tensor: { data: BigInt64Array.of(3n) } });
});
