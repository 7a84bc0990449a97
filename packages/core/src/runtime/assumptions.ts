// The assumptions that a model was compiled on, checked in every run.
import type { Port, Signature } from '../compile/compile';
import { ConfigError, describe, FeedError, nearest } from '../error';
import { type Assumption, assumptions as known } from '../ir/assumption';
import { isPastRole } from '../ir/graph';
import { finitePadding } from '../sequence/padding';
import type { DType, Tensor } from '../tensor/tensor';
import { type CheckedFeeds, pathOf } from './check-feed';
import { finitePaddingCheck } from './finite-padding';
import { numbersOf } from './numbers';
import { isAway } from './ort';

type Check = (feeds: CheckedFeeds) => void;

/**
 * Prepares the checks of assumptions. The result refuses feeds that break one:
 *
 * - `prefill into empty cache`: several new tokens only while the cache is empty, or for a batch of one
 * - `no empty sequences`: each query has a key that it may attend to, according to the lengths, paddings and dense masks of the sequences and of the memory
 *   together; causal masks and windows are not considered
 * - `finite padding`: padded positions contain finite numbers (see `finitePaddingCheck`)
 *
 * Throws   ConfigError for an assumption that is none of these · (the result) FeedError
 *
 * @param isResult whether a tensor was returned by an earlier run
 */
export function prepareAssumptions(
  assumptions: readonly Assumption[],
  { inputs }: Signature,
  isResult: (t: Tensor) => boolean,
): Check {
  const checks = assumptions.map((name) => {
    if (!Object.hasOwn(prepared, name)) throw unknownAssumption(name);
    return prepared[name](inputs, isResult);
  });
  return (feeds) => {
    for (const check of checks) check(feeds);
  };
}

function unknownAssumption(name: string): ConfigError {
  const near = nearest(name, known);
  return new ConfigError({
    path: 'assumptions',
    problem: 'the model was compiled on an assumption that the runner cannot check',
    expected: known.map((each) => describe(each)).join(' or '),
    got: describe(name),
    hint: near ? `Did you mean "${near}"?` : 'Update onnxformers',
  });
}

const prepared: Readonly<Record<Assumption, (inputs: readonly Port[], isResult: (t: Tensor) => boolean) => Check>> = {
  'prefill into empty cache': prefillIntoEmptyCache,
  'no empty sequences': noEmptySequences,
  [finitePadding]: finitePaddingCheck,
};

// ---- prefill into empty cache ---------------------------------------------------------------------------------------

function prefillIntoEmptyCache(inputs: readonly Port[]): Check {
  const packed = inputs.find(({ derived }) => derived?.how === 'tokenOffset')?.derived?.from[0];
  const sequence = inputs.findIndex(({ name, role, dims }) =>
    packed === undefined ? role === 'sequence' && dims.length >= 2 : name === packed,
  );
  if (sequence < 0) return () => {};
  const sizesOf = (feeds: CheckedFeeds): readonly [batch: number, seq: number] => {
    const { dims } = feeds.tensors[sequence]!;
    if (packed === undefined) return [dims[0]!, dims[dims.length === 4 ? 2 : 1]!];
    return [dims[0]!, Array.from(arrayAt(sequence, feeds)?.data ?? []).reduce((most, n) => Math.max(most, Number(n)), 0)];
  };
  return (feeds) => {
    const [batch, seq] = sizesOf(feeds);
    if (batch <= 1 || seq <= 1 || !inputs.some((port, at) => holdsRows(port, at, feeds))) return;
    throw new FeedError({
      path: pathOf(inputs[sequence]!.name),
      problem: "the model was compiled on the assumption 'prefill into empty cache'",
      expected: 'one new token for each sequence if the cache is not empty',
      got: `${seq} new tokens for each of ${batch} sequences`,
      hint: 'Compile without the assumption',
    });
  };
}

function holdsRows(port: Port, at: number, feeds: CheckedFeeds): boolean {
  if (port.derived?.how === 'past_lengths') return Array.from(arrayAt(at, feeds)?.data ?? []).some((n) => n !== 0);
  return port.role === 'pastKeyValue' && typeof port.dims[2] === 'string' && (feeds.tensors[at]!.dims[2] ?? 0) > 0;
}

// ---- no empty sequences ---------------------------------------------------------------------------------------------

