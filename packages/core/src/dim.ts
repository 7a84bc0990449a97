// Symbolic sizes: integer polynomials over named sizes, kept as canonical text so that equal sizes are === equal.
import { describe, nearest, ShapeError } from './error';

/**
 * A known size, or a polynomial over named sizes in canonical text: `past + 2*seq`, `batch*seq`, `ceilDiv(seq, 4)`.
 * The functions of this file return canonical sizes only; equality of canonical sizes is `===`. Equal text means equal
 * size; two different names are different sizes. The converse can fail for exotic sums of floor divisions.
 * The text is what ONNX calls `dim_param`.
 */
export type Dim = number | string;

/** A factor that no rule takes apart: a name, or a floor division that leaves a remainder. */
export type DimAtom =
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'floorDiv'; readonly numerator: Dim; readonly divisor: Dim };

/** One product of a sum: an integer times atoms, a power being the atom repeated. The constant has no atoms. */
export type DimTerm = { readonly coefficient: number; readonly atoms: readonly DimAtom[] };

/** Values of names. */
export type DimSizes = ReadonlyMap<string, number> | Readonly<Record<string, number>>;

type Factor = { readonly text: string; readonly atom: DimAtom };
/** Factors are sorted by text, and `key` joins them: `batch*seq`, `` for the constant. */
type Term = { readonly coefficient: number; readonly factors: readonly Factor[]; readonly key: string };
/** Terms of different keys and no coefficient 0, sorted by key with the constant last. Zero is the empty list. */
type Polynomial = readonly Term[];

// ---- The public functions -------------------------------------------------------------------------------------------

/**
 * The canonical form of any expression of integers, names, `+ - *`, parentheses, `floorDiv(x, n)` and `ceilDiv(x, n)`.
 * A name starts with a letter or `_` and goes on with letters, digits, `_` and `.`.
 * @throws ShapeError when the text is no such expression, or a number is not an integer.
 */
