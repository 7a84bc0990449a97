// The assumption that padded positions contain finite numbers.
import type { Port } from '../compile/compile';
import { FeedError } from '../error';
import { isPastRole } from '../ir/graph';
import { type DType, isFloat, type Tensor, type TensorData } from '../tensor/tensor';
import { type CheckedFeeds, pathOf } from './check-feed';
import { numbersOf } from './numbers';
import { isAway } from './ort';

/** True for a real position. */
type IsReal = (sequence: number, position: number, positions: number) => boolean;

/** An input with positions, some of which may be padding. */
interface Padded {
  readonly name: string;
  readonly at: number;
  readonly axis: number;
  /** Whether its positions are those of the memory, not those of the sequence. */
  readonly isOfMemory: boolean;
  /** Whether it is a cache: its positions come before those of this call. */
  readonly isPast: boolean;
}

/**
 * Prepares the check of 'finite padding': of sequences, keys, values, memories and their caches in floats, the positions that lengths or padding masks [batch, kv_seq]
 * declare as padding contain no NaN and no infinities. Real positions are not checked, and neither are tensors in other memory than that of the CPU.
 *
 * Throws   (the result) FeedError naming the input and the position
 *
 * @param isResult whether a cache was returned by an earlier run, of feeds that were checked: it is not checked again
 */
export function finitePaddingCheck(inputs: readonly Port[], isResult: (t: Tensor) => boolean): (feeds: CheckedFeeds) => void {
  const placeOf = (role: Port['role']): number => inputs.findIndex((p) => p.role === role);
  const continues = inputs.some(({ role, derived }) => isPastRole(role) || derived?.how === 'past_lengths');
  const pastLengths = inputs.findIndex(({ derived }) => derived?.how === 'past_lengths' && !derived.plus);
  const own = [placeOf('lengths'), placeOf('keyPadding'), placeOf('additiveMask')] as const;
  const ofMemory = [placeOf('memoryLengths'), placeOf('memoryKeyPadding'), -1] as const;
  const padded = inputs.flatMap((port, at) => paddedInput(port, at) ?? []);
  return (feeds) => {
    const readable = (at: number): Tensor | undefined => (isAway(feeds.handed[at]) ? undefined : feeds.tensors[at]);
    const conditions = ([lengths, keep, additive]: typeof own, keyOf: KeyOf): IsReal[] => {
      const [counts, flags, added] = [readable(lengths), readable(keep), readable(additive)];
      return [
        ...(counts ? [byLengths(numbersOf(counts))] : []),
        ...(flags ? [byMask(flags, (n) => n !== 0, continues, keyOf)] : []),
        ...(added?.dims.length === 2 ? [byMask(added, (n) => n > lowestOf(added.dtype) / 2, continues, keyOf)] : []),
      ];
    };
    const offset = readable(pastLengths);
    const offsets = offset && numbersOf(offset);
    // With a cache, the lengths of the sequence are those of this call.
    const [, ...masks] = own;
    const real = {
      own: {
        call: conditions(own, offsets ? (b, i) => offsets[b]! + i : ofLastKeys),
        past: conditions([-1, ...masks], ofFirstKeys),
      },
      memory: { call: conditions(ofMemory, ofLastKeys), past: conditions(ofMemory, ofFirstKeys) },
    };
    for (const { name, at, axis, isOfMemory, isPast } of padded) {
      const tensor = readable(at);
      const all = real[isOfMemory ? 'memory' : 'own'][isPast ? 'past' : 'call'];
      if (tensor && all.length && !(isPast && isResult(tensor))) checkPadding(name, tensor, axis, all);
    }
  };
}

function paddedInput({ name, role, dtype, dims: { length: rank } }: Port, at: number): Padded | undefined {
  const isPast = role === 'pastKeyValue' || role === 'pastMemory';
  const isOfMemory = role === 'memory' || role === 'pastMemory';
  if (!isFloat(dtype) || rank < 2 || rank > 4 || !(isPast || isOfMemory || role === 'sequence' || role === 'keyValue'))
    return undefined;
  return { name, at, axis: rank === 4 ? 2 : 1, isOfMemory, isPast };
}

const lowestOf = (dtype: DType): number => (dtype === 'float16' ? -65504 : -3.3e38);

const byLengths =
  (lengths: ArrayLike<number>): IsReal =>
  (b, i) =>
    i < lengths[b]!;

/** The key of a mask [batch, width] that a position of an input is. */
type KeyOf = (sequence: number, position: number, positions: number, width: number) => number;

/** Of an input with the last keys of a mask: the state comes before those of this call. */
const ofLastKeys: KeyOf = (_, i, positions, width) => width - positions + i;
/** Of a cache. */
const ofFirstKeys: KeyOf = (_, i) => i;

// Without a state, a mask of another width is about other keys.
function byMask(mask: Tensor, keeps: (n: number) => boolean, continues: boolean, keyOf: KeyOf): IsReal {
  const numbers = numbersOf(mask);
  const width = mask.dims[1]!;
  return (b, i, positions) => {
    const key = keyOf(b, i, positions, width);
    return key < 0 || key >= width || (!continues && width !== positions) || keeps(numbers[b * width + key]!);
  };
}

function checkPadding(name: string, { dims, dtype, data }: Tensor, axis: number, all: readonly IsReal[]): void {
  const finite = finiteIn(dtype, data);
  const inner = dims.slice(axis + 1).reduce((a, b) => a * b, 1);
  const [batch, positions] = [dims[0]!, dims[axis]!];
  const heads = axis === 2 ? dims[1]! : 1;
  for (let b = 0; b < batch; b++)
    for (let i = 0; i < positions; i++) {
      if (all.every((isReal) => isReal(b, i, positions))) continue;
      for (let h = 0; h < heads; h++) {
        const from = ((b * heads + h) * positions + i) * inner;
        if (finite(from, from + inner)) continue;
        throw new FeedError({
          path: pathOf(name),
          problem: "the model was compiled on the assumption 'finite padding'",
          expected: 'finite numbers in padded positions',
          got: `NaN or an infinity in position ${i} of sequence ${b}`,
          hint: 'Compile without the assumption',
        });
      }
    }
}

/** Whether the elements from one place to before another are finite. */
function finiteIn(dtype: DType, data: TensorData): (from: number, to: number) => boolean {
  if (dtype === 'float16') {
    const bits = data as Uint16Array;
    return (from, to) => {
      for (let i = from; i < to; i++) if ((bits[i]! & 0x7c00) === 0x7c00) return false;
      return true;
    };
  }
  const numbers = data as Float32Array;
  return (from, to) => {
    for (let i = from; i < to; i++) if (numbers[i]! - numbers[i]! !== 0) return false;
    return true;
  };
}
