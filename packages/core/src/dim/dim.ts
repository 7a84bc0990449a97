// Symbolic sizes: integer polynomials over named sizes, kept as canonical text so that equal sizes are === equal.

import { nearest, ShapeError } from '../error';
import { aFunction, aMap, given } from '../given';
import { parse } from './dim-text';
import {
  ceilDivide,
  constant,
  constantOf,
  exactQuotient,
  type Factor,
  floorDivide,
  floorQuotient,
  integer,
  negative,
  notPositive,
  type Polynomial,
  print,
  product,
  sum,
} from './polynomial';

/**
 * A known size, or a polynomial over named sizes in canonical text: `past + 2*seq`, `batch*seq`, `ceilDiv(seq, 4)`.
 * The functions of this file take any text and return canonical sizes, whose equality is `===`. Equal sizes are equal
 * for all values of their names. Two names are never equal; some sums of floor divisions that are always equal have different texts.
 * The text can be written as ONNX's `dim_param`.
 */
export type Dim = number | string;

/** A factor of a size: a name, or a floor division that is not exact. */
export type DimAtom =
  | { readonly kind: 'name'; readonly name: string }
  /**
   * The largest integer not above `numerator / divisor`, the divisor being positive. Over a number the numerator has positive
   * coefficients only, so that a division that rounds towards zero computes it as well; over names it can be negative.
   */
  | { readonly kind: 'floorDiv'; readonly numerator: Dim; readonly divisor: Dim };

/** One product of a sum: an integer times atoms. A power repeats the atom; the constant has no atoms. */
export type DimTerm = { readonly coefficient: number; readonly atoms: readonly DimAtom[] };

/** The values of the names in a size. */
export type DimSizes = ReadonlyMap<string, number> | Readonly<Record<string, number>>;

// Compiling uses the same few sizes repeatedly. The cache is emptied when full, since a program may run for months.
const parsed = new Map<string, Polynomial>();
const mostParsed = 10_000;

function updateCache(text: string, p: Polynomial): Polynomial {
  if (parsed.size >= mostParsed) parsed.clear();
  parsed.set(text, p);
  return p;
}

function polynomial(d: Dim): Polynomial {
  return isNumber(d) ? constant(d) : (parsed.get(d) ?? updateCache(d, parse(d)));
}

function toDim(p: Polynomial): Dim {
  const d = print(p);
  if (!isNumber(d) && !parsed.has(d)) updateCache(d, p);
  return d;
}

const isNumber = (d: Dim): d is number => typeof d === 'number';

/**
 * The canonical form of any expression of integers, names, `+ - *`, parentheses, `floorDiv(x, n)` and `ceilDiv(x, n)`.
 * A name starts with a letter or `_` and continues with letters, digits, `_` and `.`.
 * @throws ShapeError when the text is not such an expression, or a number is not an integer.
 */
export function dim(d: Dim): Dim {
  return isNumber(d) ? integer(d) : toDim(polynomial(d));
}

/** The sum of sizes: `addDims('seq', 'past', 'seq')` is `past + 2*seq`. */
export function addDims(...ds: Dim[]): Dim {
  if (ds.every(isNumber)) return ds.reduce((a, b) => integer(a + b), 0);
  return toDim(sum(...ds.map(polynomial)));
}

/** The difference `a - b`. */
export function subDims(a: Dim, b: Dim): Dim {
  if (isNumber(a) && isNumber(b)) return integer(a - b);
  return toDim(sum(polynomial(a), negative(polynomial(b))));
}

/** The product of sizes, multiplied out: `mulDims('batch', 'seq + 1')` is `batch + batch*seq`. */
export function mulDims(...ds: Dim[]): Dim {
  if (ds.every(isNumber)) return ds.reduce((a, b) => integer(a * b), 1);
  return toDim(ds.map(polynomial).reduce(product, constant(1)));
}

/**
 * The exact quotient `a / b`.
 * @throws ShapeError when `a` is not a multiple of `b` for all values of the names.
 */
export function divDims(a: Dim, b: Dim): Dim {
  const quotient = tryDivDims(a, b);
  if (quotient !== undefined) return quotient;
  throw new ShapeError({
    path: '',
    problem: `${dim(a)} is not a multiple of ${dim(b)}`,
    hint: 'Choose sizes that divide exactly, or round with floorDivDims or ceilDivDims',
  });
}

/** The exact quotient `a / b`, or undefined when `a` is not a multiple of `b` for all values of the names. */
export function tryDivDims(a: Dim, b: Dim): Dim | undefined {
  if (isNumber(a) && isNumber(b)) return integer(a) % integer(b) === 0 ? integer(a / b) : undefined;
  const quotient = exactQuotient(polynomial(a), polynomial(b));
  return quotient && toDim(quotient);
}

/**
 * The largest integer not above `a / b`, where `b` is positive. Multiples of `b` are moved out of the division
 * (`floorDivDims('4*a + b', 4)` is `a + floorDiv(b, 4)`), common factors cancel and nested divisions are joined.
 * @throws ShapeError when `b` is a number below 1.
 */
export function floorDivDims(a: Dim, b: Dim): Dim {
  if (isNumber(a) && isNumber(b)) return floorQuotient(a, b);
  return toDim(floorDivide(polynomial(a), polynomial(b)));
}

