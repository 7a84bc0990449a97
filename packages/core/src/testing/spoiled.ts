// Feeds whose padded positions contain no numbers.
import type { BlockInputs } from '../module/kinds';
import { isFloat, type NDArray } from '../tensor/tensor';
import type { Feeds } from './example';

const notFinite = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];

/** Which positions of a sequence are real. */
type IsReal = (sequence: number, position: number) => boolean;

/**
 * The same feeds with NaN and infinities in the floats of padded positions, by their lengths, attention_mask [batch, seq] and memory_lengths: nobody has to fill
 * them with numbers.
 *
 * @param inputs the inputs that have positions, on the axes called `seq` and `memory_seq`
 */
export function spoiled(inputs: BlockInputs, feeds: Feeds): Feeds {
  const axes: readonly (readonly [string, IsReal | undefined])[] = [
    ['seq', both(byLengths(feeds.lengths), byMask(feeds.attention_mask))],
    ['memory_seq', byLengths(feeds.memory_lengths)],
  ];
  const changed = { ...feeds };
  for (const [name, { dims, dtype }] of Object.entries(inputs)) {
    // Beside keys and values that are inputs, padding is that of the keys: the result of a query is that of what it contains.
    if (name === 'q' && inputs.k) continue;
    for (const [axisName, isReal] of axes) {
      const axis = dims.indexOf(axisName);
      if (isReal && isFloat(dtype) && axis > 0 && dims[0] === 'batch') changed[name] = spoiledAt(feeds[name]!, axis, isReal);
    }
  }
  return changed;
}

function spoiledAt(x: NDArray, axis: number, isReal: IsReal): NDArray {
  const inner = x.dims.slice(axis + 1).reduce((a, b) => a * b, 1);
  const rows = x.dims[axis]!;
  const perSequence = x.data.length / x.dims[0]!;
  const data = x.data.map((number, i) =>
    isReal(Math.floor(i / perSequence), Math.floor(i / inner) % rows) ? number : notFinite[i % notFinite.length]!,
  );
  return { ...x, data };
}

const byLengths = (lengths: NDArray | undefined): IsReal | undefined => lengths && ((b, i) => i < lengths.data[b]!);
const byMask = (mask: NDArray | undefined): IsReal | undefined =>
  mask?.dims.length === 2 ? (b, i) => mask.data[b * mask.dims[1]! + i] !== 0 : undefined;
const both = (a: IsReal | undefined, b: IsReal | undefined): IsReal | undefined =>
  a && b ? (sequence, position) => a(sequence, position) && b(sequence, position) : (a ?? b);
