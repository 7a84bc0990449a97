// Feeds: checked against the signature before the runtime sees them, completed by what no user writes down.

import type { Port, Signature } from '../compile/compile';
import { type Dim, evaluateDim, namesOfDim } from '../dim/dim';
import { describe, FeedError, nearest } from '../error';
import { bindSizes } from '../interpret/bind';
import { printType } from '../ir/define-op';
import { computeDerived } from '../sequence/derive';
import { aboutRows } from '../sequence/sequence-inputs';
import { toArray, toTensor } from '../tensor/convert';
import { arrayOf, bytesOf, countOf, type DType, type NDArray, type Tensor, type TensorData } from '../tensor/tensor';
import { checkLimits } from './limits';
import { bitsOf } from './ort';

/** Tensors by input name. */
export type Feeds = Readonly<Record<string, Tensor>>;

/**
 * Checks feeds by name, dtype and sizes; returns the value of each size name.
 *
 * Throws   FeedError for a feed that is missing, unknown, of another dtype, of the wrong number of elements, or whose sizes contradict another's
 */
export function checkFeeds(signature: Signature, feeds: Feeds): Map<string, number> {
  if (typeof feeds !== 'object' || feeds === null)
    throw new FeedError({
      path: 'feeds',
      problem: 'not feeds',
      expected: 'an object with a tensor for each input',
      got: describe(feeds),
    });
  const ports = new Map(signature.inputs.map((p) => [p.name, p]));
  for (const [name, feed] of Object.entries(feeds)) {
    const port = ports.get(name);
    if (!port) throw unknownFeed(name, signature);
    if (feed !== undefined) checkFeed(port, feed);
  }
  const given = signature.inputs.filter((p) => feeds[p.name] !== undefined);
  const absent = signature.inputs.filter((p) => feeds[p.name] === undefined);
  for (const port of absent) if (!port.derived && !isPast(port)) throw missing(port);
  checkPasts(given, absent);
  const batch = batchOf(signature);
  for (const port of given) checkBatch(port, feeds[port.name]!, batch);
  try {
    return bindSizes(given.map((p) => ({ name: p.name, dims: p.dims, actual: feeds[p.name]!.dims })));
  } catch (error) {
    if (!(error instanceof FeedError)) throw error;
    const { problem, expected, got } = error;
    throw new FeedError({ path: pathOf(error.path), problem, ...(expected && { expected }), ...(got && { got }) });
  }
}

/**
 * Checks feeds and adds what is missing and can be known: derived inputs, the run number, empty pasts before the first call.
 *
 * Throws   FeedError as {@link checkFeeds}; also where lengths do not add up to the tokens, or a cache has no room
 */
export function completeFeeds(signature: Signature, feeds: Feeds, run: number): Record<string, Tensor> {
  const sizes = checkFeeds(signature, feeds);
  const all: Record<string, Tensor> = {};
  for (const port of signature.inputs) {
    const feed = feeds[port.name];
    if (feed) all[port.name] = feed.dtype === 'float16' ? { ...feed, data: bitsOf(feed.data) } : feed;
  }
  const absent = signature.inputs.filter((p) => all[p.name] === undefined);
  // Pasts first: a past that is not given is empty, which binds its size.
  for (const port of absent) if (isPast(port)) all[port.name] = emptyPast(port, sizes);
  for (const port of absent) if (!isPast(port)) all[port.name] = made(port, all, sizes, run);
  checkRoom(signature, all);
  checkLimits(signature, all, sizes);
  return all;
}

const pathOf = (name: string): string => `feed "${name}"`;
const pastPrefix = 'past_key_values.';
const isPast = (port: Port): boolean => port.name.startsWith(pastPrefix);
const isMemory = (port: Port): boolean => /\.memory_\w+$/.test(port.name);

// Kernels divide by the number of sequences; without any, the process ends with it.
function checkBatch(port: Port, feed: Tensor, batch: Dim | undefined): void {
  const [of] = port.dims;
  if (feed.dims[0] === 0 && typeof of === 'string' && (of === 'batch' || of === batch))
    throw new FeedError({ path: pathOf(port.name), problem: 'no sequences', expected: 'a batch of 1 or more', got: '0' });
}

// What counts sequences, whatever its name. Rows that are neither ids nor stand in a sequence are no sequences.
function batchOf(signature: Signature): Dim | undefined {
  const port = rowsOf(signature);
  return port && (port.dims.length > 2 || port.name.endsWith('ids')) ? port.dims[0] : undefined;
}

