// Feeds: checked against the signature before the runtime reads them, and completed by derived inputs. In this order:
//
// 1. each feed against its port: name, dtype, dims, elements (fits, checkFeed), and size names are bound by its dims (bindTo)
// 2. missing feeds: only those that the runner computes may be missing, and past_key_values are fed all or none (checkPasts)
// 3. plain feeds are copied; a past that is not fed is empty, which determines its size (emptyPast)
// 4. the limits of the signature on what was fed: ids within tables, lengths within sequences (prepareLimit)
// 5. derived inputs (prepareDerived), and the limits on those
//
// Everything that depends only on the signature is prepared once, because nothing here may cost as much as a kernel: a decoding step of 24 layers feeds 49 caches
// in a fraction of a millisecond. Feeds are in arrays, by the index of their input. Ports are selected by role, `derived`, `draw` and `parameter`, never by names.

import type { Port, Signature } from '../compile/compile';
import { type Dim, dimReader, namesOfDim } from '../dim/dim';
import { describe, FeedError } from '../error';
import { bindSizes } from '../interpret/bind';
import { type Numbers, prepareLimit } from '../interpret/limits';
import { isPastRole } from '../ir/graph';
import type { InputsByName } from '../sequence/named-ports';
import { toTensor } from '../tensor/convert';
import { arrayOf, bitsOf as bitsOfType, type Tensor } from '../tensor/tensor';
import { type CheckedFeeds, checkFeed, missing, pathOf, unknownFeed } from './check-feed';
import { type Copies, makeCopies } from './copies';
import { prepareDerived } from './derived-feeds';
import { numbersOf } from './numbers';
import { bitsOf, isAway, isOrtTensor, type OrtTensor, viewOf } from './ort';
import { checkPasts, emptyPast } from './past-feeds';

/** Tensors by input name. A tensor of the runtime is passed on without a copy, also one on a GPU. */
export type Feeds<I extends string = string> = string extends I
  ? Readonly<Record<string, Tensor | OrtTensor>>
  : Partial<InputsByName<I, Tensor | OrtTensor>>;

/** The checks of a signature. */
export interface FeedTable {
  /**
   * Checks feeds by name, dtype and sizes.
   *
   * Throws   FeedError for a feed that is missing, unknown, of another dtype, of the wrong number of elements, or whose sizes contradict another's
   */
  check(feeds: Feeds): CheckedFeeds;
  /**
   * Checks feeds and adds missing ones that can be computed: derived inputs, empty pasts before the first call. The run number is added later, by
   * {@link FeedTable.number}. Plain tensors are copied, so that the caller may write to them as soon as the run has been started, except those that an earlier run
   * returned to be fed again. Tensors of the runtime are not copied.
   *
   * Throws   FeedError as `check`, and for numbers outside the limits of the signature
   */
  complete(feeds: Feeds): CheckedFeeds;
  /** After a run: the copies of its feeds may be overwritten. */
  readonly release: Copies['release'];
  /** Adds the run number, if the model draws random numbers by it. */
  number(tensors: (Tensor | undefined)[], run: number): void;
}

/** A port with the data that its feed is compared with. */
interface Prepared {
  readonly port: Port;
  /** Its index in the signature. */
  readonly at: number;
  readonly array: ReturnType<typeof arrayOf>;
  readonly bits: number;
  /** For each axis: its size, or −1 − the index of its symbolic size. */
  readonly axes: readonly number[];
}

