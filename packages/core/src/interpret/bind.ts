// Binds the names in symbolic sizes to their values in the feeds of a run.
import { type Dim, evaluateDim, namesOfDim, solveDim } from '../dim/dim';
import { FeedError, ShapeError } from '../error';

/** A fed array and its declared dims. */
export interface FedSizes {
  readonly name: string;
  readonly dims: readonly Dim[];
  readonly actual: readonly number[];
}

/**
 * The value of every name in the dims. A plain name is bound by its axis; a name that occurs only in a linear size (`batch + 1`) is
 * solved for. A size that stays unknown (`batch*seq` alone) is not checked.
 *
 * @param known values fixed beforehand
 * @throws FeedError when the rank or a size of an array differs from the declared dims, or two axes give a name different values
 */
export function bindSizes(fed: readonly FedSizes[], known: Iterable<readonly [string, number]> = []): Map<string, number> {
  const sizes = new Map(known);
  const sources = new Map<string, string>();
  for (const { name, dims, actual } of fed)
    if (dims.length !== actual.length) throw fault(name, 'has the wrong number of axes', show(dims), show(actual));
  const axes = fed.flatMap(({ name, dims, actual }) => dims.map((dim, i) => ({ name, dim, size: actual[i]!, axis: i })));
  const bind = (dimName: string, size: number, from: string) => {
    sizes.set(dimName, size);
    sources.set(dimName, from);
  };

  for (const { name, dim, size, axis } of axes)
    if (typeof dim === 'string' && namesOfDim(dim)[0] === dim && !sizes.has(dim)) bind(dim, size, `axis ${axis} of "${name}"`);
  for (let before = -1; before !== sizes.size; ) {
    before = sizes.size;
    for (const { name, dim, size, axis } of axes) {
      const solved = attempt(name, axis, () => solveDim(dim, size, sizes));
      if (solved) bind(solved.name, solved.size, `axis ${axis} of "${name}"`);
    }
  }
  for (const { name, dim, size, axis } of axes) {
    if (!namesOfDim(dim).every((n) => sizes.has(n))) continue;
    const expected = attempt(name, axis, () => evaluateDim(dim, sizes));
    if (expected === size) continue;
    const given = namesOfDim(dim).map((n) => `${n} is ${sizes.get(n)}${sources.has(n) ? ` by ${sources.get(n)}` : ''}`);
    const declared = given.length ? `${dim} = ${expected} (${given.join(', ')})` : String(expected);
    throw fault(name, `has the wrong size on axis ${axis}`, declared, String(size));
  }
  return sizes;
}

function attempt<T>(name: string, axis: number, f: () => T): T {
  try {
    return f();
  } catch (error) {
    if (!(error instanceof ShapeError)) throw error;
    throw fault(name, `has an impossible size on axis ${axis}: ${error.problem}`, error.expected, error.got);
  }
}

function fault(path: string, problem: string, expected?: string, got?: string): FeedError {
  return new FeedError({ path, problem, ...(expected && { expected }), ...(got && { got }) });
}

const show = (dims: readonly Dim[]): string => `[${dims.join(', ')}]`;
