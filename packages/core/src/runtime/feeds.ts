// Feeds: checked against the signature before the runtime sees them, completed by what no user writes down.
import { bindSizes } from '../bind';
import type { Port, Signature } from '../compile';
import { computeDerived } from '../derive';
import { evaluateDim, namesOfDim } from '../dim';
import { describe, FeedError, nearest } from '../error';
import { printType } from '../op';
import { arrayOf, countOf, type DType, type NDArray, type Tensor } from '../tensor';
import { toArray, toTensor } from '../tensor-convert';

/** Tensors by input name. */
export type Feeds = Readonly<Record<string, Tensor>>;

/**
 * Checks feeds and adds what is missing and can be known: derived inputs, the run number, empty pasts before the first call.
 *
 * Throws   FeedError for a feed that is missing, unknown, of another dtype, of the wrong number of elements, or whose sizes contradict another's
 */
export function completeFeeds(signature: Signature, feeds: Feeds, run: number): Record<string, Tensor> {
  const ports = new Map(signature.inputs.map((p) => [p.name, p]));
  for (const [name, feed] of Object.entries(feeds)) {
    const port = ports.get(name);
    if (!port) throw unknownFeed(name, ports.keys());
    checkFeed(port, feed);
  }
  const given = signature.inputs.filter((p) => feeds[p.name] !== undefined);
  const sizes = new Map(bindSizes(given.map((p) => ({ name: p.name, dims: p.dims, actual: feeds[p.name]!.dims }))));
  const all: Record<string, Tensor> = { ...feeds };
  const absent = signature.inputs.filter((p) => feeds[p.name] === undefined);
  // Pasts first: a past that is not given is empty, which binds its size.
  for (const port of absent) if (isPast(port)) all[port.name] = emptyPast(port, sizes);
  for (const port of absent) if (!isPast(port)) all[port.name] = made(port, all, sizes, run);
  return all;
}

const isPast = (port: Port): boolean => port.name.startsWith('past_key_values.');

function emptyPast(port: Port, sizes: Map<string, number>): Tensor {
  const dims = port.dims.map((d) => {
    for (const name of namesOfDim(d)) if (!sizes.has(name)) sizes.set(name, 0);
    return evaluateDim(d, sizes);
  });
  return zeros(port.dtype, dims);
}

function made(port: Port, all: Feeds, sizes: ReadonlyMap<string, number>, run: number): Tensor {
  const { derived } = port;
  if (!derived) throw missing(port);
  const dims = () => port.dims.map((d) => evaluateDim(d, sizes));
  if (derived.how === 'run') return toTensor({ dtype: port.dtype, dims: [], data: Float64Array.of(run) });
  // What a growing past holds is its size; a cache of fixed capacity holds nothing before the first call.
  if (derived.how === 'held') return toTensor({ dtype: port.dtype, dims: dims(), data: new Float64Array(countOf(dims())).fill(evaluateDim(derived.plus ?? 0, sizes)) });
  const from: NDArray[] = derived.from.map((name) => toArray(all[name]!));
  const computed = computeDerived(derived.how, from, (d) => evaluateDim(d, sizes), port, derived.plus);
  if (!computed) throw missing(port);
  return toTensor(computed);
}

const zeros = (dtype: DType, dims: readonly number[]): Tensor => ({ dtype, dims, data: new (arrayOf(dtype))(countOf(dims)) });

function checkFeed(port: Port, feed: Tensor): void {
  const path = `feed "${port.name}"`;
  if (typeof feed !== 'object' || feed === null || !('dtype' in feed) || !('dims' in feed) || !('data' in feed))
    throw new FeedError({ path, problem: 'not a tensor', expected: `a tensor ${printType(port)}`, got: describe(feed), hint: 'Make one with tensor(dtype, dims, values)' });
  if (feed.dtype !== port.dtype) throw new FeedError({ path, problem: 'another dtype', expected: printType(port), got: printType(feed) });
  const array = arrayOf(feed.dtype);
  if (!(feed.data instanceof array)) throw new FeedError({ path, problem: `${feed.dtype} lies in a ${array.name}`, expected: `a ${array.name}`, got: describe(feed.data) });
  if (feed.dims.length !== port.dims.length) throw new FeedError({ path, problem: 'another number of dims', expected: printType(port), got: printType(feed) });
  if (feed.data.length !== countOf(feed.dims)) throw new FeedError({ path, problem: 'the elements do not fill the dims', expected: `${countOf(feed.dims)} elements for [${feed.dims.join(', ')}]`, got: String(feed.data.length) });
}

function unknownFeed(name: string, names: Iterable<string>): FeedError {
  const all = [...names];
  const near = nearest(name, all);
  return new FeedError({ path: `feed "${name}"`, problem: 'the model has no such input', got: describe(name), hint: `${near ? `Did you mean "${near}"? ` : ''}Inputs: ${all.join(', ')}` });
}
function missing(port: Port): FeedError {
  return new FeedError({ path: `feed "${port.name}"`, problem: 'missing', expected: printType(port), got: 'nothing' });
}
