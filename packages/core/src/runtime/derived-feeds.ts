// Inputs that the runner computes from others. The last result is cached while its operands are the same.
import type { Port, Signature } from '../compile/compile';
import { type Dim, evaluateDim } from '../dim/dim';
import { FeedError } from '../error';
import { derivedTensor, filledWith } from '../sequence/derive';
import type { Tensor } from '../tensor/tensor';
import { type CheckedFeeds, missing, pathOf } from './check-feed';
import { numbersOf, sameNumbers } from './numbers';
import { isAway } from './ort';

/** The last value of a derived input. */
interface Kept {
  readonly from: readonly ArrayLike<number>[];
  readonly sizes: ReadonlyMap<Dim, number>;
  readonly tensor: Tensor;
}

/**
 * Prepares the computation of a derived input.
 *
 * Throws   (the result) FeedError for an input in other memory than that of the CPU, and for an input that only the caller can provide
 */
export function prepareDerived(port: Port, { inputs }: Signature): (feeds: CheckedFeeds) => Tensor {
  const { how, from: names, plus = 0, pool } = port.derived!;
  const places = names.map((name) => inputs.findIndex((p) => p.name === name));
  // past_lengths of a growing cache is its size; a cache of fixed capacity is empty before the first call.
  if (how === 'past_lengths')
    return ({ sizes }) =>
      filledWith(
        port.dtype,
        port.dims.map((d) => evaluateDim(d, sizes)),
        evaluateDim(plus, sizes),
      );
  let last: Kept | undefined;
  return ({ tensors, handed, sizes }) => {
    const elsewhere = places.find((at) => isAway(handed[at]));
    if (elsewhere !== undefined)
      throw new FeedError({
        path: pathOf(inputs[elsewhere]!.name),
        problem: `the runner cannot read it, but derives "${port.name}" from it`,
        expected: 'a tensor in CPU memory',
        got: 'a tensor in other memory',
        hint: `Feed "${port.name}" too, or this one from the CPU`,
      });
    const from = places.map((at) => numbersOf(tensors[at]!));
    // Compared by their contents: an array may have been written to in the meantime.
    if (last?.from.every((numbers, i) => sameNumbers(numbers, from[i]!)))
      if ([...last.sizes].every(([d, size]) => evaluateDim(d, sizes) === size)) return last.tensor;
    const asked = new Map<Dim, number>();
    const sizeOf = (d: Dim): number => {
      const size = evaluateDim(d, sizes);
      asked.set(d, size);
      return size;
    };
    const tensor = derivedTensor(how, from, sizeOf, port, plus, pool);
    if (!tensor) throw missing(port);
    last = { from: from.map((numbers) => Float64Array.from(numbers)), sizes: asked, tensor };
    return tensor;
  };
}
