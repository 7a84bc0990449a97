// Feeds: checked against the signature before the runtime sees them, completed by what no user writes down. In this order:
//
// 1. each feed against its port: name, dtype, dims, elements (checkFeed)
// 2. what is missing: only what the runner makes itself may be, and pasts come all or none (checkPasts)
// 3. the sizes that feeds give to names (bindSizes); a past that is not given is empty, which gives its size (emptyPast)
// 4. the limits of the signature on what was fed: ids within tables, lengths within rows (checkLimits)
// 5. derived inputs (derived), and the limits on those
//
// All of it goes by a port's role, `derived`, `draw` and `parameter`, never by names.

import type { Port, Signature } from '../compile/compile';
import { type Dim, evaluateDim, namesOfDim } from '../dim/dim';
import { describe, FeedError, nearest } from '../error';
import { bindSizes } from '../interpret/bind';
import { checkLimits } from '../interpret/limits';
import { printType } from '../ir/define-op';
import { isPastRole, type Limit } from '../ir/graph';
import { computeDerived } from '../sequence/derive';
import { toArray, toTensor } from '../tensor/convert';
import { arrayOf, bytesOf, countOf, type DType, type NDArray, type Tensor, type TensorData } from '../tensor/tensor';
import { bitsOf } from './ort';

/** Tensors by input name. */
export type Feeds<I extends string = string> = string extends I
  ? Readonly<Record<string, Tensor>>
  : { readonly [N in I]?: Tensor };

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
 * Throws   FeedError as {@link checkFeeds}, and for numbers outside the limits of the signature
 */
export function completeFeeds(signature: Signature, feeds: Feeds, run: number): Record<string, Tensor> {
  const sizes = checkFeeds(signature, feeds);
  const all: Record<string, Tensor> = {};
  for (const port of signature.inputs) {
    const feed = feeds[port.name];
    if (feed) all[port.name] = feed.dtype === 'float16' ? { ...feed, data: bitsOf(feed.data) } : feed;
  }
  const absent = signature.inputs.filter((p) => all[p.name] === undefined);
  for (const port of absent) if (isPast(port)) all[port.name] = emptyPast(port, sizes);
  const made = new Set(absent.filter((p) => !isPast(p)).map((p) => p.name));
  const isMade = (input: string | undefined): boolean => input !== undefined && made.has(input);
  const check = (some: readonly Limit[]): void =>
    checkLimits(
      some,
      (input) => all[input],
      sizes,
      pathOf,
      (size) => inputWith(signature, size),
    );
  const { limits = [] } = signature;
  check(limits.filter(({ input }) => !isMade(input)));
  for (const port of absent) if (made.has(port.name)) all[port.name] = derived(port, all, sizes, run);
  check(limits.filter(({ input }) => isMade(input)));
  return all;
}

const pathOf = (name: string): string => `feed "${name}"`;
const isPast = ({ role }: Port): boolean => isPastRole(role);
const isMemory = ({ role }: Port): boolean => role === 'pastMemory';

// A size is best told by the sequences that have it.
function inputWith({ inputs }: Signature, size: Dim): string | undefined {
  const names = namesOfDim(size);
  const having = inputs.filter((p) => !p.derived && p.dims.some((d) => namesOfDim(d).some((name) => names.includes(name))));
  return (having.find((p) => p.role === 'sequence') ?? having[0])?.name;
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

function derived(port: Port, all: Feeds, sizes: ReadonlyMap<string, number>, run: number): Tensor {
  const { how, from: names, plus = 0, pool } = port.derived!;
  if (how === 'run') return toTensor({ dtype: port.dtype, dims: [], data: Float64Array.of(run) });
  // What a growing past holds is its size; a cache of fixed capacity holds nothing before the first call.
  if (how === 'past_lengths') {
    const dims = port.dims.map((d) => evaluateDim(d, sizes));
    return toTensor({ dtype: port.dtype, dims, data: new Float64Array(countOf(dims)).fill(evaluateDim(plus, sizes)) });
  }
  const from: NDArray[] = names.map((name) => toArray(all[name]!));
  const computed = computeDerived(how, from, (d) => evaluateDim(d, sizes), port, plus, pool);
  if (!computed) throw missing(port);
  return toTensor(computed);
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
