// Sequences of different lengths as one packed batch, and back.
import { checkArguments, type DType, describe, FeedError, type Tensor, tensor } from '@onnxformers/core';
import { concatenated } from '../concatenated';

const countOf = (dims: readonly number[]): number => dims.reduce((a, b) => a * b, 1);

/** A sequence: numbers, or rows [length, …] of a tensor. */
export type Sequence = ArrayLike<number> | Tensor;

/** Sequences one after another, and where they are. */
export interface Packed {
  /** [tokens, …] */
  readonly tokens: Tensor;
  /** int64 [sequences] */
  readonly lengths: Tensor;
  /** int64 [sequences + 1]: sequence i is tokens offsets[i] to offsets[i + 1] − 1 (`cu_seqlens`). */
  readonly offsets: Tensor;
  /** int64 [tokens]: from 0 in each sequence. */
  readonly positions: Tensor;
  /** The length of the longest sequence. */
  readonly longest: number;
}

const isTensor = (x: Sequence): x is Tensor => 'dims' in x;

/** The number of positions of a sequence. */
export const lengthOf = (x: Sequence): number => (isTensor(x) ? (x.dims[0] ?? 0) : x.length);

/**
 * Packs sequences one after another, without padding.
 *
 * Shapes   lists of numbers of lengths l₀, l₁, … → [l₀ + l₁ + …]; tensors [lᵢ, …] → [l₀ + l₁ + …, …]
 * Dtypes   numbers become `dtype`, default int64; tensors keep theirs
 * Throws   FeedError when sequences differ in dtype or in their other dims, or tensors and numbers are mixed
 * Example  const { tokens, lengths } = pack([[5, 1, 4], [2]]);
 */
export function pack(sequences: readonly Sequence[], dtype: DType = 'int64'): Packed {
  checkArguments('pack', { sequences, 'dtype?': dtype });
  const lengths = sequences.map(lengthOf);
  const offsets = [0];
  for (const n of lengths) offsets.push(offsets.at(-1)! + n);
  return {
    tokens: joined(sequences, dtype),
    lengths: tensor('int64', [lengths.length], lengths),
    offsets: tensor('int64', [offsets.length], offsets),
    positions: tensor(
      'int64',
      [offsets.at(-1)!],
      lengths.flatMap((n) => Array.from({ length: n }, (_, i) => i)),
    ),
    longest: lengths.reduce((a, b) => Math.max(a, b), 0),
  };
}

/**
 * The rows of each sequence of a packed batch.
 *
 * Shapes   packed [l₀ + l₁ + …, …] → [l₀, …], [l₁, …], …; the results share the memory of the batch
 * Throws   FeedError when the lengths do not add up to the rows
 * Example  const perSequence = unpack(tensor('float32', [4, 1], [1, 2, 3, 4]), [3, 1]);
 */
export function unpack(packed: Tensor, lengths: readonly number[]): readonly Tensor[] {
  checkArguments('unpack', { tensor: packed, lengths });
  const total = lengths.reduce((a, b) => a + b, 0);
  if (packed.dims[0] !== total)
    throw new FeedError({
      path: 'unpack',
      problem: 'the lengths do not add up to the number of rows',
      expected: String(packed.dims[0] ?? 'a batch with rows'),
      got: String(total),
    });
  let at = 0;
  return lengths.map((n) => {
    at += n;
    return rowsOf(packed, at - n, at);
  });
}

/** Rows `from` to `to` − 1, which share the tensor's memory. */
function rowsOf({ dtype, dims, data }: Tensor, from: number, to: number): Tensor {
  const width = countOf(dims.slice(1));
  return { dtype, dims: [to - from, ...dims.slice(1)], data: data.subarray(from * width, to * width) };
}

/** Packed rows as [sequences, width, …], with zeros as padding. */
export function inRectangle(packed: Tensor, lengths: readonly number[], width: number): Tensor {
  const inner = packed.dims.slice(1);
  const row = countOf(inner);
  const data = new (packed.data.constructor as new (length: number) => Tensor['data'])(lengths.length * width * row);
  unpack(packed, lengths).forEach((part, i) => {
    data.set(part.data as never, i * width * row);
  });
  return { dtype: packed.dtype, dims: [lengths.length, width, ...inner], data };
}

/** Sequences as the rows of one tensor. */
function joined(sequences: readonly Sequence[], dtype: DType): Tensor {
  const tensors = sequences.filter(isTensor);
  if (tensors.length === 0) return tensor(dtype, [sequences.reduce((n, x) => n + lengthOf(x), 0)], flat(sequences));
  const [first] = tensors as [Tensor];
  const odd = sequences.findIndex(
    (x) => !isTensor(x) || x.dtype !== first.dtype || `${x.dims.slice(1)}` !== `${first.dims.slice(1)}`,
  );
  if (odd >= 0)
    throw new FeedError({
      path: `sequences[${odd}]`,
      problem: 'sequences of one batch differ in dtype or dims',
      expected: `${first.dtype}[length${first.dims
        .slice(1)
        .map((d) => `, ${d}`)
        .join('')}]`,
      got: isTensor(sequences[odd]!) ? `${sequences[odd].dtype}[${sequences[odd].dims}]` : describe(sequences[odd]),
    });
  const rows = tensors.reduce((n, { dims }) => n + dims[0]!, 0);
  return { dtype: first.dtype, dims: [rows, ...first.dims.slice(1)], data: concatenated(tensors) };
}

function flat(sequences: readonly Sequence[]): readonly number[] {
  const all: number[] = [];
  for (const x of sequences as readonly ArrayLike<number>[]) for (let i = 0; i < x.length; i++) all.push(x[i]!);
  return all;
}