export function dim(d: Dim): Dim {
  return typeof d === 'number' ? integer(d) : toDim(polynomial(d));
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
 * @throws ShapeError when `a` is not a multiple of `b` whatever the names stand for.
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

/** The exact quotient `a / b`, or undefined when `a` is not a multiple of `b`. */
export function tryDivDims(a: Dim, b: Dim): Dim | undefined {
  if (isNumber(a) && isNumber(b)) return integer(b) !== 0 && integer(a) % b === 0 ? integer(a / b) : undefined;
  const quotient = exactQuotient(polynomial(a), polynomial(b));
  return quotient && toDim(quotient);
}

/**
 * The largest integer not above `a / b`, where `b` is positive. Multiples of `b` leave the division
 * (`floorDivDims('4*a + b', 4)` is `a + floorDiv(b, 4)`), common factors cancel and nested divisions join.
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
 * The number that a size is for given values of its names.
 * @throws ShapeError when a name has no value, a value is not an integer, or a divisor is not positive.
 */
export function evaluateDim(d: Dim, sizes: DimSizes): number {
  if (isNumber(d)) return integer(d);
  return integer(
    polynomial(d).reduce((total, term) => {
      const value = term.factors.reduce((value, { atom }) => value * evaluateAtom(atom, d, sizes), term.coefficient);
      return total + value;
    }, 0),
  );
}

/** The names in a size, those inside of divisions too, each once and sorted. */
export function namesOfDim(d: Dim): readonly string[] {
  if (isNumber(d)) return [];
  const names = new Set<string>();
  for (const { factors } of polynomial(d))
    for (const { atom } of factors)
      for (const name of atom.kind === 'name' ? [atom.name] : [...namesOfDim(atom.numerator), ...namesOfDim(atom.divisor)])
        names.add(name);
  return [...names].sort();
}

/** The size with other sizes in place of its names, all at once; a name for which `by` gives undefined stays. */
export function substituteDim(d: Dim, by: (name: string) => Dim | undefined): Dim {
  if (isNumber(d)) return integer(d);
  const replaced = (atom: DimAtom): Polynomial =>
    atom.kind === 'name'
      ? polynomial(by(atom.name) ?? atom.name)
      : floorDivide(polynomial(substituteDim(atom.numerator, by)), polynomial(substituteDim(atom.divisor, by)));
  const terms = polynomial(d).map(({ coefficient, factors }) =>
    factors.map(({ atom }) => replaced(atom)).reduce(product, constant(coefficient)),
  );
  return toDim(sum(...terms));
}

/**
 * The one name of `d` that is not known, and the value of it that makes `d` equal to `size`; undefined when there is not
 * exactly one such name or `d` is not linear in it.
 * @throws ShapeError when no integer of at least 0 makes `d` equal to `size`.
 */
export function solveDim(
  d: Dim,
  size: number,
  known: ReadonlyMap<string, number>,
): { readonly name: string; readonly size: number } | undefined {
  const terms = polynomial(substituteDim(d, (name) => known.get(name)));
  const unknown = terms.filter((term) => term.key !== '');
  const [term] = unknown;
  const atom = term?.factors[0]?.atom;
  if (!term || unknown.length > 1 || term.factors.length > 1 || atom?.kind !== 'name') return undefined;
  const solution = (size - constantOf(terms)) / term.coefficient;
  if (Number.isSafeInteger(solution) && solution >= 0) return { name: atom.name, size: integer(solution) };
  const given = namesOfDim(d).filter((name) => known.has(name));
  const where = given.length ? ` where ${given.map((name) => `${name} = ${known.get(name)}`).join(', ')}` : '';
  throw new ShapeError({
    path: '',
    problem: `${dim(d)} cannot be ${size}${where}`,
    expected: `a size that an integer ${atom.name} of at least 0 gives`,
    got: `${atom.name} = ${solution}`,
  });
}

/** The terms whose sum the size is, for emitting its arithmetic: in the order of the text, none for 0. */
export function termsOf(d: Dim): readonly DimTerm[] {
  return polynomial(d).map(({ coefficient, factors }) => ({ coefficient, atoms: factors.map(({ atom }) => atom) }));
}

// ---- Integers -------------------------------------------------------------------------------------------------------

const isNumber = (d: Dim): d is number => typeof d === 'number';

/** Checks an integer, and turns -0 into 0. */
function integer(n: number): number {
  if (Number.isSafeInteger(n)) return n + 0;
  throw new ShapeError({
    path: '',
    problem: 'a size is not an integer that can be counted exactly',
    expected: 'an integer below 2^53',
    got: describe(n),
  });
}

/** The remainder that has the sign of a positive `n`. */
const modulo = (a: number, n: number): number => ((a % n) + n) % n;

const gcd = (a: number, b: number): number => (b === 0 ? Math.abs(a) : gcd(b, a % b));

// By the remainder, since a / n rounds where it has more than 53 bits.
function floorQuotient(a: number, n: number): number {
  integer(a);
  if (integer(n) <= 0) throw notPositive(n);
  return integer((a - modulo(a, n)) / n);
}

function notPositive(divisor: Dim, value?: number): ShapeError {
  return new ShapeError({
    path: '',
    problem: `a size is divided by ${divisor}${value === undefined ? '' : `, which is ${value}`}`,
    expected: 'a divisor of at least 1',
  });
}

// ---- Polynomials ----------------------------------------------------------------------------------------------------

const constant = (n: number): Polynomial => (integer(n) === 0 ? [] : [term(n, [])]);

function term(coefficient: number, factors: readonly Factor[]): Term {
  const sorted = [...factors].sort((a, b) => (a.text < b.text ? -1 : a.text > b.text ? 1 : 0));
  return { coefficient: integer(coefficient), factors: sorted, key: sorted.map(({ text }) => text).join('*') };
}

function sum(...polynomials: Polynomial[]): Polynomial {
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

const scaled = (p: Polynomial, n: number): Polynomial => p.map((t) => ({ ...t, coefficient: integer(t.coefficient * n) }));
const negative = (p: Polynomial): Polynomial => scaled(p, -1);

const mostTerms = 1000;

function product(p: Polynomial, q: Polynomial): Polynomial {
  const terms = p.flatMap((a) => q.map((b) => term(a.coefficient * b.coefficient, [...a.factors, ...b.factors])));
  const result = sum(terms);
  if (result.length <= mostTerms) return result;
  throw new ShapeError({ path: '', problem: `a size is a sum of more than ${mostTerms} products` });
}

const constantOf = (p: Polynomial): number => p.find((t) => t.key === '')?.coefficient ?? 0;
const isConstant = (p: Polynomial): boolean => p.every((t) => t.key === '');

/** The term that division goes by: of the highest degree, and of these the first in text, an order that products keep. */
const leading = (p: Polynomial): Term =>
  p.reduce((a, b) => (b.factors.length > a.factors.length || (b.factors.length === a.factors.length && b.key < a.key) ? b : a));

/** The factors that are left when `taken` are taken out, undefined when they are not all there. */
function without(factors: readonly Factor[], taken: readonly Factor[]): readonly Factor[] | undefined {
  const left = [...factors];
  for (const { text } of taken) {
    const at = left.findIndex((factor) => factor.text === text);
    if (at < 0) return undefined;
    left.splice(at, 1);
  }
  return left;
}

/** `p = quotient * d + remainder`, where no term of the remainder contains the leading term of `d`. */
function divide(p: Polynomial, d: Polynomial): { quotient: Polynomial; remainder: Polynomial } {
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

function exactQuotient(p: Polynomial, d: Polynomial): Polynomial | undefined {
  if (d.length === 0) return undefined;
  const { quotient, remainder } = divide(p, d);
  return remainder.length === 0 ? quotient : undefined;
}

// ---- Floor division -------------------------------------------------------------------------------------------------

// Every rule below holds for positive divisors. A constant divisor n leaves coefficients of 0 … n - 1 in the numerator,
// which is therefore never negative: division that rounds towards zero computes it as well.

function floorDivide(p: Polynomial, d: Polynomial): Polynomial {
  if (isConstant(d) && constantOf(d) <= 0) throw notPositive(constantOf(d));
  const { quotient, remainder } = divide(p, d);
  const fixed = isConstant(remainder) ? constantOf(remainder) : undefined;
  if (fixed === 0 || fixed === -1) return sum(quotient, constant(fixed));
  if (fixed !== undefined && isConstant(d)) return quotient;
  // Out of several terms a quotient would bring its negative terms back into the numerator: floorDiv(a, a + b).
  if (d.length > 1 && fixed === undefined) return reduced(p, d);
  // A negative constant borrows one divisor, so that ceilDiv(a, b) does not become floorDiv(a - 1, b) + 1.
  if (constantOf(remainder) < 0) return sum(quotient, constant(-1), reduced(sum(remainder, d), d));
  return sum(quotient, reduced(remainder, d));
}

const ceilDivide = (p: Polynomial, d: Polynomial): Polynomial => floorDivide(sum(p, d, constant(-1)), d);

/** The division with common factors cancelled and inner divisions joined, or an atom when there are none. */
function reduced(p: Polynomial, d: Polynomial): Polynomial {
  const common = [...p.filter((t) => t.key !== ''), ...d].reduce((n, t) => gcd(n, t.coefficient), 0);
  if (common > 1) return floorDivide(divide(p, constant(common)).quotient, divide(d, constant(common)).quotient);

  for (const factor of leading(d).factors) {
    const numerator = exactQuotient(p, [term(1, [factor])]);
    const divisor = exactQuotient(d, [term(1, [factor])]);
    if (numerator && divisor) return floorDivide(numerator, divisor);
  }

  for (const t of p) {
    const atom = t.coefficient === 1 && t.factors.length === 1 ? t.factors[0]?.atom : undefined;
    if (atom?.kind !== 'floorDiv') continue;
    const inner = polynomial(atom.divisor);
    const others = p.filter((other) => other !== t);
    return floorDivide(sum(polynomial(atom.numerator), product(inner, others)), product(inner, d));
  }

  return [term(1, [{ text: divisionText(p, d), atom: { kind: 'floorDiv', numerator: toDim(p), divisor: toDim(d) } }])];
}

function divisionText(p: Polynomial, d: Polynomial): string {
  const short = sum(p, negative(d));
  const ceils = constantOf(short) === -1 && short.length <= p.length;
  return ceils ? `ceilDiv(${toDim(sum(short, constant(1)))}, ${toDim(d)})` : `floorDiv(${toDim(p)}, ${toDim(d)})`;
}

// ---- Text -----------------------------------------------------------------------------------------------------------

// Compiling asks for the same few sizes over and over. Emptied when full, since a program may run for months.
const parsed = new Map<string, Polynomial>();
const mostParsed = 10_000;

function remember(text: string, p: Polynomial): Polynomial {
  if (parsed.size >= mostParsed) parsed.clear();
  parsed.set(text, p);
  return p;
}

function polynomial(d: Dim): Polynomial {
  if (isNumber(d)) return constant(d);
  return parsed.get(d) ?? remember(d, parse(d));
}

function toDim(p: Polynomial): Dim {
  if (isConstant(p)) return constantOf(p);
  const start = Math.max(
    0,
    p.findIndex((t) => t.coefficient > 0),
  );
  const ordered = [p[start]!, ...p.filter((_, i) => i !== start)];
  const text = ordered.map(termText).join('');
  if (!parsed.has(text)) remember(text, p);
  return text;
}

function termText({ coefficient, key }: Term, at: number): string {
  const size = Math.abs(coefficient);
  const sign = at === 0 ? (coefficient < 0 ? '-' : '') : coefficient < 0 ? ' - ' : ' + ';
  return sign + (key === '' ? size : size === 1 ? key : `${size}*${key}`);
}

const token = /\s*(?:(\d+)|([\p{L}_][\p{L}\p{N}_.]*)|([-+*(),]))/uy;
const deepest = 100;

function parse(text: string): Polynomial {
  let at = 0;
  let depth = 0;
  let number: string | undefined;
  let name: string | undefined;
  let sign: string | undefined;

  function fail(): never {
    throw new ShapeError({
      path: '',
      problem: `${describe(text)} is not a size`,
      expected: 'integers, names, + - *, parentheses, floorDiv(x, n) and ceilDiv(x, n)',
      got: depth > deepest ? `more than ${deepest} nested parentheses` : (number ?? name ?? sign ?? 'the end of the text'),
    });
  }
  function advance(): void {
    token.lastIndex = at;
    const match = token.exec(text);
    if (!match && text.slice(at).trim() !== '') {
      number = text.slice(at).trim()[0];
      fail();
    }
    at = match ? token.lastIndex : text.length;
    [number, name, sign] = match ? match.slice(1) : [];
  }
  function take(expected: string): boolean {
    if (sign !== expected) return false;
    advance();
    return true;
  }
  const need = (expected: string): unknown => take(expected) || fail();

  function parseSum(): Polynomial {
    if (++depth > deepest) fail();
    let p = parseProduct();
    while (sign === '+' || sign === '-') p = sum(p, take('+') ? parseProduct() : parseProduct());
    depth--;
    return p;
  }
  function parseProduct(): Polynomial {
    let negatives = 0;
    let p = constant(1);
    do {
      while (take('-')) negatives++;
      p = product(p, parseFactor());
    } while (take('*'));
    return negatives % 2 ? negative(p) : p;
  }
  function parseFactor(): Polynomial {
    const [digits, word] = [number, name];
    if (digits === undefined && word === undefined) {
      need('(');
      const p = parseSum();
      need(')');
      return p;
    }
    advance();
    if (digits !== undefined) return constant(Number(digits));
    if (word !== 'floorDiv' && word !== 'ceilDiv') return [term(1, [{ text: word!, atom: { kind: 'name', name: word! } }])];
    need('(');
    const p = parseSum();
    need(',');
    const d = parseSum();
    need(')');
    return word === 'floorDiv' ? floorDivide(p, d) : ceilDivide(p, d);
  }

  advance();
  const p = parseSum();
  return at === text.length && number === undefined && name === undefined && sign === undefined ? p : fail();
}

// ---- Values ---------------------------------------------------------------------------------------------------------

function evaluateAtom(atom: DimAtom, whole: Dim, sizes: DimSizes): number {
  if (atom.kind === 'name') return valueOfName(atom.name, whole, sizes);
  const divisor = evaluateDim(atom.divisor, sizes);
  if (divisor <= 0) throw notPositive(atom.divisor, divisor);
  return floorQuotient(evaluateDim(atom.numerator, sizes), divisor);
}

function valueOfName(name: string, whole: Dim, sizes: DimSizes): number {
  const map: ReadonlyMap<string, number> = sizes instanceof Map ? sizes : new Map(Object.entries(sizes));
  const value = map.get(name);
  if (value !== undefined) return integer(value);
  const near = nearest(name, map.keys());
  throw new ShapeError({
    path: '',
    problem: whole === name ? `the size ${name} has no value` : `${name} in the size ${whole} has no value`,
    expected: 'a value for every name',
    got: map.size ? `values for ${[...map.keys()].join(', ')}` : 'none',
    ...(near && { hint: `Did you mean ${near}?` }),
  });
}
