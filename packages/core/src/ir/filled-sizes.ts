// Which sizes can be 0 when a kernel runs: a run whose results are all known without a kernel does not reach the runtime.
import { type Dim, evaluateDim, namesOfDim, substituteDim, termsOf } from '../dim/dim';
import type { Limit } from './limit';

/** How an output continues an input: it is the input, and `rows` new positions after it. Without new positions it is the input itself. */
export interface Continuation {
  readonly input: string;
  readonly rows: Dim;
}

/** What determines which sizes of a graph can be 0. */
export interface SizesOfGraph {
  /** `from`: the inputs that a derived one is computed from. */
  readonly inputs: readonly {
    readonly name: string | undefined;
    readonly dims: readonly Dim[];
    readonly from: readonly (string | undefined)[];
  }[];
  readonly outputs: readonly { readonly name: string; readonly dims: readonly Dim[] }[];
  readonly continuations: ReadonlyMap<string, Continuation>;
  readonly limits: readonly Limit[];
}

/**
 * The names that are at least 1 whenever the graph runs, with their least values: a limit says so, or each output is empty, or continues an input by nothing, if the
 * name is 0. The runner knows such results without the runtime. So the graph of a decoder needs no case for 0 new tokens, and a loss does.
 */
export function filledSizes({ inputs, outputs, continuations, limits }: SizesOfGraph): ReadonlyMap<string, number> {
  const names = new Set(inputs.flatMap(({ dims }) => dims.flatMap(namesOfDim)));
  const limited = (name: string): number =>
    Math.max(0, ...limits.map(({ size, min }) => (size === name && typeof min === 'number' ? min : 0)));
  const answered = (name: string): boolean =>
    outputs.every((o) => {
      const { rows } = continuations.get(o.name) ?? {};
      return o.dims.some((d) => vanishesWith(d, name)) || (rows !== undefined && vanishesWith(rows, name));
    });
  const least = (name: string): number => limited(name) || (answered(name) ? 1 : 0);
  const filled = new Map([...names].map((name) => [name, least(name)] as const).filter(([, size]) => size >= 1));
  // Lengths whose sum is not 0 are those of at least one sequence, and the longest has at least one position.
  for (const { input, of, min } of limits) {
    if (of !== 'sum' || min === undefined || !isFilled(min, filled)) continue;
    const parts = inputs.filter(({ name, from }) => name === input || from.includes(input));
    for (const name of parts.flatMap(({ dims }) => dims.flatMap(namesOfDim))) if (!filled.has(name)) filled.set(name, 1);
  }
  return filled;
}

/** Whether a size is 0 whenever a name is. */
const vanishesWith = (d: Dim, name: string): boolean => substituteDim(d, (n) => (n === name ? 0 : undefined)) === 0;

/** Whether a size is at least 1 if these are the least values of names: the smallest value of a size that grows with each name is that of the smallest names. */
export function isFilled(d: Dim, filled: ReadonlyMap<string, number>): boolean {
  if (!grows(d)) return false;
  return evaluateDim(d, new Map(namesOfDim(d).map((name) => [name, filled.get(name) ?? 0]))) >= 1;
}

const grows = (d: Dim): boolean =>
  termsOf(d).every(
    ({ coefficient, atoms }) =>
      atoms.length === 0 ||
      (coefficient > 0 && atoms.every((a) => a.kind === 'name' || (grows(a.numerator) && typeof a.divisor === 'number'))),
  );
