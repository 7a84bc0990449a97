import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  dividedByNumbers,
  divisor,
  exactFloor,
  expression,
  holds,
  name,
  polynomial,
  positive,
  sizes,
} from '../testing/expressions';
import {
  addDims,
  ceilDivDims,
  type Dim,
  type DimAtom,
  dim,
  divDims,
  evaluateDim,
  floorDivDims,
  mulDims,
  subDims,
  termsOf,
  tryDivDims,
} from './dim';

describe('ring laws', () => {
  const three = (law: (a: Dim, b: Dim, c: Dim) => void): void =>
    holds([expression, expression, expression], (a, b, c) => law(a.text, b.text, c.text));

  it('addition and multiplication commute and associate', () => {
    three((a, b, c) => {
      expect(addDims(a, b)).toBe(addDims(b, a));
      expect(mulDims(a, b)).toBe(mulDims(b, a));
      expect(addDims(addDims(a, b), c)).toBe(addDims(a, addDims(b, c)));
      expect(mulDims(mulDims(a, b), c)).toBe(mulDims(a, mulDims(b, c)));
      expect(addDims(a, b, c)).toBe(addDims(addDims(a, b), c));
      expect(mulDims(a, b, c)).toBe(mulDims(mulDims(a, b), c));
    });
  });

  it('multiplication distributes over addition', () => {
    three((a, b, c) => expect(mulDims(a, addDims(b, c))).toBe(addDims(mulDims(a, b), mulDims(a, c))));
  });

  it('0 and 1 are neutral, and subtraction is the inverse of addition', () => {
    three((a, b) => {
      expect(addDims(a, 0)).toBe(dim(a));
      expect(mulDims(a, 1)).toBe(dim(a));
      expect(mulDims(a, 0)).toBe(0);
      expect(subDims(a, a)).toBe(0);
      expect(addDims(subDims(a, b), b)).toBe(dim(a));
      expect(subDims(a, b)).toBe(addDims(a, mulDims(-1, b)));
    });
    expect(addDims()).toBe(0);
    expect(mulDims()).toBe(1);
  });
});

describe('exact division', () => {
  it('is the inverse of multiplication', () => {
    const notZero = expression.filter(({ text }) => dim(text) !== 0);
    holds([expression, notZero], (a, b) => expect(divDims(mulDims(a.text, b.text), b.text)).toBe(dim(a.text)), 1000);
  });

  it('returns a quotient only if it times the divisor is the dividend', () => {
    const found = { exact: 0, inexact: 0 };
    const property = fc.property(polynomial, polynomial, (a, b) => {
      const quotient = tryDivDims(a.text, b.text);
      found[quotient === undefined ? 'inexact' : 'exact']++;
      if (quotient !== undefined) expect(mulDims(quotient, b.text)).toBe(dim(a.text));
    });
    fc.assert(property, { numRuns: 1000, seed: 7 });
    expect(Math.min(found.exact, found.inexact)).toBeGreaterThan(50);
  });

  it('of numbers is that of integers', () => {
    holds([fc.integer({ min: -60, max: 60 }), fc.integer({ min: -12, max: 12 })], (a, b) =>
      expect(tryDivDims(a, b)).toBe(b !== 0 && Number.isInteger(a / b) ? a / b + 0 : undefined),
    );
  });

  it.each<[Dim, Dim, Dim | undefined]>([
    ['4*batch*seq + 4*seq', '2*seq', '2*batch + 2'],
    ['a*a - b*b', 'a + b', 'a - b'],
    ['b*b - a*a', 'b - a', 'a + b'],
    ['4*floorDiv(seq, 4)', 4, 'floorDiv(seq, 4)'],
    [0, 'seq', 0],
    ['seq', 'past', undefined],
    ['seq', '2*seq', undefined],
    [8, 'seq', undefined],
    ['seq', 0, undefined],
    [0, 0, undefined],
    ['seq', 'past - past', undefined],
  ])('%s / %s is %s', (a, b, quotient) => {
    expect(tryDivDims(a, b)).toBe(quotient);
  });
});

describe('floor division', () => {
  it('moves multiples of the divisor out of the division', () => {
    const oneTerm = fc.oneof(
      positive,
      fc.tuple(positive, name).map(([n, { text }]) => `${n}*${text}`),
    );
    holds([expression, expression, oneTerm], (p, q, n) =>
      expect(floorDivDims(addDims(p.text, mulDims(n, q.text)), n)).toBe(addDims(q.text, floorDivDims(p.text, n))),
    );
  });

  it('cancels common integers', () => {
    holds([expression, divisor, positive], (p, d, g) =>
      expect(floorDivDims(mulDims(g, p.text), mulDims(g, d.text))).toBe(floorDivDims(p.text, d.text)),
    );
  });

  it('cancels names that occur in every term', () => {
    holds([polynomial, name, name, positive], (p, n, d, c) =>
      expect(floorDivDims(mulDims(n.text, p.text), mulDims(c, n.text, d.text))).toBe(floorDivDims(p.text, mulDims(c, d.text))),
    );
  });

  it('joins divisions of divisions', () => {
    holds([polynomial, positive, positive], (p, m, n) => {
      expect(floorDivDims(floorDivDims(p.text, m), n)).toBe(floorDivDims(p.text, m * n));
      expect(ceilDivDims(ceilDivDims(p.text, m), n)).toBe(ceilDivDims(p.text, m * n));
    });
  });

  it('rounds up by rounding down', () => {
    holds([expression, divisor], (p, d) =>
      expect(ceilDivDims(p.text, d.text)).toBe(floorDivDims(addDims(p.text, d.text, -1), d.text)),
    );
  });

  it('has numerators whose coefficients are positive and below the divisor, for numbers as divisors', () => {
    type Division = Extract<DimAtom, { kind: 'floorDiv' }>;
    const divisionsIn = (d: Dim): Division[] =>
      termsOf(d)
        .flatMap(({ atoms }) => atoms)
        .flatMap((atom) => (atom.kind === 'floorDiv' ? [atom, ...divisionsIn(atom.numerator)] : []));
    let divisions = 0;
    const property = fc.property(dividedByNumbers, sizes, ({ text }, s) => {
      for (const { numerator, divisor: n } of divisionsIn(text)) {
        divisions++;
        const coefficients = termsOf(numerator).map(({ coefficient }) => coefficient);
        expect(Math.min(...coefficients)).toBeGreaterThan(0);
        expect(Math.max(...coefficients)).toBeLessThan(n as number);
        expect(evaluateDim(numerator, s)).toBeGreaterThanOrEqual(0);
      }
    });
    fc.assert(property, { numRuns: 1000, seed: 11 });
    expect(divisions).toBeGreaterThan(300);
  });

  it('is exact even if the quotient of floating-point numbers is not', () => {
    const large = Number.MAX_SAFE_INTEGER;
    const law = (a: number, n: number) => expect(floorDivDims(a, n)).toBe(Number(exactFloor(BigInt(a), BigInt(n))));
    holds([fc.integer({ min: -large, max: large }), fc.integer({ min: 1, max: large })], law, 1000);
    holds([fc.integer({ min: large - 999, max: large }), fc.integer({ min: 1, max: 999 })], law, 1000);
    expect(Math.floor(-large / 2)).toBe(-(2 ** 52));
    expect(floorDivDims(-large, 2)).toBe(-(2 ** 52));
  });
});
