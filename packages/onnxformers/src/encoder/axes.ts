// The inputs of a model for lists of sequences: which of them are about the same positions, and their rows in a batch.
import { type CompileOptions, ConfigError, FeedError, sequenceAxes, type Tensor, tensor } from '@onnxformers/core';
import { inRectangle, lengthOf, pack, type Sequence } from './pack';

type Inputs = CompileOptions['inputs'];

/** The inputs of one sequence: numbers or rows [length, …] by name, or those of the only input. */
export type EncoderSequence = Sequence | Readonly<Record<string, Sequence>>;

/** Inputs about the same positions: those of an encoder, of its decoder, of a memory. */
export interface Axis {
  /** The size of their axis of positions in a padded batch. */
  readonly size: string;
  /** The size of their rows in a packed batch. */
  readonly packed: string;
  /** The input of their lengths. */
  readonly lengths: string;
  /** The names of the inputs. */
  readonly names: readonly string[];
}

/**
 * The axes of positions of a model's inputs, in the order of the inputs.
 *
 * Throws   ConfigError for an input without such an axis
 */
export function axesOf(inputs: Inputs): readonly Axis[] {
  const names = new Map<string, string[]>();
  for (const [name, [, dims]] of Object.entries(inputs)) {
    const [batch, size] = dims;
    if (batch !== 'batch' || typeof size !== 'string' || !Object.hasOwn(sequenceAxes, size))
      throw new ConfigError({
        path: `inputs.${name}`,
        problem: 'the input has no axis of positions',
        expected: Object.keys(sequenceAxes)
          .map((axis) => `[batch, ${axis}, …]`)
          .join(' or '),
        got: `[${dims.join(', ')}]`,
        hint: 'compile and createRunner run models with other inputs',
      });
    names.set(size, [...(names.get(size) ?? []), name]);
  }
  return [...names].map(([size, ofAxis]) => ({ size, ...sequenceAxes[size]!, names: ofAxis }));
}

/** The inputs of a model for packed batches. */
export const packedInputs = (inputs: Inputs, axes: readonly Axis[]): Inputs => ({
  ...Object.fromEntries(
    axes.flatMap(({ packed, names }) =>
      names.map((name) => {
        const [dtype, [, , ...inner], ...role] = inputs[name]!;
        return [name, [dtype, [packed, ...inner], ...role] as never];
      }),
    ),
  ),
  ...lengthInputs(axes),
});

/** The inputs of the lengths. */
export const lengthInputs = (axes: readonly Axis[]): Inputs =>
  Object.fromEntries(axes.map(({ lengths }) => [lengths, ['int64', ['batch']]]));

/** The inputs of a sequence by name; refuses others than those of the model. */
export function byName(sequence: EncoderSequence, axes: readonly Axis[], i: number): Readonly<Record<string, Sequence>> {
  const names = axes.flatMap((axis) => axis.names);
  const single = 'length' in sequence || 'dims' in sequence;
  const named = (single ? { [names[0]!]: sequence } : sequence) as Readonly<Record<string, Sequence>>;
  const given = Object.keys(named);
  if (given.length !== names.length || names.some((name) => !given.includes(name)))
    throw new FeedError({
      path: `sequences[${i}]`,
      problem: 'the inputs are not those of the model',
      expected: names.join(', '),
      got: single ? 'one list' : given.join(', '),
    });
  return named;
}

/** The length of a sequence along an axis, which its inputs must agree on. */
export function lengthAlong({ names }: Axis, sequence: Readonly<Record<string, Sequence>>, i: number): number {
  const lengths = [...new Set(names.map((name) => lengthOf(sequence[name]!)))];
  if (lengths.length === 1 && lengths[0]! > 0) return lengths[0]!;
  throw new FeedError({
    path: `sequences[${i}]`,
    problem: lengths.length === 1 ? 'the sequence is empty' : 'the inputs of a sequence differ in length',
    expected: lengths.length === 1 ? 'at least one position' : `the same number of positions in ${names.join(', ')}`,
    got: lengths.length === 1 ? `no positions in ${names.join(', ')}` : lengths.join(', '),
  });
}

/** The sequences of a batch along an axis. */
export interface AxisBatch {
  readonly axis: Axis;
  readonly lengths: readonly number[];
  /** Positions of each sequence with its padding; absent in a packed batch. */
  readonly width?: number;
}

/** The feeds of a batch of sequences; without lengths where they are all as long as the padded axis. */
export function feedsOf(
  sequences: readonly Readonly<Record<string, Sequence>>[],
  inputs: Inputs,
  batch: readonly AxisBatch[],
  withLengths: boolean,
): Readonly<Record<string, Tensor>> {
  const feeds: Record<string, Tensor> = {};
  for (const { axis, lengths, width } of batch) {
    for (const name of axis.names) {
      const { tokens } = pack(
        sequences.map((sequence) => sequence[name]!),
        inputs[name]![0],
      );
      feeds[name] = width === undefined ? tokens : inRectangle(tokens, lengths, width);
    }
    if (withLengths) feeds[axis.lengths] = tensor('int64', [lengths.length], lengths);
  }
  return feeds;
}
