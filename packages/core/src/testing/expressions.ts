// Random sizes for property tests: the text of an expression together with its value in exact integers.
import fc from 'fast-check';

export type Sizes = Readonly<Record<string, number>>;
export interface Expression {
  readonly text: string;
  readonly value: (sizes: Sizes) => bigint;
}

export const exactFloor = (a: bigint, n: bigint): bigint => (a - (((a % n) + n) % n)) / n;
const exactCeil = (a: bigint, n: bigint): bigint => -exactFloor(-a, n);

const names = ['batch', 'past', 'seq', 'x.1', 'X'] as const;

/** A positive value for every name that an expression can have. */
export const sizes: fc.Arbitrary<Sizes> = record(fc.integer({ min: 1, max: 40 }));

/** A random value for every name that an expression can have. */
export function record<T>(something: fc.Arbitrary<T>): fc.Arbitrary<Readonly<Record<string, T>>> {
  return fc.record(Object.fromEntries(names.map((n) => [n, something])));
}

const literal = (n: number): Expression => ({ text: `${n}`, value: () => BigInt(n) });
const integer = fc.integer({ min: -9, max: 9 }).map(literal);
export const positive = fc.integer({ min: 1, max: 30 });
export const name: fc.Arbitrary<Expression> = fc.constantFrom(...names).map((text) => ({ text, value: (s) => BigInt(s[text]!) }));

const meanings = {
  '+': (a: bigint, b: bigint) => a + b,
  '-': (a: bigint, b: bigint) => a - b,
  '*': (a: bigint, b: bigint) => a * b,
  floorDiv: exactFloor,
  ceilDiv: exactCeil,
};
function operation(sign: keyof typeof meanings, a: Expression, b: Expression): Expression {
  const text = sign.length === 1 ? `(${a.text} ${sign} ${b.text})` : `${sign}(${a.text}, ${b.text})`;
  return { text, value: (s) => meanings[sign](a.value(s), b.value(s)) };
}

const numericDivisor = fc.integer({ min: 1, max: 12 }).map(literal);

/** Expressions that are positive for positive sizes. */
export const divisor: fc.Arbitrary<Expression> = fc.oneof(
  { weight: 3, arbitrary: numericDivisor },
  { weight: 1, arbitrary: name },
  { weight: 1, arbitrary: fc.tuple(numericDivisor, name).map(([c, n]) => operation('*', c, n)) },
  { weight: 1, arbitrary: fc.tuple(name, fc.oneof(name, numericDivisor)).map(([a, b]) => operation('+', a, b)) },
);

type Side = fc.Arbitrary<Expression>;
const infix = (side: Side): Side =>
  fc.tuple(fc.constantFrom('+', '-', '*'), side, side).map(([sign, a, b]) => operation(sign, a, b));
const division = (side: Side, by: Side): Side =>
  fc.tuple(fc.constantFrom('floorDiv', 'ceilDiv'), side, by).map(([sign, a, b]) => operation(sign, a, b));

const nested = (maxDepth: number, inner: (side: Side) => Side[]): Side =>
  fc.letrec<{ tree: Expression }>((tie) => ({
    tree: fc.oneof({ maxDepth, depthSize: 'large' }, integer, name, ...inner(tie('tree'))),
  })).tree;

/** Sums and products only. */
export const polynomial = nested(3, (side) => [infix(side), infix(side)]);
/** With at least one division by a number. */
export const dividedByNumbers = division(
  nested(3, (side) => [infix(side), division(side, numericDivisor)]),
  numericDivisor,
);
/** Any expression of a size. */
export const expression = nested(3, (side) => [infix(side), division(side, divisor)]);

/** Checks a law for random operands. */
export function holds<T extends unknown[]>(
  operands: { [K in keyof T]: fc.Arbitrary<T[K]> },
  law: (...operands: T) => unknown,
  numRuns = 400,
): void {
  const property = fc.property(fc.tuple<T>(...operands), (values) => {
    law(...values);
  });
  fc.assert(property, { numRuns });
}
