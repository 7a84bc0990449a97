// The results of a batch, sequence by sequence.
import { ConfigError, type Dim, evaluateDim, type Model, namesOfDim, type Tensor, type TensorData } from '@onnxformers/core';
import type { AxisBatch } from './axes';

/** What a result has of each sequence. */
export type PerSequence = (result: Tensor, batch: readonly AxisBatch[]) => readonly Tensor[];

/**
 * How each output of a model belongs to the sequences of a batch. The axis of the batch disappears, an axis of positions keeps those of the sequence.
 *
 * Throws   ConfigError for an output that does not belong to sequences
 */
export function perSequence({ signature }: Model, axes: readonly AxisBatch['axis'][]): Readonly<Record<string, PerSequence>> {
  return Object.fromEntries(
    signature.outputs.map(({ name, dims }) => {
      const known = new Set(['batch', ...axes.flatMap(({ size, packed }) => [size, packed])]);
      const parts = partsOf(dims, new Set(axes.map(({ packed }) => packed)));
      if (!parts || dims.some((d) => namesOfDim(d).some((size) => !known.has(size))))
        throw new ConfigError({
          path: `outputs.${name}`,
          problem: 'the output belongs neither to positions nor to sequences',
          expected: '[batch, …] or [batch, seq, …]',
          got: `[${dims.join(', ')}]`,
        });
      return [name, (x, batch) => separated(x, parts, batch)] as const;
    }),
  );
}

/** An axis: which sequence (batch), the positions of one after another (packed), those of one (padded), or neither. */
type Part = { readonly kind: 'batch' | 'packed' | 'own'; readonly dim: Dim };

// Undefined if no axis belongs to sequences. Heads of packed tokens are a batch of one: [1, heads, tokens, head_dim].
function partsOf(dims: readonly Dim[], packed: ReadonlySet<string>): readonly Part[] | undefined {
  const inRows = dims.map((d) => namesOfDim(d).some((name) => packed.has(name)));
  const one = dims[0] === 1 && inRows.indexOf(true) > 1;
  if (dims[0] !== 'batch' && !inRows.includes(true)) return undefined;
  return dims.map((dim, i) => ({
    kind: inRows[i] ? 'packed' : i === 0 && (dim === 'batch' || one) ? 'batch' : 'own',
    dim,
  }));
}

function separated(x: Tensor, parts: readonly Part[], batch: readonly AxisBatch[]): readonly Tensor[] {
  const starts = parts.map(() => 0);
  return batch[0]!.lengths.map((_, i) => {
    const sizes = Object.fromEntries(
      batch.flatMap(({ axis, lengths }) => [
        [axis.size, lengths[i]!],
        [axis.packed, lengths[i]!],
      ]),
    );
    const ranges = parts.map(({ kind, dim }, axis) => {
      if (kind === 'batch') return x.dims[axis] === 1 ? ([0, 1] as const) : ([i, i + 1] as const);
      const count = evaluateDim(dim, { ...sizes, batch: 1 });
      const from = starts[axis]!;
      if (kind === 'packed') starts[axis]! += count;
      return [from, from + count] as const;
    });
    const { dtype, dims, data } = box(x, ranges);
    return { dtype, dims: dims.filter((_, axis) => parts[axis]!.kind !== 'batch'), data };
  });
}

/** The elements within a range of each axis. They share the memory of x if they are next to each other. */
function box(x: Tensor, ranges: readonly (readonly [from: number, to: number])[]): Tensor {
  const dims = ranges.map(([from, to]) => to - from);
  const count = dims.reduce((a, b) => a * b, 1);
  const whole = (axis: number): boolean => dims[axis] === x.dims[axis];
  // Elements behind this axis are complete, so what they share with it is one piece.
  let last = dims.length - 1;
  while (last > 0 && whole(last)) last--;
  const strides = x.dims.map((_, axis) => x.dims.slice(axis + 1).reduce((a, b) => a * b, 1));
  const piece = dims[last]! * strides[last]!;
  const outer = dims.slice(0, last).reduce((a, b) => a * b, 1);
  const first = ranges.reduce((sum, [from], axis) => sum + from * strides[axis]!, 0);
  if (outer === 1) return { dtype: x.dtype, dims, data: x.data.subarray(first, first + piece) };
  const data = new (x.data.constructor as new (length: number) => TensorData)(count);
  for (let n = 0; n < outer; n++) {
    let [rest, at] = [n, first];
    for (let axis = last - 1; axis >= 0; axis--) {
      at += (rest % dims[axis]!) * strides[axis]!;
      rest = Math.floor(rest / dims[axis]!);
    }
    data.set(x.data.subarray(at, at + piece) as never, n * piece);
  }
  return { dtype: x.dtype, dims, data };
}