// A call that continues another one gives everything that the other one kept. Kept rows of a memory come and go by themselves.
function checkPasts(given: readonly Port[], absent: readonly Port[]): void {
  for (const kind of [(p: Port) => isPast(p) && !isMemory(p), (p: Port) => isPast(p) && isMemory(p)]) {
    const [one, lacking] = [given.find(kind), absent.find(kind)];
    if (one && lacking)
      throw new FeedError({
        path: pathOf(lacking.name),
        problem: 'missing',
        expected: `${printType(lacking)}, since "${one.name}" is given`,
        got: 'nothing',
        hint: 'Feed every present.* of the last call, or none before the first',
      });
  }
  const past = given.find((p) => isPast(p) && !isMemory(p));
  // A growing past tells by its size what it holds; one of fixed capacity does not.
  const pastLengths = absent.find((p) => p.derived?.how === 'past_lengths' && !p.derived.plus);
  if (past && pastLengths)
    throw new FeedError({
      path: pathOf(pastLengths.name),
      problem: 'missing',
      expected: `${printType(pastLengths)}: how many rows of "${past.name}" are in use`,
      got: 'nothing',
      hint: 'Feed it with every call after the first',
    });
}

function emptyPast(port: Port, sizes: Map<string, number>): Tensor {
  const dims = port.dims.map((d) => {
    for (const name of namesOfDim(d)) if (!sizes.has(name)) sizes.set(name, 0);
    return evaluateDim(d, sizes);
  });
  return { dtype: port.dtype, dims, data: new (arrayOf(port.dtype))(countOf(dims)) };
}

function made(port: Port, all: Feeds, sizes: ReadonlyMap<string, number>, run: number): Tensor {
  const { how, from: names, plus = 0, pool } = port.derived!;
  if (how === 'run') return toTensor({ dtype: port.dtype, dims: [], data: Float64Array.of(run) });
  // What a growing past holds is its size; a cache of fixed capacity holds nothing before the first call.
  if (how === 'past_lengths') {
    const dims = port.dims.map((d) => evaluateDim(d, sizes));
    return toTensor({ dtype: port.dtype, dims, data: new Float64Array(countOf(dims)).fill(evaluateDim(plus, sizes)) });
  }
  const from: NDArray[] = names.map((name) => toArray(all[name]!));
  if (how === 'offsets' || how === 'positions')
    checkLengths(names[0]!, from[0]!, how === 'offsets' ? plus : port.dims[0]!, sizes);
  const computed = computeDerived(how, from, (d) => evaluateDim(d, sizes), port, plus, pool);
  if (!computed) throw missing(port);
  return toTensor(computed);
}

// Kernels trust the lengths and would read behind the last row.
function checkLengths(name: string, lengths: NDArray, tokens: Port['dims'][number], sizes: ReadonlyMap<string, number>): void {
  const negative = lengths.data.find((n) => n < 0);
  if (negative !== undefined)
    throw new FeedError({ path: pathOf(name), problem: 'a length below 0', expected: 'lengths from 0', got: String(negative) });
  if (tokens === 0) return;
  const [sum, there] = [lengths.data.reduce((a, b) => a + b, 0), evaluateDim(tokens, sizes)];
  if (sum !== there)
    throw new FeedError({
      path: pathOf(name),
      problem: 'the lengths do not add up to the rows',
      expected: `${there} (${tokens})`,
      got: String(sum),
    });
}

const holds = (dtype: DType, data: TensorData): boolean =>
  data instanceof arrayOf(dtype) || (dtype === 'float16' && (data as object)?.constructor?.name === 'Float16Array');

function checkFeed(port: Port, feed: Tensor): void {
  const path = pathOf(port.name);
  if (
    typeof feed !== 'object' ||
    feed === null ||
    !('dtype' in feed) ||
    !Array.isArray(feed.dims) ||
    !ArrayBuffer.isView(feed.data)
  )
    throw new FeedError({
      path,
      problem: 'not a tensor',
      expected: `a tensor ${printType(port)}`,
      got: describe(feed),
      hint: 'Make one with tensor(dtype, dims, values)',
    });
  const { dtype, dims, data } = feed;
  if (dtype !== port.dtype) {
    const hint = `castTensor(feed, '${port.dtype}') converts it`;
    throw new FeedError({
      path,
      problem: 'another dtype',
      expected: printType(port),
      got: printType(feed),
      hint,
    });
  }
  if (!holds(dtype, data))
    throw new FeedError({
      path,
      problem: 'the elements lie in the wrong array',
      expected: `${dtype} in a ${arrayOf(dtype).name}`,
      got: describe(data),
      hint: `tensor('${dtype}', dims, values) makes the right one`,
    });
  if (dims.length !== port.dims.length)
    throw new FeedError({ path, problem: 'another number of dims', expected: printType(port), got: printType(feed) });
  const wrong = dims.find((d: unknown) => !Number.isSafeInteger(d) || (d as number) < 0);
  if (wrong !== undefined)
    throw new FeedError({
      path,
      problem: 'a dim is no size',
      expected: 'integers from 0',
      got: `[${dims.map((d: unknown) => describe(d)).join(', ')}]`,
    });
  if (data.byteLength !== bytesOf(dtype, countOf(dims)))
    throw new FeedError({
      path,
      problem: 'the elements do not fill the dims',
      expected: `${countOf(dims)} for [${dims.join(', ')}]`,
      got: String(data.length),
    });
}

