// What a graph requires of its feeds beside dtypes and sizes: the runner and the interpreter refuse others before anything is computed.
import type { Dim } from '../dim/dim';
import type { Value } from './types';
import { nameOf } from './walk';

/**
 * One requirement, as data that a saved model keeps: the numbers of an input, or a size, lie within bounds, both inclusive. Bounds are sizes,
 * so they may depend on the run: lengths are from 0 to `seq`.
 */
export interface Limit {
  /** The input whose numbers are looked at. */
  readonly input?: string;
  /** Which numbers: every element (default), how many of each row are not 0, or the sum of all. A row is what stands along the last axis. */
  readonly of?: 'elements' | 'counts' | 'sum';
  /** The size that is looked at, where no input is named. */
  readonly size?: Dim;
  readonly min?: Dim;
  readonly max?: Dim;
  /** In words, for the error: `an index outside of the table`. */
  readonly problem: string;
  /** Where the bound comes from: `embed has 101 rows`. */
  readonly why?: string;
  /** What to do about it. */
  readonly hint?: string;
}

/**
 * The largest number in a value, in terms of what the runner sees: that of an input (or the largest count of its rows), plus a size.
 * Where no input is named, the size alone.
 */
export interface Largest {
  readonly input?: string;
  readonly of?: 'elements' | 'counts';
  readonly plus: Dim;
}

const known = new WeakMap<Value, Largest>();

/** Says what the largest number of a computed value is: positions, which are counted from inputs and sizes. */
export function setLargest<V extends Value>(value: V, largest: Largest): V {
  known.set(value, largest);
  return value;
}

// Ops whose results are elements of their first operand, all of them or some.
const moves = /^(Cast|Identity|Unsqueeze|Squeeze|Transpose|onnxformers\.(Reshape|Expand|Slice|Refine))$/;

/** What is known of the largest number in a value; undefined for what is computed inside the graph in a way that nobody told. */
export function largestOf(value: Value): Largest | undefined {
  for (let v: Value | undefined = value; v; v = v.producer?.operands[0]) {
    const told = known.get(v);
    if (told) return told;
    if (v.leaf) return v.leaf.kind === 'input' ? { input: nameOf(v)!, plus: 0 } : undefined;
    if (!v.producer || !moves.test(v.producer.op.key)) return undefined;
  }
  return undefined;
}

/** The input that a value is, whether or not it was cast. */
export function inputNameOf(value: Value): string | undefined {
  let v: Value | undefined = value;
  while (v?.producer?.op.key === 'Cast') v = v.producer.operands[0];
  return v?.leaf?.kind === 'input' ? v.leaf.name : undefined;
}
