// One call of an op on tensors: its inputs, and what its graph depends on besides.
import { ConfigError, type Dim, describe, type OrtTensor, ShapeError, type Tensor, type Value } from '@onnxformers/core';

/** A tensor, or one of the runtime, which is not copied. */
export type TensorOperand = Tensor | OrtTensor;

/** One call of an op. */
export interface OpCall {
  readonly op: string;
  readonly inputs: Readonly<Record<string, { readonly feed: TensorOperand; readonly dims: readonly Dim[] }>>;
  /** What else the graph depends on. */
  readonly options: Readonly<Record<string, unknown>>;
  /** The results; those in floats are returned in the dtype of the operands. */
  readonly forward: (inputs: Readonly<Record<string, Value>>) => Readonly<Record<string, Value>>;
}

/** The dtype of an operand. */
export const typeOf = (x: TensorOperand): string => ('dtype' in x ? x.dtype : x.type);

/** Throws ConfigError for a value that is not a tensor. */
export function expectTensor(op: string, name: string, x: unknown): asserts x is TensorOperand {
  if (typeof x === 'object' && x !== null && 'dims' in x && ('dtype' in x || 'type' in x)) return;
  throw new ConfigError({ path: `${op}.${name}`, problem: 'not a tensor', expected: 'a tensor', got: describe(x) });
}

/** Throws ConfigError for a value that is not a finite number. */
export function expectNumber(path: string, x: number): void {
  if (!Number.isFinite(x))
    throw new ConfigError({ path, problem: 'not a number', expected: 'a finite number', got: describe(x) });
}

/** The common dtype of the float operands. Throws ShapeError if they differ, or for another than float32 and float16. */
export function dtypeIn(op: string, inputs: OpCall['inputs']): 'float32' | 'float16' {
  const floats = Object.entries(inputs).filter(([, { feed }]) => typeOf(feed).startsWith('float') || typeOf(feed) === 'bfloat16');
  const [, first] = floats[0] ?? [];
  const dtype = first && typeOf(first.feed);
  const other = floats.find(([, { feed }]) => typeOf(feed) !== dtype);
  if (other || (dtype !== 'float32' && dtype !== 'float16'))
    throw new ShapeError({
      path: `${op}.${(other ?? floats[0])?.[0] ?? 'x'}`,
      problem: other ? 'the operands differ in dtype' : 'the dtype is not supported',
      expected: other ? dtype! : 'float32 or float16',
      got: other ? typeOf(other[1].feed) : (dtype ?? 'no floats'),
    });
  return dtype;
}
