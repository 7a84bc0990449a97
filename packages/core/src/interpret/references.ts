// Reference implementations that an op does not carry itself, so that a block that is imported alone does not load them.
import type { Op } from '../ir/define-op';
import { type AttendAttrs, attendParts } from '../ops/attend-parts';
import { evaluateAttend } from '../ops/attend-reference';

type Evaluate = NonNullable<Op['evaluate']>;

const references: Readonly<Record<string, Evaluate>> = {
  'onnxformers.Attend': (operands, attrs) => evaluateAttend(attendParts(operands, attrs as AttendAttrs), attrs as AttendAttrs),
};

/** What computes an op on arrays of float64: its own `evaluate`, or the reference for its key. */
export const evaluateOf = (op: Op): Evaluate | undefined =>
  op.evaluate ?? (Object.hasOwn(references, op.key) ? references[op.key] : undefined);
