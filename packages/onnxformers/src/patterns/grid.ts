// Patterns of positions that are the points of a grid, row by row: distances, and masks made of them.
import {
  type Condition,
  checkArguments,
  type Mask,
  maskMod,
  ShapeError,
  type Tensor,
  type Term,
  tensor,
} from '@onnxformers/core';

/** Sizes of a grid: [height, width] of an image. Its points are numbered in row-major order, the last coordinate fastest. */
export type GridSizes = readonly number[];

/** Options of {@link gridDistances}. */
export interface DistanceOptions {
  /** The norm: 1, 2, …, `Infinity` for the largest difference, 0 for the number of coordinates that differ. Default 2. */
  readonly p?: number;
  /** A factor for the difference of each coordinate; default 1. [1, 0] measures only rows, [0, 1] only columns. */
  readonly weights?: readonly number[];
}

/**
 * The distances between all points of a grid: the p-norm of the weighted differences of their coordinates.
 *
 * Shapes   → float32 [points, points]
 * Throws   ShapeError for sizes below 1, a negative norm and another number of weights than of sizes
 * Example  const rows = gridDistances([4, 5], { p: 1, weights: [1, 0] });
 */
export function gridDistances(sizes: GridSizes, options: DistanceOptions = {}): Tensor {
  checkArguments('gridDistances', { grid: sizes, 'options?': options });
  const { p = 2, weights = sizes.map(() => 1) } = options;
  checkSizes('gridDistances', sizes);
  if (!(p >= 0)) throw fault('gridDistances.p', 'not a norm', 'a number of at least 0, or Infinity', p);
  if (weights.length !== sizes.length)
    throw fault('gridDistances.weights', 'another number of weights than of sizes', `${sizes.length} weights`, weights.length);
  const points = pointsOf(sizes);
  const between = (a: readonly number[], b: readonly number[]): number =>
    norm(
      a.map((x, i) => weights[i]! * Math.abs(x - b[i]!)),
      p,
    );
  const data = points.flatMap((a) => points.map((b) => between(a, b)));
  return tensor('float32', [points.length, points.length], data);
}

function norm(differences: readonly number[], p: number): number {
  if (p === 0) return differences.filter((d) => d !== 0).length;
  if (p === Number.POSITIVE_INFINITY) return Math.max(...differences);
  return differences.reduce((sum, d) => sum + d ** p, 0) ** (1 / p);
}

/**
 * A Gaussian of the distance between all points of a grid: exp(−d² / (2 sigma²)). For instance the probabilities of {@link samplePairs}.
 *
 * Shapes   → float32 [points, points]
 * Throws   ShapeError for sizes below 1 and a sigma that is not above 0
 * Example  const near = samplePairs(gridGaussian([8, 8], { sigma: 2 }), 512, 1);
 */
export function gridGaussian(sizes: GridSizes, options: { readonly sigma?: number } = {}): Tensor {
  checkArguments('gridGaussian', { grid: sizes, 'options?': options });
  const { sigma = 1 } = options;
  checkSizes('gridGaussian', sizes);
  if (!(sigma > 0)) throw fault('gridGaussian.sigma', 'not a width', 'a number above 0', sigma);
  const points = pointsOf(sizes);
  const squared = (a: readonly number[], b: readonly number[]) => a.reduce((sum, x, i) => sum + (x - b[i]!) ** 2, 0);
  const data = points.flatMap((a) => points.map((b) => Math.exp(-squared(a, b) / (2 * sigma * sigma))));
  return tensor('float32', [points.length, points.length], data);
}

/** The norms whose balls are masks. */
const norms = [0, 1, 2, Number.POSITIVE_INFINITY];

/**
 * Points of a grid that are nearer than `distance`, by the norm p: 1, 2 (default), `Infinity` or 0. For other norms and for weights, see {@link fromPattern}.
 *
 * Throws   ShapeError for sizes below 1, a distance that is not above 0 and another norm
 * Example  const mask = localOnGrid([14, 14], { distance: 3 });
 */
export function localOnGrid(sizes: GridSizes, options: { readonly distance: number; readonly p?: number }): Mask<never> {
  checkArguments('localOnGrid', { grid: sizes, options });
  const { distance, p = 2 } = options;
  checkSizes('localOnGrid', sizes);
  if (!(distance > 0)) throw fault('localOnGrid.distance', 'no point is nearer', 'a number above 0', distance);
  if (!norms.includes(p)) throw fault('localOnGrid.p', 'not a norm that is computed in integers', '0, 1, 2 or Infinity', p);
  return maskMod((_b, _h, q, k) => {
    const differences = coordinatesOf(sizes, q, k).map(([a, b]) => a.sub(b).abs());
    const sum = (terms: readonly Term[]): Term => terms.reduce((a, b) => a.add(b));
    if (p === 0) return sum(differences.map((d) => d.ne(0).select(1, 0))).lt(above(distance));
    if (p === 1) return sum(differences).lt(above(distance));
    if (p === 2) return sum(differences.map((d) => d.mul(d))).lt(above(distance ** 2));
    return differences.reduce((a, b) => a.max(b)).lt(above(distance));
  });
}

