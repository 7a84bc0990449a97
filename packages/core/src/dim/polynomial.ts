// Polynomials with integer coefficients over named sizes and floor divisions: the arithmetic behind dim.ts.
import { describe, ShapeError } from '../error';

/** An indivisible factor: a name, or a floor division. Factors are equal if their texts are. */
export interface Factor {
  readonly text: string;
  readonly division?: { readonly numerator: Polynomial; readonly divisor: Polynomial };
}
/** An integer times factors, sorted by text; `key` joins them: `batch*seq`, and nothing for a constant. */
export interface Term {
  readonly coefficient: number;
  readonly factors: readonly Factor[];
  readonly key: string;
}
/** Terms of different keys and no coefficient 0, sorted by key with the constant last. Zero is the empty list. */
export type Polynomial = readonly Term[];

// ---- Integers -------------------------------------------------------------------------------------------------------

/** Checks an integer, and turns -0 into 0. */
export function integer(n: number): number {
  if (Number.isSafeInteger(n)) return n + 0;
  throw new ShapeError({
    path: '',
    problem: 'a size is not an integer that can be counted exactly',
    expected: 'an integer below 2^53',
    got: describe(n),
  });
}

const modulo = (a: number, n: number): number => (a % n < 0 ? (a % n) + n : a % n);

const gcd = (a: number, b: number): number => (b === 0 ? Math.abs(a) : gcd(b, a % b));

/** The largest integer not above `a / n`. By the remainder, since the quotient of large numbers is rounded. */
export function floorQuotient(a: number, n: number): number {
  if (integer(n) <= 0) throw notPositive(n);
  return integer((integer(a) - (a % n)) / n - (a % n < 0 ? 1 : 0));
}

/** The error for a division by `divisor`; `value` is its value if that is not its text. */
export function notPositive(divisor: number | string, value?: number): ShapeError {
  return new ShapeError({
    path: '',
    problem: `a size is divided by ${divisor}${value === undefined ? '' : `, which is ${value}`}`,
    expected: 'a divisor of at least 1',
  });
}

// ---- Sums and products ----------------------------------------------------------------------------------------------

function term(coefficient: number, factors: readonly Factor[]): Term {
  const sorted = [...factors].sort((a, b) => (a.text < b.text ? -1 : a.text > b.text ? 1 : 0));
  return { coefficient: integer(coefficient), factors: sorted, key: sorted.map(({ text }) => text).join('*') };
}

export const constant = (n: number): Polynomial => (integer(n) === 0 ? [] : [term(n, [])]);
export const named = (name: string): Polynomial => [term(1, [{ text: name }])];

export const constantOf = (p: Polynomial): number => p.find((t) => t.key === '')?.coefficient ?? 0;
export const isConstant = (p: Polynomial): boolean => p.every((t) => t.key === '');

export function sum(...polynomials: Polynomial[]): Polynomial {
  const terms = new Map<string, Term>();
  for (const t of polynomials.flat()) {
    const coefficient = integer((terms.get(t.key)?.coefficient ?? 0) + t.coefficient);
    terms.set(t.key, { ...t, coefficient });
  }
  return [...terms.values()].filter((t) => t.coefficient !== 0).sort(byKey);
}

function byKey(a: Term, b: Term): number {
  if (a.key === '' || b.key === '') return b.key.length - a.key.length;
  return a.key < b.key ? -1 : 1;
}

export const negative = (p: Polynomial): Polynomial => p.map((t) => ({ ...t, coefficient: -t.coefficient }));

const mostTerms = 1000;

export function product(p: Polynomial, q: Polynomial): Polynomial {
  const result = sum(p.flatMap((a) => q.map((b) => term(a.coefficient * b.coefficient, [...a.factors, ...b.factors]))));
  if (result.length <= mostTerms) return result;
  throw new ShapeError({
    path: '',
    problem: `a size is a sum of ${result.length} products`,
    expected: `at most ${mostTerms}`,
    hint: 'Name its parts differently',
  });
}

// ---- Exact division -------------------------------------------------------------------------------------------------

/** The leading term of a division: of the highest degree, and of these the first in text, an order that products preserve. */
const leading = (p: Polynomial): Term =>
  p.reduce((a, b) => (b.factors.length > a.factors.length || (b.factors.length === a.factors.length && b.key < a.key) ? b : a));

/** The factors without those in `taken`; undefined if one of these is missing. */
function without(factors: readonly Factor[], taken: readonly Factor[]): readonly Factor[] | undefined {
  const left = [...factors];
  for (const { text } of taken) {
    const at = left.findIndex((factor) => factor.text === text);
    if (at < 0) return undefined;
    left.splice(at, 1);
  }
  return left;
}

