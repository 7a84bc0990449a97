// Checks that the data of a mask fits the sizes of the attention.
import type { Dim } from '../dim/dim';
import { describe, ShapeError } from '../error';
import { printType, type TensorType } from '../ir/define-op';
import { mismatch } from '../ir/graph';
import { conjuncts, type Mask, type MaskSizes, masksIn, printMask } from './mask';

/** 1 if the axis has size 1 (it broadcasts), otherwise the size itself. */
export const oneOr = (got: Dim | undefined, size: Dim): Dim => (got === 1 ? 1 : size);

/** @throws ShapeError unless `value` is an integer of at least `min` */
export function expectCount(path: string, value: number, min: number): void {
  if (Number.isSafeInteger(value) && value >= min) return;
  throw new ShapeError({ path, problem: 'not a count', expected: `an integer of at least ${min}`, got: describe(value) });
}

/** @throws ShapeError for another dtype or other dims */
export function expectType(name: string, t: TensorType, dtype: string, dims: readonly Dim[]): void {
  if (t.dtype !== dtype) throw mismatch(`${name} has the wrong dtype`, dtype, t.dtype);
  if (t.dims.length !== dims.length || t.dims.some((d, i) => d !== dims[i]))
    throw mismatch(`${name} has the wrong dims`, `[${dims.join(', ')}]`, printType(t));
}

/** @throws ShapeError if the data of a mask does not fit the attention, or two masks define positions */
export function checkMask(mask: Mask<TensorType>, sizes: Omit<MaskSizes, 'sequences' | 'packed'>): void {
  const all = masksIn(mask);
  const placing = all.filter((m) => m.class.definition.placing);
  const [first] = placing;
  if (first && (placing.length > 1 || !conjuncts(mask).includes(first)))
    throw mismatch(
      `a ${first.class.name} mask must be used alone, or once among masks joined by and`,
      `and(${first.class.name}, …)`,
      printMask(mask),
    );
  const sequences = first?.class.definition.placing?.sequences(first) ?? sizes.batch;
  for (const m of all) m.class.definition.check?.(m, { ...sizes, sequences, packed: first !== undefined });
}
