// The safetensors format: eight bytes of header length, a JSON header, then the bytes of all tensors without gaps.
import { checkArguments } from '../arguments';
import { describe, FileError, WeightError } from '../error';
import { bytesOfTensor, tensorFromBytes } from '../tensor/convert';
import type { Scratch } from '../tensor/scratch';
import { bytesOf, countOf, type DType, type Tensor } from '../tensor/tensor';
import { duplicateKey } from './json-keys';
import { isLazy, type LazyTensor } from './lazy';

export type { LazyTensor } from './lazy';

/** Bytes that can be read piece by piece: a file, a blob, ranges of a URL. */
export interface ByteSource {
  /** For errors. */
  readonly name?: string;
  /** In bytes. */
  readonly size: number;
  /** Reads `length` bytes at `offset`; both are within the size. They can be in memory of `scratch` if it is given. */
  read(offset: number, length: number, scratch?: Scratch): Promise<Uint8Array>;
}

/** One tensor of a safetensors header. */
export interface SafetensorsEntry {
  readonly dtype: DType;
  readonly dims: readonly number[];
  /** Where its bytes begin and end in the file. */
  readonly start: number;
  readonly end: number;
}

/** A checked safetensors header. */
export interface SafetensorsHeader {
  readonly entries: ReadonlyMap<string, SafetensorsEntry>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** The format's names of our dtypes. */
const nameOf: Readonly<Partial<Record<DType, string>>> = {
  float64: 'F64',
  float32: 'F32',
  float16: 'F16',
  bfloat16: 'BF16',
  int64: 'I64',
  int32: 'I32',
  int16: 'I16',
  int8: 'I8',
  uint64: 'U64',
  uint32: 'U32',
  uint16: 'U16',
  uint8: 'U8',
  bool: 'BOOL',
};
const dtypeOf: ReadonlyMap<unknown, DType> = new Map(Object.entries(nameOf).map(([dtype, name]) => [name, dtype as DType]));

/** Maximum header length: about 150,000 tensors. The format allows six times that, which needs gigabytes to parse. */
const longestHeader = 2 ** 24;
const metadataKey = '__metadata__';

const damaged = 'It is damaged, or not a safetensors file; download it again';

function notSafetensors(path: string, problem: string, expected?: string, got?: string, hint?: string): never {
  throw new FileError({ path, problem, ...(expected && { expected }), ...(got && { got }), ...(hint && { hint }) });
}

/** Length of the JSON header, from the first eight bytes of a file of `size` bytes. */
function headerLength(first: Uint8Array, size: number, path: string): number {
  if (first.length < 8) notSafetensors(path, 'too short for a safetensors file', 'at least 8 bytes', `${size}`, damaged);
  const length = new DataView(first.buffer, first.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(longestHeader)) {
    notSafetensors(path, 'the header is too long', `at most ${longestHeader} bytes`, `${length}`, damaged);
  }
  if (Number(length) > size - 8) {
    notSafetensors(
      path,
      'the file ends within its header',
      `a header of ${length} bytes`,
      `${size - 8}`,
      'It may be truncated; download it again',
    );
  }
  return Number(length);
}

const isObject = (x: unknown): x is Record<string, unknown> => typeof x === 'object' && x !== null && !Array.isArray(x);
const isSize = (x: unknown): x is number => Number.isSafeInteger(x) && (x as number) >= 0;

function parseJson(bytes: Uint8Array, path: string): Record<string, unknown> {
  let header: unknown;
  let text: string;
  if (bytes[0] !== 0x7b) notSafetensors(path, 'the header is not a JSON object', 'a header that begins with {');
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    header = JSON.parse(text);
  } catch (cause) {
    throw new FileError({ path, problem: 'the header is not JSON', got: (cause as Error).message, hint: damaged }, { cause });
  }
  const twice = duplicateKey(text);
  if (twice !== undefined) notSafetensors(path, `the header contains ${describe(twice)} twice`);
  return header as Record<string, unknown>;
}