function unknownFeed(name: string, { inputs, outputs }: Signature): FeedError {
  const names = inputs.map((p) => p.name);
  const near = nearest(name, names);
  const output = outputs.some((p) => p.name === name);
  const hint = near ? `Did you mean "${near}"? ` : output ? 'It is an output. ' : '';
  return new FeedError({
    path: pathOf(name),
    problem: 'the model has no such input',
    got: describe(name),
    hint: `${hint}Inputs: ${names.join(', ') || 'none'}`,
  });
}

function missing(port: Port): FeedError {
  const hint = port.draw ? `Numbers drawn at random (${port.draw}); compile with draws: { seed } to have them made` : undefined;
  return new FeedError({
    path: pathOf(port.name),
    problem: 'missing',
    expected: printType(port),
    got: 'nothing',
    ...(hint && { hint }),
  });
}

/** The first input with rows: what the context of the model counts a call by. */
const rowsOf = ({ inputs }: Signature): Port | undefined =>
  inputs.find((p) => !p.derived && !p.draw && !p.parameter && !isPast(p) && !aboutRows.has(p.name) && p.dims.length >= 2);

/** Batch and new rows of a call. */
function callOf(
  signature: Signature,
  all: Feeds,
): { readonly port: Port | undefined; readonly batch: number; readonly seq: number } {
  const port = rowsOf(signature);
  const dims = port ? all[port.name]!.dims : [];
  return { port, batch: dims[0] ?? 1, seq: dims[dims.length === 4 ? 2 : 1] ?? 1 };
}

// A kernel that appends in place would write behind the last row.
function checkRoom(signature: Signature, all: Feeds): void {
  const pastLengths = signature.inputs.find((p) => p.derived?.how === 'past_lengths' && !p.derived.plus);
  const past = signature.inputs.find((p) => isPast(p) && !isMemory(p) && typeof p.dims[2] === 'number');
  if (!pastLengths || !past) return;
  const { seq } = callOf(signature, all);
  const rows = toArray(all[pastLengths.name]!).data;
  const most = rows.reduce((a, b) => Math.max(a, b), 0);
  const capacity = past.dims[2] as number;
  if (most + seq <= capacity && rows.every((n) => n >= 0)) return;
  throw new FeedError({
    path: pathOf(pastLengths.name),
    problem: 'the cache has no room for the new rows',
    expected: `from 0 to ${capacity - seq}, since ${capacity} rows fit and ${seq} are new`,
    got: rows.length > 6 ? `at most ${most}` : `[${[...rows].join(', ')}]`,
    hint: 'Compile with a larger capacity (state: { io: rows })',
  });
}

/**
 * Refuses feeds that break what was promised when the model was compiled. `prefill into empty cache`: more than one new row only where nothing is held, or
 * for a batch of one. `no empty sequences`: every sequence, and every memory, has a row that may be seen.
 */
export function checkAssumptions(assumptions: readonly string[], signature: Signature, all: Feeds): void {
  if (assumptions.includes('prefill into empty cache')) checkPrefillIntoEmptyCache(signature, all);
  if (assumptions.includes('no empty sequences')) for (const [name, feed] of Object.entries(all)) checkSomeRow(name, feed);
}

function checkSomeRow(name: string, feed: Tensor): void {
  const width = name.endsWith('lengths')
    ? 1
    : name === 'attention_mask' || name === 'memory_mask'
      ? (feed.dims[1] ?? 1)
      : undefined;
  if (width === undefined) return;
  const { data } = toArray(feed);
  const empty = Array.from({ length: feed.dims[0] ?? 0 }, (_, b) => b).find(
    (b) => !data.subarray(b * width, (b + 1) * width).some((n) => n > 0),
  );
  if (empty === undefined) return;
  throw new FeedError({
    path: pathOf(name),
    problem: 'the model was compiled on the promise that no sequence is empty',
    expected: 'a row that may be seen in each sequence',
    got: `none in sequence ${empty}`,
    hint: "Compile without the promise 'no empty sequences'",
  });
}

function checkPrefillIntoEmptyCache(signature: Signature, all: Feeds): void {
  const { port, batch, seq } = callOf(signature, all);
  if (!port || batch <= 1 || seq <= 1) return;
  const pastLengths = signature.inputs.some((p) => {
    const feed = all[p.name]!;
    if (p.derived?.how === 'past_lengths') return toArray(feed).data.some((n) => n !== 0);
    return isPast(p) && !isMemory(p) && typeof p.dims[2] === 'string' && (feed.dims[2] ?? 0) > 0;
  });
  if (pastLengths)
    throw new FeedError({
      path: pathOf(port.name),
      problem: 'the model was compiled on the promise that prompts come whole',
      expected: 'one new row per sequence once something is held',
      got: `${seq} new rows for a batch of ${batch}`,
      hint: "Compile without the promise 'prefill into empty cache'",
    });
}
