// Which values of a size a kernel supports.
import type { Dim } from '../dim/dim';

/** The values of a size that a kernel supports. */
export interface SizeLimit {
  /** Only multiples of this. */
  readonly multipleOf?: number;
  /** Only powers of two. */
  readonly powerOfTwo?: true;
  readonly min?: number;
  readonly max?: number;
}

/** True for a size that the limit allows. A size that is not known satisfies no condition. */
export function holds({ multipleOf = 1, powerOfTwo, min = 0, max = Number.POSITIVE_INFINITY }: SizeLimit, size: Dim): boolean {
  if (typeof size !== 'number') return false;
  return size % multipleOf === 0 && (!powerOfTwo || Number.isInteger(Math.log2(size))) && size >= min && size <= max;
}

/** A limit as text: `a multiple of 8, at most 256`. */
export function printLimit({ multipleOf, powerOfTwo, min, max }: SizeLimit): string {
  return [
    ...(multipleOf ? [`a multiple of ${multipleOf}`] : []),
    ...(powerOfTwo ? ['a power of two'] : []),
    ...(min ? [`at least ${min}`] : []),
    ...(max ? [`at most ${max}`] : []),
  ].join(', ');
}

/** Sizes that both allow. */
export function bothSizes(a: SizeLimit, b: SizeLimit): SizeLimit {
  const [of, other] = [a.multipleOf ?? 1, b.multipleOf ?? 1];
  const [multipleOf, min, max] = [
    (of * other) / greatestDivisor(of, other),
    Math.max(a.min ?? 0, b.min ?? 0),
    Math.min(a.max ?? Number.POSITIVE_INFINITY, b.max ?? Number.POSITIVE_INFINITY),
  ];
  return {
    ...(multipleOf > 1 && { multipleOf }),
    ...((a.powerOfTwo || b.powerOfTwo) && { powerOfTwo: true }),
    ...(min > 0 && { min }),
    ...(max < Number.POSITIVE_INFINITY && { max }),
  };
}
const greatestDivisor = (a: number, b: number): number => (b === 0 ? a : greatestDivisor(b, a % b));
