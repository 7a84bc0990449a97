// Checks of operands that several families of ops share.

import { printType, type TensorType } from '../ir/define-op';
import { mismatch, type Operand, type Value } from '../ir/graph';
import { castNumber, toArray } from '../tensor/convert';
import { type DType, isFloat } from '../tensor/tensor';

/** A class of dtypes. */
export type Accepts = 'float' | 'number' | 'integer' | 'bool' | 'any';

const kinds: Readonly<Record<Accepts, readonly [expected: string, test: (dtype: DType) => boolean]>> = {
  float: ['a float dtype', isFloat],
  number: ['a number dtype', (d) => d !== 'bool'],
  integer: ['an integer dtype', (d) => d !== 'bool' && !isFloat(d)],
  bool: ['bool', (d) => d === 'bool'],
  any: ['any dtype', () => true],
};

/** The operand's type; throws when it is missing or has another dtype. `what` names it in the error. */
export function accept(type: TensorType | undefined, kind: Accepts, what = 'the operand'): TensorType {
  if (!type) throw mismatch(`${what} is missing`);
  const [expected, test] = kinds[kind];
  if (!test(type.dtype)) throw mismatch(`wrong dtype for ${what}`, expected, type.dtype);
  return type;
}

/** Like `accept` for several operands of one dtype. */
export function acceptAlike(types: readonly (TensorType | undefined)[], kind: Accepts): readonly TensorType[] {
  const all = types.map((t, i) => accept(t, kind, `operand ${i}`));
  const other = all.find((t) => t.dtype !== all[0]!.dtype);
  if (other) throw mismatch('the dtypes differ; cast one', printType(all[0]), printType(other));
  return all;
}

/** Converts computed numbers to a dtype: integers lose their fraction and wrap around, as in hardware. */
export function fitting(dtype: DType): (x: number) => number {
  return isFloat(dtype) ? (x) => x : (x) => castNumber(x, 'int64', dtype);
}

/** The number that all elements of a constant are equal to, or undefined. */
export function constantOf(value: Value | undefined): number | undefined {
  if (value?.leaf?.kind !== 'constant') return undefined;
  const { data } = toArray(value.leaf.tensor);
  return data.length > 0 && data.length <= 64 && data.every((x) => x === data[0]) ? data[0] : undefined;
}

/** The number of axes of an operand. */
export const rankOf = (o: Operand): number => (typeof o === 'object' ? (o?.dims?.length ?? 0) : 0);