/** `p = quotient * d + remainder`; a remainder's multiples of the leading term of `d` are as small as integers allow. */
function divide(p: Polynomial, d: Polynomial): { readonly quotient: Polynomial; readonly remainder: Polynomial } {
  const by = leading(d);
  const quotient: Term[] = [];
  const remainder: Term[] = [];
  for (let rest = p; rest.length > 0; ) {
    const first = leading(rest);
    const factors = without(first.factors, by.factors);
    const kept = factors ? modulo(first.coefficient, Math.abs(by.coefficient)) : first.coefficient;
    const taken = factors && kept !== first.coefficient ? [term((first.coefficient - kept) / by.coefficient, factors)] : [];
    const left = kept === 0 ? [] : [{ ...first, coefficient: kept }];
    quotient.push(...taken);
    remainder.push(...left);
    rest = sum(rest, negative(product(taken, d)), negative(left));
  }
  return { quotient: sum(quotient), remainder: sum(remainder) };
}

/** `p / d`; undefined when that is not a polynomial with integer coefficients. */
export function exactQuotient(p: Polynomial, d: Polynomial): Polynomial | undefined {
  if (d.length === 0) return undefined;
  const { quotient, remainder } = divide(p, d);
  return remainder.length === 0 ? quotient : undefined;
}

// ---- Floor division -------------------------------------------------------------------------------------------------

// Every rule below holds for positive divisors. A constant divisor n leaves coefficients of 0 … n - 1 in the numerator.

/** The largest integer not above `p / d`: multiples of `d` are moved out of the division, and the rest stays as one factor. */
export function floorDivide(p: Polynomial, d: Polynomial): Polynomial {
  if (isConstant(d) && constantOf(d) <= 0) throw notPositive(constantOf(d));
  const { quotient, remainder } = divide(p, d);
  const rest = isConstant(remainder) ? constantOf(remainder) : undefined;
  if (rest === 0 || rest === -1) return sum(quotient, constant(rest));
  // A divisor of several terms would add its own terms to the numerator: floorDiv(a, a + b).
  if (rest === undefined && d.length > 1) return reduced(p, d);
  // A negative constant borrows one divisor, so that ceilDiv(a, b) does not become floorDiv(a - 1, b) + 1.
  if (constantOf(remainder) < 0) return sum(quotient, constant(-1), reduced(sum(remainder, d), d));
  return sum(quotient, reduced(remainder, d));
}

export const ceilDivide = (p: Polynomial, d: Polynomial): Polynomial => floorDivide(sum(p, d, constant(-1)), d);

/** The division with common factors cancelled and inner divisions joined; a factor if neither applies. */
function reduced(p: Polynomial, d: Polynomial): Polynomial {
  const common = [...p.filter((t) => t.key !== ''), ...d].reduce((n, t) => gcd(n, t.coefficient), 0);
  if (common > 1) return floorDivide(divide(p, constant(common)).quotient, divide(d, constant(common)).quotient);

  for (const factor of leading(d).factors) {
    const numerator = exactQuotient(p, [term(1, [factor])]);
    const divisor = exactQuotient(d, [term(1, [factor])]);
    if (numerator && divisor) return floorDivide(numerator, divisor);
  }

  for (const t of p) {
    const inner = t.coefficient === 1 && t.factors.length === 1 ? t.factors[0]?.division : undefined;
    if (!inner) continue;
    const others = product(
      inner.divisor,
      p.filter((other) => other !== t),
    );
    return floorDivide(sum(inner.numerator, others), product(inner.divisor, d));
  }

  return [term(1, [{ text: divisionText(p, d), division: { numerator: p, divisor: d } }])];
}

// ---- Text -----------------------------------------------------------------------------------------------------------

/** The canonical text, or the number of a constant. The first positive term comes first: `seq - past`, not `-past + seq`. */
export function print(p: Polynomial): number | string {
  if (isConstant(p)) return constantOf(p);
  const first = p.find((t) => t.coefficient > 0) ?? p[0]!;
  return [first, ...p.filter((t) => t !== first)].map(termText).join('');
}

function termText({ coefficient, key }: Term, at: number): string {
  const size = Math.abs(coefficient);
  const sign = at === 0 ? (coefficient < 0 ? '-' : '') : coefficient < 0 ? ' - ' : ' + ';
  return sign + (key === '' ? size : size === 1 ? key : `${size}*${key}`);
}

function divisionText(p: Polynomial, d: Polynomial): string {
  const short = sum(p, negative(d));
  const isCeil = constantOf(short) === -1 && short.length <= p.length;
  return isCeil ? `ceilDiv(${print(sum(short, constant(1)))}, ${print(d)})` : `floorDiv(${print(p)}, ${print(d)})`;
}
