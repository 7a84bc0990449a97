// Expressions in float64 numbers: the reference for their values in graphs.

import type { NDArray } from '../tensor/tensor';
import { functions } from './functions';
import type { Expression, Place } from './step';

/** The place of one query and one key, and its score. */
export type Point = Readonly<Record<Place, number>>;

/** The value at one place; 0 or 1 for a condition. */
export function evaluate({ steps }: Expression, tables: readonly NDArray[], point: Point): number {
  const values: number[] = [];
  for (const step of steps) {
    if (step.op === 'number') values.push(step.value);
    else if (step.op === 'lookup')
      values.push(
        elementOf(
          tables[step.table]!,
          step.of.map((i) => values[i]!),
        ),
      );
    else if ('of' in step) values.push(functions[step.op].value(...step.of.map((i) => values[i]!)));
    else values.push(point[step.op]);
  }
  return values.at(-1)!;
}

/** The element at an index; 0 outside of the table. */
function elementOf({ dims, data }: NDArray, index: readonly number[]): number {
  let at = 0;
  for (const [axis, size] of dims.entries()) {
    const i = index[axis]!;
    if (!(i >= 0 && i < size)) return 0;
    at = at * size + i;
  }
  return data[at]!;
}
