// Checks one feed against its port, with errors that say what is wrong.
import type { Port, Signature } from '../compile/compile';
import { describe, FeedError, nearest } from '../error';
import { printType } from '../ir/define-op';
import { arrayOf, bytesOf, countOf, type DType, type Tensor, type TensorData } from '../tensor/tensor';
import type { OrtTensor } from './ort';

/** Feeds that were checked, by the index of their input in the signature. */
export interface CheckedFeeds {
  /** Undefined without a feed. The arrays of tensors in other memory are empty. */
  readonly tensors: (Tensor | undefined)[];
  /** The feeds that are tensors of the runtime. */
  readonly handed: readonly (OrtTensor | undefined)[];
  /** The value of each size name. */
  readonly sizes: Map<string, number>;
}

/** The path of an error about a feed. */
export const pathOf = (name: string): string => `feed "${name}"`;

const holds = (dtype: DType, data: TensorData): boolean =>
  data instanceof arrayOf(dtype) || (dtype === 'float16' && (data as object)?.constructor?.name === 'Float16Array');

/** Throws FeedError for a value that is not a tensor of the port. The elements of a tensor that is `away`, in other memory, are not checked. */
export function checkFeed(port: Port, feed: Tensor, away: boolean): void {
  const path = pathOf(port.name);
  if (
    typeof feed !== 'object' ||
    feed === null ||
    !('dtype' in feed) ||
    !Array.isArray(feed.dims) ||
    !ArrayBuffer.isView(feed.data)
  )
    throw new FeedError({
      path,
      problem: 'not a tensor',
      expected: `a tensor ${printType(port)}`,
      got: describe(feed),
      hint: 'Make one with tensor(dtype, dims, values)',
    });
  const { dtype, dims, data } = feed;
  if (dtype !== port.dtype) {
    const hint = `castTensor(feed, '${port.dtype}') converts it`;
    throw new FeedError({
      path,
      problem: 'wrong dtype',
      expected: printType(port),
      got: printType(feed),
      hint,
    });
  }
  if (!holds(dtype, data))
    throw new FeedError({
      path,
      problem: 'the elements are in the wrong type of array',
      expected: `${dtype} in a ${arrayOf(dtype).name}`,
      got: describe(data),
      hint: `tensor('${dtype}', dims, values) makes the right one`,
    });
  if (dims.length !== port.dims.length)
    throw new FeedError({ path, problem: 'wrong number of dims', expected: printType(port), got: printType(feed) });
  const wrong = dims.find((d: unknown) => !Number.isSafeInteger(d) || (d as number) < 0);
  if (wrong !== undefined)
    throw new FeedError({
      path,
      problem: 'a dim is not a size',
      expected: 'integers from 0',
      got: `[${dims.map((d: unknown) => describe(d)).join(', ')}]`,
    });
  if (!away && data.byteLength !== bytesOf(dtype, countOf(dims)))
    throw new FeedError({
      path,
      problem: 'the number of elements does not match the dims',
      expected: `${countOf(dims)} for [${dims.join(', ')}]`,
      got: String(data.length),
    });
}

/** The error for a feed without a port. */
export function unknownFeed(name: string, { inputs, outputs }: Signature): FeedError {
  const names = inputs.map((p) => p.name);
  const near = nearest(name, names);
  const output = outputs.some((p) => p.name === name);
  const hint = near ? `Did you mean "${near}"? ` : output ? 'It is an output. ' : '';
  return new FeedError({
    path: pathOf(name),
    problem: 'the model has no input of this name',
    got: describe(name),
    hint: `${hint}Inputs: ${names.join(', ') || 'none'}`,
  });
}

/** The error for a port without a feed. */
export function missing(port: Port): FeedError {
  const hint = port.draw ? `Random numbers (${port.draw}); compile with draws: { seed } to have them generated` : undefined;
  return new FeedError({
    path: pathOf(port.name),
    problem: 'missing',
    expected: printType(port),
    got: 'nothing',
    ...(hint && { hint }),
  });
}
