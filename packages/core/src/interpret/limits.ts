// Checks feeds against the limits of a graph.
import { type Dim, dimReader } from '../dim/dim';
import { FeedError } from '../error';
import type { Limit } from '../ir/graph';

/** The elements of a feed, as the runner or the interpreter stores them. */
export interface Numbers {
  readonly dims: readonly number[];
  readonly data: ArrayLike<number | bigint>;
}

/** A limit that is checked in every run. */
export interface PreparedLimit {
  readonly limit: Limit;
  /**
   * Checks it if its sizes are known and its input is fed.
   *
   * Throws   FeedError naming the input, the offending number and its place
   */
  check(sizes: ReadonlyMap<string, number>, numbers: (input: string) => Numbers | undefined): void;
}

/** Prepares the check of a limit. `inputWith` is an input whose dims contain a size, for the error. */
export function prepareLimit(
  limit: Limit,
  pathOf: (input: string) => string,
  inputWith: (size: Dim) => string | undefined,
): PreparedLimit {
  const [lower, upper, actual] = [limit.min, limit.max, limit.size].map((d) => (d === undefined ? undefined : dimReader(d)));
  const check: PreparedLimit['check'] = (sizes, numbersOf) => {
    const [min, max] = [lower?.(sizes), upper?.(sizes)];
    if ((lower && min === undefined) || (upper && max === undefined)) return;
    if (limit.size !== undefined) {
      const size = actual!(sizes);
      if (size === undefined || within(size, min, max)) return;
      const input = inputWith(limit.size);
      throw fault(limit, input === undefined ? 'feeds' : pathOf(input), min, max, named(limit.size, size));
    }
    const numbers = numbersOf(limit.input!);
    const outside = numbers && firstOutside(numbers, limit.of ?? 'elements', min, max);
    if (outside) throw fault(limit, pathOf(limit.input!), min, max, outside);
  };
  return { limit, check };
}

const within = (n: number, min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY): boolean => n >= min && n <= max;

// The offending value as text; undefined where all are within the bounds.
function firstOutside(
  { data, dims }: Numbers,
  of: NonNullable<Limit['of']>,
  min = Number.NEGATIVE_INFINITY,
  max = Number.POSITIVE_INFINITY,
): string | undefined {
  if (of === 'sum') {
    let sum = 0;
    for (let i = 0; i < data.length; i++) sum += Number(data[i]);
    return within(sum, min, max) ? undefined : String(sum);
  }
  if (of === 'counts') {
    const width = dims.at(-1) ?? 1;
    for (let from = 0; from < data.length; from += width) {
      let count = 0;
      for (let i = from; i < from + width; i++) if (Number(data[i]) !== 0) count++;
      if (!within(count, min, max)) return `${count} in row ${from / width}`;
    }
    return undefined;
  }
  const first = data instanceof BigInt64Array ? wordsOutside(data, min, max) : numbersOutside(data, min, max);
  return first < 0 ? undefined : `${data[first]}${dims.length ? ` at [${indexOf(first, dims).join(', ')}]` : ''}`;
}

/** The index of the first number outside the bounds, or -1. */
function numbersOutside(data: ArrayLike<number | bigint>, min: number, max: number): number {
  for (let i = 0; i < data.length; i++) {
    const n = Number(data[i]);
    if (n < min || n > max) return i;
  }
  return -1;
}

// Ids of a batch, in every run: without a bigint or an array for them. The lower word comes first (little-endian), as the runtime requires.
function wordsOutside({ buffer, byteOffset, length }: BigInt64Array, min: number, max: number): number {
  const [low, high] = [new Uint32Array(buffer, byteOffset, 2 * length), new Int32Array(buffer, byteOffset, 2 * length)];
  for (let i = 0; i < 2 * length; i += 2) {
    const n = high[i + 1]! * 2 ** 32 + low[i]!;
    if (n < min || n > max) return i / 2;
  }
  return -1;
}

function indexOf(place: number, dims: readonly number[]): number[] {
  let rest = place;
  return dims
    .toReversed()
    .map((size) => {
      const at = rest % size;
      rest = Math.floor(rest / size);
      return at;
    })
    .reverse();
}

function fault(limit: Limit, path: string, min: number | undefined, max: number | undefined, got: string): FeedError {
  const { problem, by, hint } = limit;
  return new FeedError({
    path,
    problem,
    expected: `${range(limit, min, max)}${by ? `, by ${by}` : ''}`,
    got,
    ...(hint && { hint }),
  });
}

function range(limit: Limit, min: number | undefined, max: number | undefined): string {
  const last = max === undefined ? undefined : named(limit.max!, max);
  if (min === max) return last!;
  if (max === undefined) return `${min} or more`;
  return min === undefined ? `at most ${last}` : `${min} to ${last}`;
}

const named = (d: Dim, value: number): string => (typeof d === 'number' ? String(value) : `${value} (${d})`);