/**
 * The smallest integer not below `a / b`, where `b` is positive: `floorDiv(a + b - 1, b)`, written `ceilDiv(a, b)`.
 * @throws ShapeError when `b` is a number below 1.
 */
export function ceilDivDims(a: Dim, b: Dim): Dim {
  if (isNumber(a) && isNumber(b)) return integer(-floorQuotient(-a, b));
  return toDim(ceilDivide(polynomial(a), polynomial(b)));
}

/**
 * The value of a size for given values of its names; other names are ignored.
 * @throws ShapeError when a name has no value, a value is not an integer, or a divisor is not positive.
 */
export function evaluateDim(d: Dim, sizes: DimSizes): number {
  if (isNumber(d)) return integer(d);
  const values: ReadonlyMap<string, number> = sizes instanceof Map ? sizes : new Map(Object.entries(sizes));
  const valueOfFactor = ({ text, division }: Factor): number => {
    if (!division) return integer(values.get(text) ?? noValue(text, d, values));
    const divisor = valueOfPolynomial(division.divisor);
    if (divisor <= 0) throw notPositive(print(division.divisor), divisor);
    return floorQuotient(valueOfPolynomial(division.numerator), divisor);
  };
  const valueOfPolynomial = (p: Polynomial): number =>
    p.reduce(
      (total, t) => integer(total + t.factors.reduce((n, factor) => integer(n * valueOfFactor(factor)), t.coefficient)),
      0,
    );
  return valueOfPolynomial(polynomial(d));
}

/** Prepares {@link evaluateDim} for a size that is evaluated often. The result is undefined where a name has no value. */
export function dimReader(d: Dim): (sizes: ReadonlyMap<string, number>) => number | undefined {
  if (isNumber(d)) return () => d;
  const names = namesOfDim(d);
  if (names[0] === d) return (sizes) => sizes.get(d);
  return (sizes) => (names.every((name) => sizes.has(name)) ? evaluateDim(d, sizes) : undefined);
}

function noValue(name: string, d: Dim, values: ReadonlyMap<string, number>): never {
  const near = nearest(name, values.keys());
  throw new ShapeError({
    path: '',
    problem: d === name ? `the size ${name} has no value` : `${name} in the size ${d} has no value`,
    expected: 'a value for every name',
    got: values.size ? `values for ${[...values.keys()].join(', ')}` : 'none',
    ...(near !== undefined && { hint: `Did you mean ${near}?` }),
  });
}

/** The names in a size, including those inside divisions, each once and sorted. */
export function namesOfDim(d: Dim): readonly string[] {
  if (isNumber(d)) return [];
  const namesIn = (p: Polynomial): string[] =>
    p.flatMap(({ factors }) =>
      factors.flatMap(({ text, division }) => (division ? namesIn([...division.numerator, ...division.divisor]) : [text])),
    );
  return [...new Set(namesIn(polynomial(d)))].sort();
}

/** The size with names replaced by other sizes, simultaneously; a name for which `by` returns undefined stays. */
export function substituteDim(d: Dim, by: (name: string) => Dim | undefined): Dim {
  given('substituteDim', { by }, { by: aFunction });
  return isNumber(d) ? integer(d) : toDim(substituted(polynomial(d), by));
}

function substituted(p: Polynomial, by: (name: string) => Dim | undefined): Polynomial {
  const replacement = ({ text, division }: Factor): Polynomial =>
    division ? floorDivide(substituted(division.numerator, by), substituted(division.divisor, by)) : polynomial(by(text) ?? text);
  return sum(...p.map((t) => t.factors.map(replacement).reduce(product, constant(t.coefficient))));
}

/**
 * The one name of `d` that is not known, and its value that makes `d` equal to `size`; undefined when not exactly one
 * name is unknown or `d` is not linear in it.
 * @throws ShapeError when no integer of at least 0 makes `d` equal to `size`.
 */
export function solveDim(
  d: Dim,
  size: number,
  known: ReadonlyMap<string, number>,
): { readonly name: string; readonly size: number } | undefined {
  given('solveDim', { known }, { known: aMap });
  const p = substituted(polynomial(d), (name) => known.get(name));
  const unknown = p.filter((t) => t.key !== '');
  const [term] = unknown;
  const [factor] = term?.factors ?? [];
  if (!term || !factor || factor.division || unknown.length > 1 || term.factors.length > 1) return undefined;
  const name = factor.text;
  const solution = (integer(size) - constantOf(p)) / term.coefficient;
  if (Number.isSafeInteger(solution) && solution >= 0) return { name, size: integer(solution) };
  const bound = namesOfDim(d).filter((other) => known.has(other));
  throw new ShapeError({
    path: '',
    problem: `${dim(d)} cannot be ${size}${bound.length ? ` where ${bound.map((other) => `${other} = ${known.get(other)}`).join(', ')}` : ''}`,
    expected: `a size for which ${name} is an integer of at least 0`,
    got: `${name} = ${solution}`,
  });
}

/** The terms whose sum the size is, for emitting its arithmetic on run-time values: the constant last, none for 0. */
export function termsOf(d: Dim): readonly DimTerm[] {
  return polynomial(d).map(({ coefficient, factors }) => ({ coefficient, atoms: factors.map(atomOf) }));
}

const atomOf = ({ text, division }: Factor): DimAtom =>
  division
    ? { kind: 'floorDiv', numerator: toDim(division.numerator), divisor: toDim(division.divisor) }
    : { kind: 'name', name: text };
