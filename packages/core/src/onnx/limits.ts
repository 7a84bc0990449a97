// Limits of a model file, checked before it is parsed: a message of two bytes becomes an object of hundreds of bytes.
import { FileError } from '../error';

/** Total number of nodes, names, attributes, tensors and sizes. A model of 200 layers has about 100,000. */
const mostParts = 2_000_000;
/** Integers of tensors that are stored as lists: a byte becomes a bigint of 32 bytes. Raw data has no such limit. */
const mostIntegers = 2 ** 24;
/** Nesting of messages: each nested graph or type counts as two or three. */
const deepest = 100;

// The messages of the format and their nested messages, by field number. Fields of other messages are not counted.
type Message = { readonly [field: number]: string };
/** Lists of integers of at least one byte each: ints of attributes, dims of tensors. */
const lists: Readonly<Record<string, number>> = { attribute: 8, tensor: 1 };
/** Fields of a tensor whose elements are integers of variable size: int32_data, int64_data, uint64_data. */
const integerFields: ReadonlySet<number> = new Set([5, 7, 11]);
const messages: Readonly<Record<string, Message>> = {
  model: { 7: 'graph', 8: 'flat', 14: 'flat', 20: 'training', 25: 'function' },
  training: { 1: 'graph', 2: 'graph', 3: 'flat', 4: 'flat' },
  graph: { 1: 'node', 5: 'tensor', 11: 'value', 12: 'value', 13: 'value', 14: 'annotation', 15: 'sparseTensor', 16: 'flat' },
  function: { 7: 'node', 9: 'flat', 11: 'attribute', 12: 'value', 14: 'flat' },
  annotation: { 2: 'flat' },
  node: { 5: 'attribute', 9: 'flat' },
  attribute: {
    5: 'tensor',
    6: 'graph',
    10: 'tensor',
    11: 'graph',
    14: 'type',
    15: 'type',
    22: 'sparseTensor',
    23: 'sparseTensor',
  },
  sparseTensor: { 1: 'tensor', 2: 'tensor' },
  tensor: { 13: 'flat', 16: 'flat' },
  value: { 2: 'type', 4: 'flat' },
  type: { 1: 'shaped', 4: 'shaped', 5: 'map', 8: 'shaped', 9: 'shaped' },
  shaped: { 1: 'type', 2: 'shape' },
  map: { 2: 'type' },
  shape: { 1: 'flat' },
  flat: {},
};

/**
 * Counts the fields of a model file, including those of nested messages.
 *
 * @throws FileError for more than 2,000,000 of them, for tensors with more than 16,777,216 integers in lists, or messages more than 100 deep
 */
export function checkLimits(bytes: Uint8Array, path: string): void {
  let parts = 0;
  const count = (more: number): void => {
    parts += more;
    if (parts <= mostParts) return;
    const expected = `at most ${mostParts} nodes, names, attributes and sizes`;
    throw new FileError({ path, problem: 'the model has too many parts', expected, got: 'more' });
  };
  let integers = 0;
  // The last byte of each is below 128.
  const countIntegers = (start: number, end: number): void => {
    for (let i = start; i < end; i++) if (bytes[i]! < 128) integers++;
    if (integers <= mostIntegers) return;
    const expected = `at most ${mostIntegers} integers in int32_data, int64_data and uint64_data`;
    throw new FileError({
      path,
      problem: 'tensors have too many integers in lists',
      expected,
      got: 'more',
      hint: 'Store them as raw_data',
    });
  };
  const walk = (start: number, end: number, name: string, depth: number): void => {
    if (depth > deepest)
      throw new FileError({ path, problem: 'the graphs are nested too deeply', expected: `at most ${deepest} levels` });
    let at = start;
    // Invalid numbers, and fields that end beyond the message, are reported by the parser.
    const varint = (): number => {
      let n = 0;
      for (let shift = 1; at < end; shift *= 128) {
        const byte = bytes[at++]!;
        n += (byte & 127) * shift;
        if (byte < 128) return n;
      }
      return Number.POSITIVE_INFINITY;
    };
    while (at < end) {
      count(1);
      const tag = varint();
      const kind = tag % 8;
      if (kind === 0) varint();
      else if (kind === 1) at += 8;
      else if (kind === 5) at += 4;
      else if (kind === 2) {
        const length = varint();
        const field = Math.floor(tag / 8);
        if (lists[name] === field) count(Math.min(length, end - at));
        if (name === 'tensor' && integerFields.has(field)) countIntegers(at, Math.min(at + length, end));
        const inner = messages[name]![field];
        if (inner && at + length <= end) walk(at, at + length, inner, depth + 1);
        at += length;
      } else return;
    }
  };
  walk(0, bytes.length, 'model', 0);
}