const placeOf = (file: string, tensor: string): string => `${file}: tensor ${describe(tensor)}`;

function parseEntry(info: unknown, file: string, tensor: string, dataStart: number, size: number): SafetensorsEntry {
  const fail = (problem: string, expected: string, got: string, hint = damaged): never => {
    throw new WeightError({ path: placeOf(file, tensor), problem, expected, got, hint });
  };
  if (!isObject(info)) return fail('not a tensor', 'an object with dtype, shape and data_offsets', describe(info));
  const { dtype: name, shape, data_offsets: offsets } = info;
  const dtype =
    dtypeOf.get(name) ??
    fail('a dtype that is not supported', [...dtypeOf.keys()].join(', '), describe(name), 'Convert the file to one of these');
  if (!Array.isArray(shape) || !shape.every(isSize))
    return fail('the shape is invalid', 'a list of integers from 0 to 2^53 - 1', describe(shape));
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize)) {
    return fail('the data offsets are invalid', 'two integers from 0 to 2^53 - 1', describe(offsets));
  }
  const [start, end] = offsets as [number, number];
  const room = size - dataStart;
  if (start > end || end > room)
    return fail('the data offsets are outside of the file', `a range within ${room} bytes of data`, `${start} to ${end}`);
  const bytes = bytesOf(dtype, countOf(shape));
  if (bytes !== end - start)
    return fail('the dims do not match the number of bytes', `${bytes} bytes for ${name}[${shape.join(', ')}]`, `${end - start}`);
  return { dtype, dims: shape.map((d) => d + 0), start: dataStart + start, end: dataStart + end };
}

/** Every byte of the data must belong to exactly one tensor; otherwise two readers could read different contents. */
function checkLayout(entries: ReadonlyMap<string, SafetensorsEntry>, dataStart: number, size: number, path: string): void {
  const sorted = [...entries].sort(([, a], [, b]) => a.start - b.start || a.end - b.end);
  let at = dataStart;
  let before: string | undefined;
  for (const [name, { start, end }] of sorted) {
    const place = () => placeOf(path, name);
    const after = before === undefined ? 'the start of the data' : `tensor ${describe(before)}`;
    if (start < at)
      notSafetensors(place(), `overlaps ${after}`, `a start at ${at - dataStart} or later`, `${start - dataStart}`, damaged);
    if (start > at)
      notSafetensors(place(), `leaves a hole after ${after}`, `a start at ${at - dataStart}`, `${start - dataStart}`, damaged);
    at = end;
    before = name;
  }
  if (at !== size)
    notSafetensors(path, 'bytes after the last tensor', `${at} bytes`, `${size}`, 'It is damaged, or does not match its header');
}

function parseHeader(json: Uint8Array, size: number, path: string): SafetensorsHeader {
  const header = parseJson(json, path);
  // The format's own library treats null as absent.
  const metadata = (Object.hasOwn(header, metadataKey) ? header[metadataKey] : undefined) ?? {};
  if (!isObject(metadata) || Object.values(metadata).some((x) => typeof x !== 'string')) {
    notSafetensors(path, `the header's ${metadataKey}`, 'an object of strings', describe(metadata));
  }
  const dataStart = 8 + json.length;
  const entries = new Map<string, SafetensorsEntry>();
  for (const [name, info] of Object.entries(header))
    if (name !== metadataKey) entries.set(name, parseEntry(info, path, name, dataStart, size));
  checkLayout(entries, dataStart, size, path);
  return { entries, metadata: metadata as Record<string, string> };
}

/**
 * Reads and checks the header of a safetensors file in memory. A header is at most 16 MiB long.
 *
 * @throws FileError for a file that is not in safetensors format, or whose header is inconsistent or does not match its size
 * @throws WeightError for a tensor of an unknown dtype, or whose dims do not fit its bytes
 */
