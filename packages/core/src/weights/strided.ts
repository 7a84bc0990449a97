// Reads elements through strides, without conversion; shared by transposing, slicing and splitting.
import { countOf, type TensorData } from '../tensor/tensor';

/** One axis of a view: its size and stride. */
interface Axis {
  readonly size: number;
  readonly stride: number;
}

/** One axis of a copy: its stride in the source and in the result. */
interface Step extends Axis {
  readonly target: number;
}

// Copies depend only on element widths, not on dtypes. Elements of 8 bytes are copied as two of 4, since a JavaScript number cannot represent all of them.
type Words = Uint8Array | Uint16Array | Int32Array;

/**
 * The elements of a view, row-major: neighbours on an axis are `strides[axis]` apart, the first is at `start`. A part of the array itself, not a
 * copy, if they are contiguous.
 */
export function readStrided(data: TensorData, sizes: readonly number[], strides: readonly number[], start = 0): TensorData {
  const count = countOf(sizes);
  const axes = joinedAxes(sizes, strides);
  return inOrder(axes) ? data.subarray(start, start + count) : copied(data, axes, start, emptyLike(data, count));
}

/**
 * The same in pieces, one after another, which all use the memory of `room`. A contiguous view is one piece of any
 * size, without a copy.
 */
export function* readStridedPieces(
  data: TensorData,
  sizes: readonly number[],
  strides: readonly number[],
  start: number,
  room: Uint8Array,
): Generator<TensorData> {
  const all = joinedAxes(sizes, strides);
  if (inOrder(all)) return yield readStrided(data, sizes, strides, start);
  const piece = emptyLike(data, Math.floor(room.byteLength / data.BYTES_PER_ELEMENT), room);
  function* pieces(axes: readonly Axis[], from: number): Generator<TensorData> {
    const [first, ...rest] = axes as readonly [Axis, ...Axis[]];
    const fitting = Math.floor(piece.length / countOf(rest.map(({ size }) => size)));
    const step = fitting < side ? fitting : fitting - (fitting % side); // complete cache lines of the source
    if (step === 0) for (let k = 0; k < first.size; k++) yield* pieces(rest, from + k * first.stride);
    else
      for (let k = 0; k < first.size; k += step)
        yield copied(data, [{ ...first, size: Math.min(step, first.size - k) }, ...rest], from + k * first.stride, piece);
  }
  yield* pieces(all, start);
}

function emptyLike(data: TensorData, count: number, room?: Uint8Array): TensorData {
  const made = data.constructor as Uint8ArrayConstructor;
  return (room ? new made(room.buffer, room.byteOffset, count) : new made(count)) as TensorData;
}

const inOrder = (axes: readonly Axis[]): boolean =>
  axes.length === 0 || axes.some(({ size }) => size === 0) || (axes.length === 1 && axes[0]!.stride === 1);

/** Copies the elements of a view to the beginning of `into`. */
function copied(data: TensorData, axes: readonly Axis[], start: number, into: TensorData): TensorData {
  const words = Math.max(1, data.BYTES_PER_ELEMENT / 4);
  const wide = axes.map(({ size, stride }) => ({ size, stride: stride * words }));
  copy(wordsOf(data), wordsOf(into), withTargets(words === 1 ? wide : [...wide, { size: words, stride: 1 }]), start * words);
  return into.subarray(0, countOf(axes.map(({ size }) => size)));
}

// Without axes of one element, and with neighbouring axes joined if they are contiguous.
function joinedAxes(sizes: readonly number[], strides: readonly number[]): readonly Axis[] {
  const axes: Axis[] = [];
  sizes.forEach((size, i) => {
    if (size === 1) return;
    const stride = strides[i]!;
    const before = axes.at(-1);
    if (before && before.stride === size * stride) axes[axes.length - 1] = { size: before.size * size, stride };
    else axes.push({ size, stride });
  });
  return axes;
}

function withTargets(axes: readonly Axis[]): readonly Step[] {
  return axes.map((axis, i) => ({ ...axis, target: countOf(axes.slice(i + 1).map(({ size }) => size)) }));
}

function wordsOf({ buffer, byteOffset, byteLength, BYTES_PER_ELEMENT: width }: TensorData): Words {
  if (width === 1) return new Uint8Array(buffer, byteOffset, byteLength);
  if (width === 2) return new Uint16Array(buffer, byteOffset, byteLength / 2);
  return new Int32Array(buffer, byteOffset, byteLength / 4);
}

