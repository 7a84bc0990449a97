// Packed sequences in numbers: their lengths, where each begins, and tensors joined and split along them.
import { ConfigError, describe, ShapeError, type Tensor, tensor } from '@onnxformers/core';
import { concatenated } from '../concatenated';

/** Lengths that are counts. Throws ConfigError for others. */
export function counts(path: string, given: readonly number[]): readonly number[] {
  const wrong = Array.isArray(given) ? given.find((n) => !Number.isSafeInteger(n) || n < 0) : given;
  if (wrong !== undefined)
    throw new ConfigError({ path, problem: 'not a list of counts', expected: 'integers of at least 0', got: describe(wrong) });
  return [...given];
}

/** Throws ConfigError unless there is one entry for each sequence. */
export function expectAsMany(path: string, given: readonly unknown[], sequences: number): void {
  if (given.length === sequences) return;
  throw new ConfigError({
    path,
    problem: 'not one entry for each sequence',
    expected: `${sequences} entries`,
    got: `${given.length}`,
  });
}

/** A window of at least one position. Throws ConfigError for another. */
export function windowSize(path: string, given: number): number {
  if (Number.isSafeInteger(given) && given > 0) return given;
  throw new ConfigError({ path, problem: 'not a window', expected: 'an integer of at least 1', got: describe(given) });
}

/** A bound of a window. Throws ConfigError for a number that is not a count. */
export function windowBound(path: string, given: number): number {
  if (Number.isSafeInteger(given) && given >= 0) return given;
  throw new ConfigError({ path, problem: 'not a bound of a window', expected: 'an integer of at least 0', got: describe(given) });
}

/** Integers as int64 [n]. */
export const counted = (numbers: readonly number[]): Tensor => tensor('int64', [numbers.length], numbers);

/** Sequences one after another along one axis. */
export interface Sequences {
  /** The number of tokens of each sequence. */
  readonly lengths: readonly number[];
  /** Row of the first token of each sequence, and the number of rows. */
  readonly starts: readonly number[];
  /** `starts` as int64 [sequences + 1]. */
  readonly offsets: Tensor;
  /** `lengths` as int64 [sequences]. */
  readonly counted: Tensor;
  /** Rows may follow the tokens of a sequence that belong to no sequence. */
  readonly gaps: boolean;
}

/** Sequences without gaps. */
export function packed(path: string, given: readonly number[]): Sequences {
  const lengths = counts(path, given);
  const starts = [0];
  for (const n of lengths) starts.push(starts.at(-1)! + n);
  return { lengths, starts, offsets: counted(starts), counted: counted(lengths), gaps: false };
}

/** Sequences that start at the given rows; the last start is the number of rows. */
export function withGaps(path: string, startsOf: readonly number[], lengthsOf: readonly number[]): Sequences {
  const [starts, lengths] = [counts(`${path}.starts`, startsOf), counts(`${path}.lengths`, lengthsOf)];
  expectAsMany(`${path}.starts`, starts, lengths.length + 1);
  const wrong = lengths.findIndex((n, i) => starts[i]! + n > starts[i + 1]!);
  if (wrong >= 0)
    throw new ConfigError({
      path: `${path}.lengths[${wrong}]`,
      problem: 'the sequence does not end before the next one starts',
      expected: `at most ${Math.max(0, starts[wrong + 1]! - starts[wrong]!)}`,
      got: String(lengths[wrong]),
      hint: 'Order the sequences by their starts; sequences that share keys need pages',
    });
  return { lengths, starts, offsets: counted(starts), counted: counted(lengths), gaps: true };
}

/** Sequences that all have the same space. */
export function withPadding(path: string, space: number, lengthsOf: readonly number[]): Sequences {
  if (!Number.isSafeInteger(space) || space < 0)
    throw new ConfigError({ path: `${path}.padding`, problem: 'not a count', expected: 'an integer', got: describe(space) });
  const lengths = counts(`${path}.lengths`, lengthsOf);
  const tooLong = lengths.findIndex((n) => n > space);
  if (tooLong >= 0)
    throw new ConfigError({
      path: `${path}.lengths[${tooLong}]`,
      problem: 'longer than the space of a sequence',
      expected: `at most ${space}`,
      got: String(lengths[tooLong]),
    });
  return withGaps(
    path,
    Array.from({ length: lengths.length + 1 }, (_, i) => i * space),
    lengths,
  );
}

// ---- Tensors ---------------------------------------------------------------------------------------------------------

/** Tensors [batch, seq, …] as one [1, tokens, …], and the length of each sequence. Throws ShapeError if the other axes or the dtypes differ. */
export function join(path: string, tensors: readonly Tensor[]): { readonly joined: Tensor; readonly lengths: readonly number[] } {
  const [first] = tensors;
  if (!first) throw new ShapeError({ path, problem: 'no tensors', expected: 'a list of at least one tensor' });
  const more = first.dims.slice(2);
  for (const [i, { dtype, dims }] of tensors.entries()) {
    if (dims.length >= 2 && dtype === first.dtype && String(dims.slice(2)) === String(more)) continue;
    const expected = `${first.dtype} [batch, seq${more.map((d) => `, ${d}`).join('')}]`;
    throw new ShapeError({
      path: `${path}[${i}]`,
      problem: 'the tensors differ',
      expected,
      got: `${dtype} [${dims.join(', ')}]`,
    });
  }
  const lengths = tensors.flatMap(({ dims: [batch, seq] }) => new Array<number>(batch!).fill(seq!));
  const tokens = lengths.reduce((a, b) => a + b, 0);
  return { joined: { dtype: first.dtype, dims: [1, tokens, ...more], data: concatenated(tensors) }, lengths };
}

/**
 * [1, tokens, …] as one tensor [batch, seq, …] for each of `batches`, whose sequences have one length. The elements are copied.
 *
 * Throws   ShapeError for another number of tokens, or a batch of sequences of different lengths
 */
export function split(path: string, t: Tensor, { lengths, starts }: Sequences, batches: readonly number[]): readonly Tensor[] {
  const rows = starts.at(-1)!;
  if (t.dims.length < 2 || t.dims[0] !== 1 || t.dims[1] !== rows)
    throw new ShapeError({
      path,
      problem: 'the tensor does not have the tokens of the sequences',
      expected: `[1, ${rows}, …]`,
      got: `[${t.dims.join(', ')}]`,
    });
  const more = t.dims.slice(2);
  const width = more.reduce((a, b) => a * b, 1);
  let sequence = 0;
  return batches.map((batch) => {
    const own = lengths.slice(sequence, sequence + batch);
    if (own.some((n) => n !== own[0]))
      throw new ShapeError({
        path,
        problem: 'the sequences of one batch differ in length',
        expected: `${own[0]}`,
        got: own.join(),
      });
    const [from, to] = [starts[sequence]!, starts[sequence + batch]!];
    sequence += batch;
    return { dtype: t.dtype, dims: [batch, own[0] ?? 0, ...more], data: t.data.slice(from * width, to * width) };
  });
}