export function readHeader(bytes: Uint8Array, path = 'safetensors'): SafetensorsHeader {
  checkArguments('readHeader', { bytes });
  const length = headerLength(bytes.subarray(0, 8), bytes.length, path);
  return parseHeader(bytes.subarray(8, 8 + length), bytes.length, path);
}

/**
 * The tensors of a safetensors file in memory, as views into it where they are aligned.
 *
 * @throws FileError, WeightError as {@link readHeader}
 */
export function parseSafetensors(bytes: Uint8Array, path = 'safetensors'): Map<string, LazyTensor> {
  checkArguments('parseSafetensors', { bytes });
  const tensors = new Map<string, LazyTensor>();
  for (const [name, { dtype, dims, start, end }] of readHeader(bytes, path).entries) {
    const loadSync = () => tensorFromBytes(dtype, dims, bytes.subarray(start, end));
    tensors.set(name, { dtype, dims, byteLength: end - start, load: async () => loadSync(), loadSync });
  }
  return tensors;
}

async function read(source: ByteSource, offset: number, length: number, path: string, scratch?: Scratch): Promise<Uint8Array> {
  try {
    return await source.read(offset, length, scratch);
  } catch (cause) {
    // More bytes than an array can have.
    if (!(cause instanceof RangeError)) throw cause;
    const problem = 'more bytes than the runtime allows in one array';
    throw new FileError(
      {
        path,
        problem,
        expected: 'at most the size of one array',
        got: `${length} bytes`,
        hint: 'Split the tensor, or store it in a narrower dtype',
      },
      { cause },
    );
  }
}

async function readExactly(
  source: ByteSource,
  offset: number,
  length: number,
  path: string,
  scratch?: Scratch,
): Promise<Uint8Array> {
  const bytes = length === 0 ? new Uint8Array() : await read(source, offset, length, path, scratch);
  if (bytes.length !== length) {
    notSafetensors(
      path,
      `the source ended before bytes ${offset} to ${offset + length} were read`,
      `${length} bytes`,
      `${bytes.length}`,
    );
  }
  return bytes;
}

/**
 * The tensors of a safetensors file that is not read completely: the header, at most 16 MiB, is read now, each tensor when it is loaded.
 *
 * @throws FileError, WeightError as {@link readHeader}
 */
export async function openSafetensors(source: ByteSource): Promise<Map<string, LazyTensor>> {
  checkArguments('openSafetensors', { file: source });
  const path = source.name ?? 'safetensors';
  const { size } = source;
  const length = headerLength(await readExactly(source, 0, Math.min(8, size), path), size, path);
  const { entries } = parseHeader(await readExactly(source, 8, length, path), size, path);
  const tensors = new Map<string, LazyTensor>();
  for (const [name, { dtype, dims, start, end }] of entries) {
    const load = async (scratch?: Scratch) =>
      tensorFromBytes(dtype, dims, await readExactly(source, start, end - start, placeOf(path, name), scratch));
    tensors.set(name, { dtype, dims, byteLength: end - start, load });
  }
  return tensors;
}

/** The contents of a file for {@link writeSafetensors}. */
export type WritableTensors = Iterable<readonly [name: string, tensor: Tensor | LazyTensor]>;

// By name in code units, the same order in every locale.
const byName = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** A JSON object of values that are JSON already, in the order given. */
const object = (entries: readonly (readonly [key: string, json: string])[]): string =>
  `{${entries.map(([key, json]) => `${JSON.stringify(key)}:${json}`).join(',')}}`;

