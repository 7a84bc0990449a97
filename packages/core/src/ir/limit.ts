// Requirements of a graph on its feeds, besides dtypes and sizes: the runner and the interpreter check them before anything is computed.
import { type Dim, subDims, termsOf } from '../dim/dim';
import { ShapeError } from '../error';

/**
 * One requirement, as data that is saved with a model: the elements of an input, or a size, are within bounds, both inclusive. Bounds are sizes,
 * so they may depend on the run: lengths are from 0 to `seq`.
 */
export interface Limit {
  /** The input whose elements are checked. */
  readonly input?: string;
  /** What is compared: every element (default), the number of nonzero elements of each row (along the last axis), or the sum of all. */
  readonly of?: 'elements' | 'counts' | 'sum';
  /** The size that is checked, if no input is named. */
  readonly size?: Dim;
  readonly min?: Dim;
  readonly max?: Dim;
  /** In words, for the error: `an index out of range of the table`. */
  readonly problem: string;
  /** The option that decides on the bounds: `encoder.embedding.seqLen`. */
  readonly by?: string;
  /** What to do about it. */
  readonly hint?: string;
}

/** The least and the largest value that limits leave to a size or to the elements of an input, each with the limit that states it. */
interface Range {
  readonly least: number;
  readonly most: number;
  readonly by: { readonly least?: Limit; readonly most?: Limit };
}

/** What a limit is about: a size without its constant, so that `seq` and `seq + 2` are one subject, or an input. */
function subjectOf({ input, of = 'elements', size = 0 }: Limit): { readonly name: string; readonly offset: number } {
  if (input !== undefined)
    return { name: of === 'elements' ? `the elements of "${input}"` : `the ${of} of "${input}"`, offset: 0 };
  const constant = termsOf(size).find(({ atoms }) => atoms.length === 0)?.coefficient ?? 0;
  return { name: String(subDims(size, constant)), offset: constant };
}

/** A sum of products of names is at least 0. */
const neverNegative = ({ input, size = 0 }: Limit): boolean =>
  input === undefined && termsOf(size).every(({ coefficient, atoms }) => atoms.length === 0 || coefficient > 0);

function narrowed(range: Range, limit: Limit): Range {
  const { offset } = subjectOf(limit);
  const bound = (d: Dim | undefined, none: number): number => (typeof d === 'number' ? d - offset : none);
  const [least, most] = [bound(limit.min, Number.NEGATIVE_INFINITY), bound(limit.max, Number.POSITIVE_INFINITY)];
  return {
    least: Math.max(least, range.least),
    most: Math.min(most, range.most),
    by: {
      ...range.by,
      ...(least > range.least && { least: limit }),
      ...(most < range.most && { most: limit }),
    },
  };
}

const said = (bound: string, { by, problem }: Limit): string => `${bound} (${by ? `by ${by}` : `otherwise ${problem}`})`;

/**
 * Checks a new limit with those of the same size or input: that a known size is within it, and that some value is within all of them.
 *
 * @param where path of the block that requires the limit
 * @throws ShapeError with the size and the options that decide on the bounds
 */
export function checkLimit(limit: Limit, others: readonly Limit[], where: string): void {
  const { name, offset } = subjectOf(limit);
  const { problem, by, hint } = limit;
  const path = where || by || 'inputs';
  if (limit.input === undefined && name === '0') {
    const { least, most } = narrowed(anyValue, limit);
    if (least <= 0 && most >= 0) return;
    const expected = `${least > 0 ? `at least ${least + offset}` : `at most ${most + offset}`}${by ? `, by ${by}` : ''}`;
    throw new ShapeError({ path, problem, expected, got: String(offset), ...(hint && { hint }) });
  }
  const alike = [...others.filter((other) => subjectOf(other).name === name), limit];
  const start = neverNegative(limit) ? { ...anyValue, least: 0 } : anyValue;
  const { least, most, by: stated } = alike.reduce(narrowed, start);
  if (least <= most || !stated.most) return;
  throw new ShapeError({
    path,
    problem: `no value of ${name} is allowed, so no feeds would be accepted`,
    expected: stated.least ? said(`at least ${least}`, stated.least) : `at least ${least}`,
    got: said(`at most ${most}`, stated.most),
    hint: hint ?? stated.most.hint ?? stated.least?.hint ?? 'Change the options that decide on these bounds',
  });
}
const anyValue: Range = { least: Number.NEGATIVE_INFINITY, most: Number.POSITIVE_INFINITY, by: {} };