/** Shorter rows are copied element by element. */
const longRow = 32;
const single: Step = { size: 1, stride: 0, target: 0 };

function copy(from: Words, to: Words, axes: readonly Step[], start: number): void {
  const inner = axes.at(-1)!;
  const outer = axes.slice(0, -1);
  if (inner.stride === 1 && inner.size >= longRow) {
    eachOffset(outer, start, 0, (i, o) => to.set(from.subarray(i, i + inner.size), o));
    return;
  }
  // Of the other axes, the one with the smallest stride shares cache lines.
  const near = outer.reduce<Step | undefined>((a, b) => (a && Math.abs(a.stride) <= Math.abs(b.stride) ? a : b), undefined);
  const rest = outer.filter((axis) => axis !== near);
  const across = near ?? single;
  const paired = inPairs(from, to, across, inner) && even(start, ...rest.flatMap(({ stride, target }) => [stride, target]));
  const turn = paired ? pairs : elements;
  eachOffset(rest, start, 0, (i, o) => turn(from, to, { across, inner }, i, o));
}

/** Calls f for every index on some axes, with its offsets in the source and the result. */
function eachOffset(axes: readonly Step[], from: number, to: number, f: (from: number, to: number) => void): void {
  const [axis, ...others] = axes;
  if (!axis) f(from, to);
  else for (let k = 0; k < axis.size; k++) eachOffset(others, from + k * axis.stride, to + k * axis.target, f);
}

interface Plane {
  readonly across: Step;
  readonly inner: Step;
}
/** Tile width: so many elements of a row of the result are written before those of the next row, so that sources and destinations stay in the cache. */
const side = 32;
/** The same in words of two elements. */
const strip = 8;

function elements(from: Words, to: Words, { across, inner }: Plane, start: number, target: number): void {
  const { size: rows, stride: row } = inner;
  const { size: columns, stride: column, target: place } = across;
  for (let b0 = 0; b0 < rows; b0 += side) {
    const b1 = Math.min(b0 + side, rows);
    for (let a = 0; a < columns; a++) {
      const out = target + a * place;
      let at = start + a * column + b0 * row;
      for (let b = b0; b < b1; b++, at += row) to[out + b] = from[at]!;
    }
  }
}

const even = (...numbers: readonly number[]): boolean => numbers.every((n) => n % 2 === 0);

// A matrix of 16-bit elements is transposed by blocks of two rows and four columns, two elements to a word: a third of the time.
const inPairs = (from: Words, to: Words, across: Step, inner: Step): boolean =>
  from.BYTES_PER_ELEMENT === 2 &&
  across.stride === 1 &&
  across.size % 4 === 0 &&
  even(inner.size, inner.stride, across.target) &&
  from.byteOffset % 4 === 0 &&
  to.byteOffset % 4 === 0;

// In plain loops: a closure for each tile takes a third longer.
function pairs(from: Words, to: Words, { across, inner }: Plane, start: number, target: number): void {
  const source = new Int32Array(from.buffer, from.byteOffset, from.length >> 1);
  const turned = new Int32Array(to.buffer, to.byteOffset, to.length >> 1);
  const [row, column] = [inner.stride / 2, across.target / 2];
  const [rows, columns] = [inner.size / 2, across.size / 2];
  for (let b0 = 0; b0 < rows; b0 += strip) {
    const b1 = Math.min(b0 + strip, rows);
    for (let a = 0; a < columns; a += 2) {
      let at = start / 2 + a + 2 * b0 * row;
      let out0 = target / 2 + 2 * a * column + b0;
      let out1 = out0 + column;
      let out2 = out1 + column;
      let out3 = out2 + column;
      for (let b = b0; b < b1; b++, at += 2 * row) {
        const upper = source[at]!;
        const lower = source[at + row]!;
        const nextUpper = source[at + 1]!;
        const nextLower = source[at + row + 1]!;
        turned[out0++] = (upper & 0xffff) | (lower << 16);
        turned[out1++] = (upper >>> 16) | (lower & -0x10000);
        turned[out2++] = (nextUpper & 0xffff) | (nextLower << 16);
        turned[out3++] = (nextUpper >>> 16) | (nextLower & -0x10000);
      }
    }
  }
}