/** Prepares the checks of a signature. */
export function prepareFeeds(signature: Signature): FeedTable {
  const { inputs } = signature;
  // Sizes that are plain names come first, then expressions of names.
  const sizes = [...new Set(inputs.flatMap(({ dims }) => dims.filter((d) => typeof d === 'string')))];
  const sizeNames = sizes.filter((d) => namesOfDim(d)[0] === d);
  const composed = sizes.filter((d) => !sizeNames.includes(d));
  const symbolic = [...sizeNames, ...composed];
  const readers = composed.map((d) => dimReader(d));
  const all = inputs.map(
    (port, at): Prepared => ({
      port,
      at,
      array: arrayOf(port.dtype),
      bits: bitsOfType(port.dtype),
      axes: port.dims.map((d) => (typeof d === 'number' ? d : -1 - symbolic.indexOf(d))),
    }),
  );
  const byName = new Map(all.map((one) => [one.port.name, one]));
  const limits = (signature.limits ?? [])
    .filter(({ input }) => input === undefined || byName.has(input))
    .map((limit) => prepareLimit(limit, pathOf, (size) => inputWith(signature, size)));
  const pasts = all.filter(({ port }) => isPastRole(port.role));
  const others = all.filter(({ port }) => !isPastRole(port.role));
  const makers = others.flatMap(({ port, at }) =>
    port.derived && port.derived.how !== 'run' ? [{ at, make: prepareDerived(port, signature) }] : [],
  );
  // Sizes that only derived inputs have: the longest of packed sequences.
  const fedNames = new Set(all.flatMap(({ port }) => (port.derived ? [] : port.dims.flatMap(namesOfDim))));
  const isLate = (d: Dim | undefined): boolean => d !== undefined && namesOfDim(d).some((name) => !fedNames.has(name));
  const late = new Set(others.flatMap(({ port, at }) => (port.derived && port.dims.some(isLate) ? [at] : [])));
  const ofLateSizes = new Set(limits.flatMap(({ limit }) => ([limit.size, limit.min, limit.max].some(isLate) ? [limit] : [])));
  const numbered = others.filter(({ port }) => port.derived?.how === 'run');

  const copies = makeCopies();

  const check = (feeds: Feeds): CheckedFeeds => {
    if (typeof feeds !== 'object' || feeds === null)
      throw new FeedError({
        path: 'feeds',
        problem: 'not feeds',
        expected: 'an object with a tensor for each input',
        got: describe(feeds),
      });
    const tensors = new Array<Tensor | undefined>(all.length).fill(undefined);
    const handed = new Array<OrtTensor | undefined>(all.length).fill(undefined);
    const bound = new Array<number>(symbolic.length).fill(-1);
    let fed = 0;
    let agree = true;
    for (const name of Object.keys(feeds)) {
      const one = byName.get(name);
      if (!one) throw unknownFeed(name, signature);
      const feed = (feeds as Readonly<Record<string, unknown>>)[name];
      if (feed === undefined) continue;
      const own = isOrtTensor(feed) ? feed : undefined;
      const away = isAway(own);
      const tensor = own ? viewOf(own) : (feed as Tensor);
      if (!fits(one, tensor, away, bound)) {
        checkFeed(one.port, tensor, away);
        agree = false;
      }
      handed[one.at] = own;
      tensors[one.at] = withBits(tensor);
      fed++;
    }
    if (fed < all.length) {
      for (const { port, at } of others) if (!tensors[at] && !port.derived) throw missing(port);
      checkPasts(inputs, tensors);
    }
    return { tensors, handed, sizes: (agree && quickly(bound)) || thoroughly(inputs, tensors) };
  };

  // The value of each name; undefined if an expression has another value, or a name must be solved for.
  const quickly = (bound: readonly number[]): Map<string, number> | undefined => {
    const known = new Map<string, number>();
    for (let i = 0; i < sizeNames.length; i++) if (bound[i]! >= 0) known.set(sizeNames[i]!, bound[i]!);
    for (let i = 0; i < readers.length; i++) {
      const size = bound[sizeNames.length + i]!;
      if (size >= 0 && readers[i]!(known) !== size) return undefined;
    }
    return known;
  };

  const complete = (feeds: Feeds): CheckedFeeds => {
    const checked = check(feeds);
    const { tensors, handed, sizes } = checked;
    for (const { at } of others) if (tensors[at] && !handed[at]) tensors[at] = copies.copy(at, tensors[at]);
    for (const { port, at } of pasts) tensors[at] ??= emptyPast(port, sizes);
    const read = new Map<string, Numbers>();
    const numbersAt = (input: string): Numbers | undefined => {
      const { at } = byName.get(input)!;
      const tensor = tensors[at];
      if (!tensor || isAway(handed[at])) return undefined;
      const known = read.get(input) ?? {
        dims: tensor.dims,
        data: tensor.dtype === 'int64' ? (tensor.data as BigInt64Array) : numbersOf(tensor),
      };
      read.set(input, known);
      return known;
    };
    const isMade = ({ limit }: (typeof limits)[number]): boolean =>
      (limit.input !== undefined && tensors[byName.get(limit.input)!.at] === undefined) || ofLateSizes.has(limit);
    const later = limits.filter(isMade);
    for (const one of limits) if (!later.includes(one)) one.check(sizes, numbersAt);
    for (const { at, make } of makers) {
      const made = tensors[at] ?? make(checked);
      tensors[at] = made;
      const { name, dims } = inputs[at]!;
      // In the order of the inputs: one may depend on the sizes of an earlier one.
      if (late.has(at)) for (const [size, n] of bindSizes([{ name, dims, actual: made.dims }], [...sizes])) sizes.set(size, n);
    }
    for (const one of later) one.check(sizes, numbersAt);
    return checked;
  };

  const number = (tensors: CheckedFeeds['tensors'], run: number): void => {
    for (const { port, at } of numbered) tensors[at] ??= toTensor({ dtype: port.dtype, dims: [], data: Float64Array.of(run) });
  };
  return { check, complete, number, release: copies.release };
}

