// Compares arrays of numbers and reports where they differ most.

import { toArray } from '../tensor/convert';
import type { NDArray, Tensor } from '../tensor/tensor';

/** An element may differ by `atol + rtol * |expected|`. */
export interface Tolerance {
  /** Default 1e-9. */
  readonly atol?: number;
  /** Default 1e-9. */
  readonly rtol?: number;
  /** Whether NaN equals NaN. Default false: a NaN anywhere is a difference. */
  readonly equalNaN?: boolean;
}

/** The element with the largest error relative to its tolerance. */
export interface Comparison {
  readonly close: boolean;
  /** Why the arrays could not be compared: different dims or dtypes. */
  readonly problem?: string;
  /** Number of elements that exceed their tolerance, and of all elements. */
  readonly failures: number;
  readonly count: number;
  readonly index: readonly number[];
  readonly actual: number;
  readonly expected: number;
  readonly error: number;
  readonly budget: number;
}

/** Compares element by element. Infinities of one sign are equal; arrays of different dims or dtype are never close. */
export function compare(actual: Tensor | NDArray, expected: Tensor | NDArray, tolerance: Tolerance = {}): Comparison {
  const nothing = { failures: 0, count: 0, index: [], actual: Number.NaN, expected: Number.NaN, error: 0, budget: 0 };
  const types = [actual, expected].map(({ dtype, dims }) => `${dtype}[${dims.join(', ')}]`);
  if (types[0] !== types[1]) return { ...nothing, close: false, problem: `expected ${types[1]}, got ${types[0]}` };

  const { atol = 1e-9, rtol = 1e-9, equalNaN = false } = tolerance;
  const [a, b] = [toArray(actual).data, toArray(expected).data];
  if (a.length !== b.length) return { ...nothing, close: false, problem: `expected ${b.length} elements, got ${a.length}` };
  if (a.length === 0) return { ...nothing, close: true };
  let [worst, furthest, failures] = [0, -1, 0];
  const errorOf = (x: number, y: number) => {
    if (Object.is(x, y) && (equalNaN || !Number.isNaN(x))) return 0;
    const difference = Math.abs(x - y);
    return Number.isNaN(difference) ? (x === y ? 0 : Number.POSITIVE_INFINITY) : difference;
  };
  const budgetOf = (y: number) => atol + rtol * (Number.isFinite(y) ? Math.abs(y) : 0);
  for (let i = 0; i < a.length; i++) {
    const [error, budget] = [errorOf(a[i]!, b[i]!), budgetOf(b[i]!)];
    const excess = error === 0 ? 0 : error === Number.POSITIVE_INFINITY ? error : error / budget;
    if (error > budget || error === Number.POSITIVE_INFINITY) failures++;
    if (excess > furthest) [worst, furthest] = [i, excess];
  }
  const [x, y] = [a[worst]!, b[worst]!];
  return {
    close: failures === 0,
    failures,
    count: a.length,
    index: indexOf(worst, actual.dims),
    actual: x,
    expected: y,
    error: errorOf(x, y),
    budget: budgetOf(y),
  };
}

/** Throws an error that names the worst element, its index, both values and the tolerance. `what` begins its message. */
export function expectClose(
  actual: Tensor | NDArray,
  expected: Tensor | NDArray,
  tolerance: Tolerance = {},
  what = 'arrays',
): void {
  const result = compare(actual, expected, tolerance);
  if (!result.close) throw new Error(`${what} are not close: ${printComparison(result)}`);
}

/** `3 of 35 elements differ too much; worst at [2, 4]: expected 1, got 1.5, off by 0.5, allowed 1e-9`. */
export function printComparison({ problem, failures, count, index, actual, expected, error, budget }: Comparison): string {
  if (problem) return problem;
  if (count === 0) return 'no elements';
  const place = `at [${index.join(', ')}]: expected ${expected}, got ${actual}, off by ${error}, allowed ${budget}`;
  return failures ? `${failures} of ${count} elements differ too much; worst ${place}` : `largest difference ${place}`;
}

function indexOf(flat: number, dims: readonly number[]): number[] {
  const index: number[] = [];
  for (let axis = dims.length - 1, rest = flat; axis >= 0; axis--) {
    index.unshift(rest % dims[axis]!);
    rest = Math.floor(rest / dims[axis]!);
  }
  return index;
}
