// Random functions for maskMod and scoreMod, each with the same function in plain numbers.
import fc from 'fast-check';
import { type Condition, lookup, lookupFlag, type Term } from '../expression/term';
import { toTensor } from '../tensor/convert';
import { countOf, type DType, type NDArray } from '../tensor/tensor';

/** What a function depends on. */
export interface Places<T> {
  readonly b: T;
  readonly h: T;
  readonly q: T;
  readonly k: T;
  readonly score: T;
}

/** A function of places, as an expression and in numbers. */
interface Made<E, N> {
  readonly build: (at: Places<Term>) => E;
  readonly value: (at: Places<number>) => N;
}
type Numbers = Made<Term<NDArray>, number>;
/** A random number. */
export type RandomTerm = Numbers;
/** A random condition. */
export type RandomCondition = Made<Condition<NDArray>, boolean>;

/** The sizes of tables. */
export interface FunctionSizes {
  readonly sequences: number;
  readonly heads: number;
  /** Least sizes of tables that are looked up by positions. */
  readonly queries: number;
  readonly keys: number;
}

const place = (name: keyof Places<unknown>): Numbers => ({ build: (at) => at[name], value: (at) => at[name] });
const remainder = (a: number, n: number): number => ((a % n) + n) % n;

/** Dtypes and elements of tables; floats are multiples of 1/4, so that float32 is exact. */
const elements: Readonly<Record<string, fc.Arbitrary<number>>> = {
  int64: fc.integer({ min: -2, max: 5 }),
  int32: fc.integer({ min: -2, max: 5 }),
  float32: fc.integer({ min: -8, max: 8 }).map((n) => n / 4),
  bool: fc.integer({ min: 0, max: 1 }),
};

interface Trees {
  readonly int: Numbers;
  readonly real: Numbers;
  readonly condition: RandomCondition;
}

/** Random functions over tables of these sizes: arrays, or with `scored`, for functions of the score too, tensors. */
export function placeFunctions(sizes: FunctionSizes, scored = false): { [K in keyof Trees]: fc.Arbitrary<Trees[K]> } {
  const { sequences, heads, queries, keys } = sizes;
  const indexed = (any: fc.Arbitrary<Numbers>): fc.Arbitrary<readonly [Numbers, number]> =>
    fc.oneof(
      fc.constant([place('b'), sequences] as const),
      fc.constant([place('h'), heads] as const),
      fc.integer({ min: 0, max: 2 }).map((more) => [place('q'), queries + more] as const),
      fc.integer({ min: 0, max: 2 }).map((more) => [place('k'), keys + more] as const),
      // Not the bare number of a sequence or a head, which need a whole axis.
      fc.tuple(
        withNumber(
          any,
          (a, n) => a.add(n),
          (a, n) => a + n,
          -1,
          0,
          1,
        ),
        fc.integer({ min: 1, max: 4 }),
      ),
    );
  const looked = <E, N>(
    any: fc.Arbitrary<Numbers>,
    dtypes: readonly DType[],
    made: (table: NDArray, ...of: Term<NDArray>[]) => E,
    read: (element: number) => N,
  ): fc.Arbitrary<Made<E, N>> =>
    fc.tuple(fc.array(indexed(any), { minLength: 1, maxLength: 3 }), fc.constantFrom(...dtypes)).chain(([axes, dtype]) => {
      const dims = axes.map(([, size]) => size);
      const count = countOf(dims);
      return fc.array(elements[dtype]!, { minLength: count, maxLength: count }).map((data) => {
        const table: NDArray = { dtype, dims, data: Float64Array.from(data) };
        return {
          build: (at) => made(scored ? (toTensor(table) as never) : table, ...axes.map(([index]) => index.build(at))),
          value: (at) => {
            const index = axes.map(([i]) => i.value(at));
            const inside = index.every((i, axis) => i >= 0 && i < dims[axis]!);
            return read(inside ? data[index.reduce((flat, i, axis) => flat * dims[axis]! + i, 0)]! : 0);
          },
        };
      });
    });
  const both = (
    of: fc.Arbitrary<Numbers>,
    build: (a: Term<NDArray>, b: Term<NDArray>) => Term<NDArray>,
    value: (a: number, b: number) => number,
  ): fc.Arbitrary<Numbers> =>
    fc
      .tuple(of, of)
      .map(([a, b]) => ({ build: (at) => build(a.build(at), b.build(at)), value: (at) => value(a.value(at), b.value(at)) }));
  const withNumber = (
    of: fc.Arbitrary<Numbers>,
    build: (a: Term<NDArray>, n: number) => Term<NDArray>,
    value: (a: number, n: number) => number,
    ...ns: number[]
  ): fc.Arbitrary<Numbers> =>
    fc
      .tuple(of, fc.constantFrom(...ns))
      .map(([a, n]) => ({ build: (at) => build(a.build(at), n), value: (at) => value(a.value(at), n) }));
  const chosen = (condition: fc.Arbitrary<RandomCondition>, of: fc.Arbitrary<Numbers>): fc.Arbitrary<Numbers> =>
    fc.tuple(condition, of, of).map(([c, a, b]) => ({
      build: (at) => c.build(at).select(a.build(at), b.build(at)),
      value: (at) => (c.value(at) ? a.value(at) : b.value(at)),
    }));
  const compared = (of: fc.Arbitrary<Numbers>): fc.Arbitrary<RandomCondition> =>
    fc.tuple(of, of, fc.constantFrom(...comparisons)).map(([a, b, [name, holds]]) => ({
      build: (at) => a.build(at)[name](b.build(at)),
      value: (at) => holds(a.value(at), b.value(at)),
    }));
  const deep = { maxDepth: 4, depthSize: 'small', depthIdentifier: fc.createDepthIdentifier() } as const;
  return fc.letrec<Trees>((tie) => {
    const [int, real, condition] = [tie('int'), tie('real'), tie('condition')] as [
      fc.Arbitrary<Numbers>,
      fc.Arbitrary<Numbers>,
      fc.Arbitrary<RandomCondition>,
    ];
    return {
      int: fc.oneof(
        deep,
        fc.constantFrom(place('b'), place('h'), place('q'), place('k'), place('q'), place('k')),
        both(
          int,
          (a, b) => a.add(b),
          (a, b) => a + b,
        ),
        both(
          int,
          (a, b) => a.sub(b),
          (a, b) => a - b,
        ),
        both(int, (a, b) => a.min(b), Math.min),
        both(int, (a, b) => a.max(b), Math.max),
        withNumber(
          int,
          (a, n) => a.add(n),
          (a, n) => a + n,
          -3,
          -1,
          1,
          2,
        ),
        withNumber(
          int,
          (a, n) => a.mul(n),
          (a, n) => a * n,
          -1,
          0,
          2,
          3,
        ),
        withNumber(int, (a, n) => a.mod(n), remainder, 1, 2, 3, 5),
        withNumber(
          int,
          (a, n) => a.floorDiv(n),
          (a, n) => Math.floor(a / n),
          1,
          2,
          3,
          5,
        ),
        int.map((a): Numbers => ({ build: (at) => a.build(at).abs(), value: (at) => Math.abs(a.value(at)) })),
        int.map((a): Numbers => ({ build: (at) => a.build(at).neg(), value: (at) => -a.value(at) })),
        real.map((a): Numbers => ({ build: (at) => a.build(at).floor(), value: (at) => Math.floor(a.value(at)) })),
        chosen(condition, int),
        looked(
          int,
          ['int64', 'int32'],
          (table, ...of) => lookup(table, ...of),
          (x) => x,
        ),
      ),
      real: fc.oneof(
        deep,
        scored
          ? fc.constant(place('score'))
          : withNumber(
              fc.constant(place('q')),
              (a, n) => a.div(n),
              (a, n) => a / n,
              2,
              4,
            ),
        withNumber(
          int,
          (a, n) => a.div(n),
          (a, n) => a / n,
          2,
          4,
        ),
        withNumber(
          int,
          (a, n) => a.add(n),
          (a, n) => a + n,
          0.5,
        ),
        both(
          real,
          (a, b) => a.add(b),
          (a, b) => a + b,
        ),
        withNumber(
          real,
          (a, n) => a.mul(n),
          (a, n) => a * n,
          -1,
          0.5,
          2,
        ),
        chosen(condition, real),
        looked(
          int,
          ['float32'],
          (table, ...of) => lookup(table, ...of),
          (x) => x,
        ),
      ),
      condition: fc.oneof(
        deep,
        compared(int),
        compared(int),
        compared(real),
        fc.tuple(condition, condition).map(
          ([a, b]): RandomCondition => ({
            build: (at) => a.build(at).and(b.build(at)),
            value: (at) => a.value(at) && b.value(at),
          }),
        ),
        fc.tuple(condition, condition).map(
          ([a, b]): RandomCondition => ({
            build: (at) => a.build(at).or(b.build(at)),
            value: (at) => a.value(at) || b.value(at),
          }),
        ),
        condition.map((a): RandomCondition => ({ build: (at) => a.build(at).not(), value: (at) => !a.value(at) })),
        looked(
          int,
          ['bool'],
          (table, ...of) => lookupFlag(table, ...of),
          (x) => x !== 0,
        ),
      ),
    };
  });
}