function noEmptySequences(inputs: readonly Port[]): Check {
  const cached = inputs.some(({ role, derived }) => isPastRole(role) || derived?.how === 'past_lengths');
  const allLengths = inputs.flatMap(({ role }, at) => (role === 'lengths' || role === 'memoryLengths' ? [at] : []));
  const placesOf = (...roles: readonly Port['role'][]) =>
    roles.map((role) => inputs.findIndex((p) => p.role === role)).filter((at) => at >= 0);
  // With a cache, lengths count only the new positions, not all keys.
  const own = placesOf(...(cached ? [] : ['lengths' as const]), 'keyPadding', 'denseMask', 'additiveMask');
  const ofMemory = placesOf(...(cached ? [] : ['memoryLengths' as const]), 'memoryKeyPadding');
  return (feeds) => {
    const restrictions = (places: readonly number[]): Restriction[] =>
      places.flatMap((at) => {
        const array = arrayAt(at, feeds);
        const { name, role } = inputs[at]!;
        return array ? [{ name, role, array }] : [];
      });
    for (const at of allLengths) checkEach(inputs[at]!, arrayAt(at, feeds));
    checkTogether(restrictions(own));
    checkTogether(restrictions(ofMemory));
  };
}

interface Restriction {
  readonly name: string;
  readonly role: Port['role'];
  readonly array: Numbers;
}

/** The elements of a feed as they are stored. */
interface Numbers {
  readonly dtype: DType;
  readonly dims: readonly number[];
  readonly data: ArrayLike<number>;
}

// A tensor in other memory cannot be checked.
function arrayAt(at: number, { tensors, handed }: CheckedFeeds): Numbers | undefined {
  const { dtype, dims } = tensors[at]!;
  return isAway(handed[at]) ? undefined : { dtype, dims, data: numbersOf(tensors[at]!) };
}

function checkEach(port: Port, array: Numbers | undefined): void {
  const empty = array ? Array.prototype.findIndex.call(array.data, (n: number) => n <= 0) : -1;
  if (empty >= 0) throw emptySequence([port.name], `none in sequence ${empty}`);
}

function checkTogether(all: readonly Restriction[]): void {
  const paddings = all.filter(({ array }) => array.dims.length === 2);
  const pairs = all.filter(({ array }) => array.dims.length === 4);
  const lengths = all.find(({ array }) => array.dims.length === 1)?.array;
  const keys = paddings[0]?.array.dims[1] ?? pairs[0]?.array.dims[3];
  if (keys === undefined) return;
  const axis = (at: number): number => Math.max(1, ...pairs.map(({ array }) => array.dims[at]!));
  const batch = Math.max(1, ...paddings.map(({ array }) => array.dims[0]!), axis(0), lengths?.dims[0] ?? 1);
  const [heads, rows] = [axis(1), axis(2)];
  const sees = (b: number, h: number, i: number, j: number): boolean =>
    (!lengths || j < lengths.data[b]!) &&
    paddings.every((r) => keeps(r, r.array.data[b * keys + j]!)) &&
    pairs.every((r) => keeps(r, r.array.data[placeIn(r.array.dims, [b, h, i, j])]!));
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++)
      for (let i = 0; i < rows; i++) {
        let j = 0;
        while (j < keys && !sees(b, h, i, j)) j++;
        if (j < keys) continue;
        const place = pairs.length ? `none for head ${h}, query ${i} of sequence ${b}` : `none in sequence ${b}`;
        throw emptySequence(
          all.map(({ name }) => name),
          place,
        );
      }
}

// The values of an additive mask that hide a key: half of the lowest number, and everything below.
const keeps = ({ role, array }: Restriction, n: number): boolean =>
  role === 'additiveMask' ? n > (array.dtype === 'float16' ? -65504 : -3.3e38) / 2 : n !== 0;

const placeIn = (dims: readonly number[], index: readonly number[]): number =>
  dims.reduce((at, size, axis) => at * size + (size === 1 ? 0 : index[axis]!), 0);

function emptySequence(names: readonly string[], got: string): FeedError {
  return new FeedError({
    path: names.map(pathOf).join(', '),
    problem: "the model was compiled on the assumption 'no empty sequences'",
    expected: 'a key that may be attended to',
    got,
    hint: 'Compile without the assumption',
  });
}
