// Parses the text of a symbolic size.
import { describe, ShapeError } from '../error';
import { ceilDivide, constant, floorDivide, named, negative, type Polynomial, product, sum } from './polynomial';

const pattern = /\s*(?:(?<digits>\d+)|(?<name>[\p{L}_][\p{L}\p{Nd}_.]*)|(?<sign>[-+*(),])|(?<other>\S))/uy;
type Token = { readonly digits?: string; readonly name?: string; readonly sign?: string; readonly other?: string };

const deepest = 100;
const longest = 10_000;

/**
 * The polynomial of a text: integers, names, `+ - *`, parentheses, `floorDiv(x, n)` and `ceilDiv(x, n)`.
 * @throws ShapeError when the text is not a polynomial, is longer than 10,000 characters, or nests more than 100 parentheses
 */
export function parse(text: string): Polynomial {
  // A program without types may pass anything.
  if (typeof text !== 'string')
    throw new ShapeError({ path: '', problem: 'not a size', expected: 'a number or a text such as "seq"', got: describe(text) });
  let end = 0;
  let depth = 0;
  if (text.length > longest)
    throw new ShapeError({
      path: '',
      problem: 'the text of a size is too long',
      expected: `at most ${longest} characters`,
      got: `${text.length}`,
    });
  let token: Token = next();

  function next(): Token {
    pattern.lastIndex = end;
    const match = pattern.exec(text);
    end = match ? pattern.lastIndex : text.length;
    return match?.groups ?? {};
  }
  function fail(got = token.digits ?? token.name ?? token.sign ?? token.other): never {
    throw new ShapeError({
      path: '',
      problem: `${describe(text)} is not a size`,
      expected: 'an expression such as past + 2*seq, (batch - 1)*seq, floorDiv(seq, 4) or ceilDiv(seq, 4)',
      got: got ?? 'the end of the text',
    });
  }
  function take(sign: string): boolean {
    if (token.sign !== sign) return false;
    token = next();
    return true;
  }
  function need(sign: string): void {
    if (!take(sign)) fail();
  }

  function parseSum(): Polynomial {
    if (++depth > deepest) fail(`more than ${deepest} nested parentheses`);
    const parts = [parseProduct()];
    // A minus is left for the product, which reads it as its sign.
    while (token.sign === '-' || take('+')) parts.push(parseProduct());
    depth--;
    return sum(...parts);
  }
  function parseProduct(): Polynomial {
    let isNegative = false;
    let p = constant(1);
    do {
      while (take('-')) isNegative = !isNegative;
      p = product(p, parseFactor());
    } while (take('*'));
    return isNegative ? negative(p) : p;
  }
  function parseFactor(): Polynomial {
    const { digits, name } = token;
    if (digits === undefined && name === undefined) need('(');
    else token = next();
    if (digits !== undefined) return constant(Number(digits));
    if (name === 'floorDiv' || name === 'ceilDiv') return parseDivision(name === 'floorDiv' ? floorDivide : ceilDivide);
    if (name !== undefined) return named(name);
    const p = parseSum();
    need(')');
    return p;
  }
  function parseDivision(divide: (p: Polynomial, d: Polynomial) => Polynomial): Polynomial {
    need('(');
    const numerator = parseSum();
    need(',');
    const divisor = parseSum();
    need(')');
    return divide(numerator, divisor);
  }

  const p = parseSum();
  return Object.values(token).some((part) => part !== undefined) ? fail() : p;
}