const comparisons = [
  ['lt', (a: number, b: number) => a < b],
  ['le', (a: number, b: number) => a <= b],
  ['gt', (a: number, b: number) => a > b],
  ['ge', (a: number, b: number) => a >= b],
  ['eq', (a: number, b: number) => a === b],
  ['ne', (a: number, b: number) => a !== b],
] as const;

/** Conditions that a class of masks equals, and others near them. */
export const knownForms: fc.Arbitrary<RandomCondition> = fc
  .tuple(
    fc.integer({ min: -3, max: 4 }),
    fc.integer({ min: 1, max: 3 }),
    fc.constantFrom(...comparisons),
    fc.integer({ min: 0, max: 8 }),
  )
  .map(([c, n, [name, holds], form]): RandomCondition => {
    switch (form) {
      case 0:
        return { build: ({ q, k }) => q.sub(k)[name](c), value: ({ q, k }) => holds(q - k, c) };
      case 1:
        return { build: ({ q, k }) => k.mul(n)[name](q.mul(n).add(c)), value: ({ q, k }) => holds(k * n, q * n + c) };
      case 2:
        return { build: ({ q, k }) => q.sub(k).add(1).abs()[name](c), value: ({ q, k }) => holds(Math.abs(q - k + 1), c) };
      case 3:
        return { build: ({ q, k }) => q.sub(k).mod(n).eq(0), value: ({ q, k }) => remainder(q - k, n) === 0 };
      case 4:
        return { build: ({ q, k }) => q.mod(n).eq(k.mod(n)), value: ({ q, k }) => remainder(q, n) === remainder(k, n) };
      case 5:
        return { build: ({ q, k }) => k[name](c).or(k.le(q)), value: ({ q, k }) => holds(k, c) || k <= q };
      case 6:
        return { build: ({ q, k }) => q.ge(k).not().or(q[name](k)), value: ({ q, k }) => q < k || holds(q, k) };
      case 7:
        return { build: ({ q, k }) => k.sub(q).add(n).mod(n).eq(0), value: ({ q, k }) => remainder(k - q, n) === 0 };
      default:
        return { build: ({ q }) => q.sub(q).add(c)[name](1), value: () => holds(c, 1) };
    }
  });
