// Feeds: checked against the signature before the runtime reads them, and completed by derived inputs. In this order:
//
// 1. each feed against its port: name, dtype, dims, elements (fits, checkFeed)
// 2. missing feeds: only those that the runner computes may be missing, and past_key_values are fed all or none (checkPasts)
// 3. size names are bound by the dims of feeds (bind); a past that is not fed is empty, which determines its size (emptyPast)
// 4. the limits of the signature on what was fed: ids within tables, lengths within sequences (checkLimits)
// 5. derived inputs (derived), and the limits on those
//
// Everything that depends only on the signature is prepared once, because nothing here may cost as much as a kernel. Ports are selected by role, `derived`, `draw` and `parameter`, never by names.

import type { Port, Signature } from '../compile/compile';
import { type Dim, evaluateDim, namesOfDim } from '../dim/dim';
import { describe, FeedError } from '../error';
import { bindSizes } from '../interpret/bind';
import { checkLimits } from '../interpret/limits';
import { printType } from '../ir/define-op';
import { isPastRole, type Limit } from '../ir/graph';
import { derivedTensor } from '../sequence/derive';
import { toTensor } from '../tensor/convert';
import { arrayOf, bytesOf, countOf, type Tensor, type TensorData } from '../tensor/tensor';
import { checkFeed, missing, pathOf, unknownFeed } from './check-feed';
import { numbersOf, sameNumbers } from './numbers';
import { bitsOf, isOrtTensor, type OrtTensor, viewOf } from './ort';

/** Tensors by input name. A tensor of the runtime is taken as it is, also one on a GPU. */
export type Feeds<I extends string = string> = string extends I
  ? Readonly<Record<string, Tensor | OrtTensor>>
  : { readonly [N in I]?: Tensor | OrtTensor };

/** Feeds that were checked. */
export interface CheckedFeeds {
  readonly tensors: Record<string, Tensor>;
  /** Feeds that are tensors of the runtime. */
  readonly handed: ReadonlyMap<string, OrtTensor>;
  /** Those whose elements are elsewhere, so that nothing here can read them; their arrays in `tensors` are empty. */
  readonly away: ReadonlySet<string>;
  readonly sizes: Map<string, number>;
}

/** The checks of a signature. */
export interface FeedTable {
  /**
   * Checks feeds by name, dtype and sizes.
   *
   * Throws   FeedError for a feed that is missing, unknown, of another dtype, of the wrong number of elements, or whose sizes contradict another's
   */
  check(feeds: Feeds): CheckedFeeds;
  /**
   * Checks feeds and adds missing ones that can be computed: derived inputs, empty pasts before the first call. The number of the run comes later, by
   * {@link FeedTable.number}.
   *
   * Throws   FeedError as `check`, and for numbers outside the limits of the signature
   */
  complete(feeds: Feeds): CheckedFeeds;
  /** Adds the number of the run, where the model draws by it. */
  number(tensors: Record<string, Tensor>, run: number): void;
}

/** A port with the values that its feed is compared with. */
interface Prepared {
  readonly port: Port;
  readonly array: ReturnType<typeof arrayOf>;
  /** For each axis that is not a number: its names, none where the size is itself a name. */
  readonly axes: readonly { readonly axis: number; readonly dim: string; readonly names?: readonly string[] }[];
}

function preparedOf(port: Port): Prepared {
  const axes = port.dims.flatMap((dim, axis) => {
    if (typeof dim === 'number') return [];
    const names = namesOfDim(dim);
    return [names[0] === dim ? { axis, dim } : { axis, dim, names }];
  });
  return { port, array: arrayOf(port.dtype), axes };
}

/** A derived input as it was made last. */
interface Kept {
  readonly from: readonly ArrayLike<number>[];
  readonly sizes: ReadonlyMap<Dim, number>;
  readonly tensor: Tensor;
}

