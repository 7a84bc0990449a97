// Helpers for ops whose attributes are inputs in ONNX.

import { type AttributeKind, type Attrs, domainOf, type EncodedNode } from '../ir/define-op';
import type { Node, Value } from '../ir/graph';
import { tensor } from '../tensor/convert';
import type { DType, Tensor } from '../tensor/tensor';

/** The numbers of the dtypes in the format, for attributes such as the `to` of Cast. */
export const elementTypes: Readonly<Record<DType, number>> = {
  float32: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int16: 5,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  float64: 11,
  uint32: 12,
  uint64: 13,
  bfloat16: 16,
  uint4: 21,
  int4: 22,
};

/** A list of int64, as ONNX requires for axes, starts and shapes. */
export const int64s = (values: readonly number[]): Tensor => tensor('int64', [values.length], values);

/** The node with other operands, and with its attributes except those that are listed. */
export function encoded<A extends Attrs>(
  { op, attrs }: Node<A>,
  operands: readonly (Value | Tensor | undefined)[],
  leftOut: readonly (keyof A & string)[] = [],
): EncodedNode {
  const [domain, opType] = domainOf(op.key);
  const attributes: Record<string, EncodedNode['attributes'][string]> = {};
  for (const [name, kind] of Object.entries(op.attributes) as [string, AttributeKind][]) {
    if (kind === 'data' || leftOut.includes(name) || attrs[name] === undefined) continue;
    attributes[name] = { kind, value: attrs[name] };
  }
  return { opType, domain, operands, attributes };
}