// For integers n, n < x is n < ⌈x⌉. The square of a root is an integer that may have been rounded.
const above = (x: number): number => (Math.abs(x - Math.round(x)) < 1e-9 * x ? Math.round(x) : Math.ceil(x));

/**
 * Points of a grid that differ in at most one coordinate: axial attention.
 *
 * Throws   ShapeError for sizes below 1
 * Source   Ho et al. 2019, https://arxiv.org/abs/1912.12180
 * Example  const mask = axial([14, 14]);
 */
export const axial = (sizes: GridSizes): Mask<never> => {
  checkArguments('axial', { grid: sizes });
  checkSizes('axial', sizes);
  return localOnGrid(sizes, { distance: 2, p: 0 });
};

/**
 * Windows of an image, in which all points attend to each other, shifted by so many rows and columns.
 *
 * Throws   ShapeError for a window that does not divide height and width, and a shift of a window or more
 * Source   Liu et al. 2021, https://arxiv.org/abs/2103.14030
 * Example  const mask = swinWindows([8, 8], { window: 4, shift: 2 });
 */
export function swinWindows(
  sizes: readonly [height: number, width: number],
  options: { readonly window: number; readonly shift?: number },
): Mask<never> {
  checkArguments('swinWindows', { grid: sizes, options });
  const { window, shift = 0 } = options;
  checkSizes('swinWindows', sizes);
  checkSizes('swinWindows.window', [window]);
  if (sizes.some((size) => size % window))
    throw fault(
      'swinWindows.window',
      'the window does not divide height and width',
      `a divisor of ${sizes.join(' and ')}`,
      window,
    );
  if (!Number.isSafeInteger(shift) || shift < 0 || shift >= window)
    throw fault('swinWindows.shift', 'not a shift within the window', `an integer from 0 to ${window - 1}`, shift);
  const offset = (window - shift) % window;
  return sameCell(sizes, (x) => x.add(offset).floorDiv(window));
}

/**
 * Points of an image whose rows and columns are both at distances that are multiples of `step`.
 *
 * Throws   ShapeError for sizes or a step below 1
 * Source   Hassani and Shi 2022, https://arxiv.org/abs/2209.15001
 * Example  const mask = dilatedOnGrid([8, 8], 2);
 */
export function dilatedOnGrid(sizes: GridSizes, step: number): Mask<never> {
  checkArguments('dilatedOnGrid', { grid: sizes });
  checkSizes('dilatedOnGrid', sizes);
  checkSizes('dilatedOnGrid.step', [step]);
  return sameCell(sizes, (x) => x.mod(step));
}

const sameCell = (sizes: GridSizes, cell: (x: Term) => Term): Mask<never> =>
  maskMod((_b, _h, q, k) =>
    coordinatesOf(sizes, q, k)
      .map(([a, b]) => cell(a).eq(cell(b)))
      .reduce<Condition>((a, b) => a.and(b), q.ge(0)),
  );

/** The coordinates of two positions, axis by axis. */
function coordinatesOf(sizes: GridSizes, q: Term, k: Term): readonly (readonly [Term, Term])[] {
  return sizes.map((size, axis) => {
    const inner = sizes.slice(axis + 1).reduce((a, b) => a * b, 1);
    const along = (x: Term): Term => {
      const row = inner === 1 ? x : x.floorDiv(inner);
      return axis === 0 ? row : row.mod(size);
    };
    return [along(q), along(k)] as const;
  });
}

function pointsOf(sizes: GridSizes): readonly (readonly number[])[] {
  return sizes.reduce<readonly (readonly number[])[]>(
    (points, size) => points.flatMap((point) => Array.from({ length: size }, (_, i) => [...point, i])),
    [[]],
  );
}

function checkSizes(path: string, sizes: readonly number[]): void {
  const wrong = sizes.find((size) => !Number.isSafeInteger(size) || size < 1);
  if (wrong !== undefined || !sizes.length) throw fault(path, 'not a size', 'integers of at least 1', wrong ?? 'none');
}

/** The error for a wrong argument of a pattern. */
export const fault = (path: string, problem: string, expected: string, got: unknown): ShapeError =>
  new ShapeError({ path, problem, expected, got: String(got) });