/** The tensors in the order of their bytes: wide elements first, so that each is aligned without gaps, then by name. */
function layOut(tensors: WritableTensors): readonly (readonly [string, Tensor | LazyTensor])[] {
  const list = [...tensors];
  const seen = new Set<string>();
  for (const [name, { dtype }] of list) {
    const fail = (problem: string, expected?: string, got?: string): never => {
      throw new WeightError({ path: `tensor ${describe(name)}`, problem, ...(expected && { expected }), ...(got && { got }) });
    };
    if (!nameOf[dtype]) fail('a dtype that safetensors does not support', Object.keys(nameOf).join(', '), dtype);
    if (seen.has(name)) fail('duplicate name');
    if (name === metadataKey) fail('a name that the format reserves');
    seen.add(name);
  }
  return list.sort(([a, { dtype: x }], [b, { dtype: y }]) => bytesOf(y, 1) - bytesOf(x, 1) || byName(a, b));
}

function headerOf(layout: ReturnType<typeof layOut>, metadata: Readonly<Record<string, string>>): Uint8Array {
  let at = 0;
  const entries = layout.map(([name, { dtype, dims }]) => {
    const start = at;
    at += bytesOf(dtype, countOf(dims));
    return [name, JSON.stringify({ dtype: nameOf[dtype], shape: dims, data_offsets: [start, at] })] as const;
  });
  const about = Object.entries(metadata).map(([key, value]) => [key, JSON.stringify(value)] as const);
  const sorted = (pairs: readonly (readonly [string, string])[]) => [...pairs].sort(([a], [b]) => byName(a, b));
  const json = object([...(about.length ? [[metadataKey, object(sorted(about))] as const] : []), ...sorted(entries)]);
  const text = new TextEncoder().encode(json);
  const padded = Math.ceil(text.length / 8) * 8;
  const header = new Uint8Array(8 + padded).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(padded), true);
  header.set(text, 8);
  return header;
}

/**
 * Writes tensors in the safetensors format, as chunks: the header, then each tensor's bytes; lazy ones are loaded one at a time. The same tensors
 * and metadata are written as the same bytes, in any order. The data begin at a multiple of 8 bytes, every tensor at a multiple of its element size.
 *
 * @throws WeightError for a dtype that the format does not support, a duplicate name, or a lazy tensor that does not match its declaration
 */
export async function* writeSafetensors(
  tensors: WritableTensors,
  metadata: Readonly<Record<string, string>> = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  const layout = layOut(tensors);
  yield headerOf(layout, metadata);
  for (const [name, t] of layout) yield checkedBytes(name, t, isLazy(t) ? await t.load() : t);
}

/** How many bytes {@link writeSafetensors} writes. Throws the same errors. */
export function safetensorsBytes(tensors: WritableTensors, metadata: Readonly<Record<string, string>> = {}): number {
  const layout = layOut(tensors);
  return layout.reduce((n, [, { dtype, dims }]) => n + bytesOf(dtype, countOf(dims)), headerOf(layout, metadata).length);
}

/**
 * Tensors in memory as one safetensors file; see {@link writeSafetensors}.
 *
 * @throws WeightError as {@link writeSafetensors}
 */
export function encodeSafetensors(
  tensors: Iterable<readonly [name: string, tensor: Tensor]>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  checkArguments('encodeSafetensors', { tensors, 'metadata?': metadata });
  const layout = layOut(tensors);
  const chunks = [headerOf(layout, metadata), ...layout.map(([name, t]) => checkedBytes(name, t, t as Tensor))];
  const file = new Uint8Array(chunks.reduce((n, c) => n + c.length, 0));
  let at = 0;
  for (const c of chunks) {
    file.set(c, at);
    at += c.length;
  }
  return file;
}

function checkedBytes(name: string, declared: Tensor | LazyTensor, t: Tensor): Uint8Array {
  const bytes = bytesOfTensor(t);
  const text = ({ dtype, dims }: Tensor | LazyTensor) => `${dtype}[${dims.join(', ')}]`;
  if (text(t) !== text(declared) || bytes.length !== bytesOf(declared.dtype, countOf(declared.dims))) {
    const got = `${bytes.length} bytes of ${text(t)}`;
    throw new WeightError({
      path: `tensor ${describe(name)}`,
      problem: 'it does not match its declaration',
      expected: text(declared),
      got,
    });
  }
  return bytes;
}