/** Prepares the checks of a signature. */
export function prepareFeeds(signature: Signature): FeedTable {
  const all = signature.inputs.map(preparedOf);
  const names = new Set(signature.inputs.map((p) => p.name));
  const { limits = [] } = signature;
  const kept = new Map<string, Kept>();

  const check = (feeds: Feeds): CheckedFeeds => {
    if (typeof feeds !== 'object' || feeds === null)
      throw new FeedError({
        path: 'feeds',
        problem: 'not feeds',
        expected: 'an object with a tensor for each input',
        got: describe(feeds),
      });
    for (const name of Object.keys(feeds)) if (!names.has(name)) throw unknownFeed(name, signature);
    const tensors: Record<string, Tensor> = {};
    const handed = new Map<string, OrtTensor>();
    const away = new Set<string>();
    const given: Prepared[] = [];
    for (const one of all) {
      const { name, dtype } = one.port;
      const feed = Object.hasOwn(feeds, name) ? feeds[name] : undefined;
      if (feed === undefined) continue;
      let tensor = feed as Tensor;
      if (isOrtTensor(feed)) {
        handed.set(name, feed);
        if (feed.location !== undefined && feed.location !== 'cpu') away.add(name);
        tensor = viewOf(feed);
      }
      if (!fits(one, tensor, away.has(name))) checkFeed(one.port, tensor);
      tensors[name] = dtype === 'float16' ? { ...tensor, data: bitsOf(tensor.data) } : tensor;
      given.push(one);
    }
    if (given.length < all.length) {
      const absent = signature.inputs.filter((p) => !tensors[p.name]);
      for (const port of absent) if (!port.derived && !isPast(port)) throw missing(port);
      checkPasts(
        given.map(({ port }) => port),
        absent,
      );
    }
    return { tensors, handed, away, sizes: bind(given, tensors) };
  };

  const derived = (port: Port, { tensors, away, sizes }: CheckedFeeds): Tensor => {
    const { how, from: names, plus = 0, pool } = port.derived!;
    // past_lengths of a growing cache is its size; a cache of fixed capacity is empty before the first call.
    if (how === 'past_lengths') {
      const dims = port.dims.map((d) => evaluateDim(d, sizes));
      return toTensor({ dtype: port.dtype, dims, data: new Float64Array(countOf(dims)).fill(evaluateDim(plus, sizes)) });
    }
    const elsewhere = names.find((name) => away.has(name));
    if (elsewhere !== undefined)
      throw new FeedError({
        path: pathOf(elsewhere),
        problem: `the runner cannot read it, but derives "${port.name}" from it`,
        expected: 'a tensor in CPU memory',
        got: 'a tensor in other memory',
        hint: `Feed "${port.name}" too, or this one from the CPU`,
      });
    const from = names.map((name) => numbersOf(tensors[name]!));
    const last = kept.get(port.name);
    // By their contents: an array may have been written to since.
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
    kept.set(port.name, { from: from.map((numbers) => Float64Array.from(numbers)), sizes: asked, tensor });
    return tensor;
  };

  const complete = (feeds: Feeds): CheckedFeeds => {
    const checked = check(feeds);
    const { tensors, away, sizes } = checked;
    const absent = signature.inputs.filter((p) => !tensors[p.name]);
    for (const port of absent) if (isPast(port)) tensors[port.name] = emptyPast(port, sizes);
    const made = new Set(absent.filter((p) => !isPast(p)).map((p) => p.name));
    const read = new Map<string, { readonly dims: readonly number[]; readonly data: ArrayLike<number> }>();
    const numbersAt = (input: string) => {
      const tensor = tensors[input];
      if (!tensor || away.has(input)) return undefined;
      const known = read.get(input) ?? { dims: tensor.dims, data: numbersOf(tensor) };
      read.set(input, known);
      return known;
    };
    const limit = (some: readonly Limit[]): void =>
      checkLimits(some, numbersAt, sizes, pathOf, (size) => inputWith(signature, size));
    const isMade = ({ input }: Limit): boolean => input !== undefined && made.has(input);
    limit(limits.filter((one) => !isMade(one)));
    for (const port of absent)
      if (made.has(port.name) && port.derived?.how !== 'run') tensors[port.name] = derived(port, checked);
    limit(limits.filter(isMade));
    return checked;
  };

  const counted = signature.inputs.filter((p) => p.derived?.how === 'run');
  const number = (tensors: Record<string, Tensor>, run: number): void => {
    for (const { name, dtype } of counted) tensors[name] ??= toTensor({ dtype, dims: [], data: Float64Array.of(run) });
  };
  return { check, complete, number };
}

const isPast = ({ role }: Port): boolean => isPastRole(role);
const isMemory = ({ role }: Port): boolean => role === 'pastMemory';