// The fast path of a few comparisons, which binds each symbolic size to that of the first feed that has it. Any other feed is accepted or
// reported by checkFeed and bindSizes.
function fits({ port, array, bits, axes }: Prepared, feed: Tensor, away: boolean, bound: number[]): boolean {
  if (typeof feed !== 'object' || feed === null || feed.dtype !== port.dtype) return false;
  const { dims, data } = feed;
  if (!Array.isArray(dims) || dims.length !== axes.length) return false;
  let count = 1;
  for (let i = 0; i < axes.length; i++) {
    const axis = axes[i]!;
    const size = dims[i];
    const expected = axis < 0 ? bound[-1 - axis]! : axis;
    if (expected < 0) {
      if (!Number.isSafeInteger(size) || size < 0) return false;
      bound[-1 - axis] = size;
    } else if (size !== expected) return false;
    count *= size;
  }
  return away || (data instanceof array && data.byteLength === Math.ceil((count * bits) / 8));
}

function thoroughly(inputs: readonly Port[], tensors: CheckedFeeds['tensors']): Map<string, number> {
  try {
    return bindSizes(inputs.flatMap(({ name, dims }, at) => (tensors[at] ? [{ name, dims, actual: tensors[at].dims }] : [])));
  } catch (error) {
    if (!(error instanceof FeedError)) throw error;
    const { problem, expected, got } = error;
    throw new FeedError({ path: pathOf(error.path), problem, ...(expected && { expected }), ...(got && { got }) });
  }
}

// If JavaScript has Float16Array, the elements of a feed may be in one.
const withBits = (t: Tensor): Tensor =>
  t.dtype !== 'float16' || t.data instanceof Uint16Array ? t : { ...t, data: bitsOf(t.data) };

// The best source for a size is the sequence itself.
function inputWith({ inputs }: Signature, size: Dim): string | undefined {
  const names = namesOfDim(size);
  const having = inputs.filter((p) => !p.derived && p.dims.some((d) => namesOfDim(d).some((name) => names.includes(name))));
  return (having.find((p) => p.role === 'sequence') ?? having[0])?.name;
}