// The fast path of a few comparisons. checkFeed accepts or reports everything else.
function fits({ port, array }: Prepared, feed: Tensor, away: boolean): boolean {
  if (typeof feed !== 'object' || feed === null || feed.dtype !== port.dtype) return false;
  const { dims, data } = feed;
  if (!Array.isArray(dims) || dims.length !== port.dims.length) return false;
  let count = 1;
  for (const size of dims) {
    if (!Number.isSafeInteger(size) || size < 0) return false;
    count *= size;
  }
  return away || (data instanceof array && data.byteLength === bytesOf(port.dtype, count));
}

/** The value of each size name. */
function bind(given: readonly Prepared[], tensors: Readonly<Record<string, Tensor>>): Map<string, number> {
  return quickly(given, tensors) ?? thoroughly(given, tensors);
}

// Plain names first, then the sizes made of them; undefined where something does not agree, or a name has to be solved for.
function quickly(given: readonly Prepared[], tensors: Readonly<Record<string, Tensor>>): Map<string, number> | undefined {
  const sizes = new Map<string, number>();
  for (const { port, axes } of given) {
    const { dims } = tensors[port.name]!;
    for (let i = 0; i < dims.length; i++) {
      const dim = port.dims[i]!;
      if (typeof dim === 'number' && dim !== dims[i]) return undefined;
    }
    for (const { axis, dim, names } of axes) {
      if (names) continue;
      const known = sizes.get(dim);
      if (known === undefined) sizes.set(dim, dims[axis]!);
      else if (known !== dims[axis]) return undefined;
    }
  }
  for (const { port, axes } of given)
    for (const { axis, dim, names } of axes) {
      if (!names) continue;
      if (!names.every((name) => sizes.has(name)) || evaluateDim(dim, sizes) !== tensors[port.name]!.dims[axis]) return undefined;
    }
  return sizes;
}

function thoroughly(given: readonly Prepared[], tensors: Readonly<Record<string, Tensor>>): Map<string, number> {
  try {
    return bindSizes(given.map(({ port: { name, dims } }) => ({ name, dims, actual: tensors[name]!.dims })));
  } catch (error) {
    if (!(error instanceof FeedError)) throw error;
    const { problem, expected, got } = error;
    throw new FeedError({ path: pathOf(error.path), problem, ...(expected && { expected }), ...(got && { got }) });
  }
}

/**
 * The feeds with copies of what the caller may write to as soon as the run has been asked for: plain tensors, but those that an earlier run gave
 * to be fed again. Tensors of the runtime are its own.
 */
export function withCopies({ inputs }: Signature, { tensors, handed }: CheckedFeeds, feeds: Feeds): void {
  for (const { name, role } of inputs)
    if (feeds[name] !== undefined && !handed.has(name) && !isPastRole(role))
      tensors[name] = { ...tensors[name]!, data: tensors[name]!.data.slice() as TensorData };
}

// The best source for a size is the sequence itself.
function inputWith({ inputs }: Signature, size: Dim): string | undefined {
  const names = namesOfDim(size);
  const having = inputs.filter((p) => !p.derived && p.dims.some((d) => namesOfDim(d).some((name) => names.includes(name))));
  return (having.find((p) => p.role === 'sequence') ?? having[0])?.name;
}

// A call that continues another one feeds its whole state. The cache of a memory is independent of it.
function checkPasts(given: readonly Port[], absent: readonly Port[]): void {
  for (const kind of [(p: Port) => isPast(p) && !isMemory(p), (p: Port) => isPast(p) && isMemory(p)]) {
    const [one, lacking] = [given.find(kind), absent.find(kind)];
    if (one && lacking)
      throw new FeedError({
        path: pathOf(lacking.name),
        problem: 'missing',
        expected: `${printType(lacking)}, because "${one.name}" is given`,
        got: 'nothing',
        hint: 'Feed every present.* of the last call, or none before the first',
      });
  }
  const past = given.find((p) => isPast(p) && !isMemory(p));
  // The size of a growing cache is its past length; a cache of fixed capacity requires past_lengths.
  const pastLengths = absent.find((p) => p.derived?.how === 'past_lengths' && !p.derived.plus);
  if (past && pastLengths)
    throw new FeedError({
      path: pathOf(pastLengths.name),
      problem: 'missing',
      expected: `${printType(pastLengths)}: how many positions of "${past.name}" are in use`,
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
