// Tests of the properties that a block declares.
import type { Property } from '../block/block-definition';
import { OnnxformersError } from '../error';
import { type Graph, nameOf } from '../ir/graph';
import type { NDArray } from '../tensor/tensor';
import { compare } from './close';
import { computeExample, type Example, type Feeds, feedsFor, type Sizes, sizesOf, traceExample } from './example';
import { checkLinearGrowth } from './linear-growth';

/** Each test changes inputs and checks which outputs change. */
interface Experiment {
  readonly e: Example;
  readonly graph: Graph;
  readonly sizes: Sizes;
  readonly feeds: Feeds;
  readonly before: Readonly<Record<string, NDArray>>;
}

/**
 * Checks one declared property of an example.
 *
 * @throws Error that names the output that violates it
 */
export function checkProperty(e: Example, property: Property): void {
  const sizes = sizesOf(e);
  const feeds = feedsFor(e.inputs, sizes);
  const graph = traceExample(e.module, e.inputs);
  experiments[property]({ e, graph, sizes, feeds, before: computeExample(e.module, graph, feeds, sizes) }, property);
}

const experiments: Readonly<Record<Property, (x: Experiment, property: Property) => void>> = {
  batchIndependent(x, property) {
    const changed = changedFeeds(x, 'batch', (row) => row > 0);
    sameWhere(x, changed, 'batch', (row) => row === 0, property);
  },
  causal(x, property) {
    const [last, here] = [x.sizes.seq! - 1, Math.floor(x.sizes.seq! / 2)];
    const changed = changedFeeds(x, 'seq', (row) => row > here);
    if (here >= last) throw new Error('causal cannot be seen in a sequence of one');
    sameWhere(x, changed, 'seq', (row) => row <= here, property);
  },
  permutationEquivariant(x, property) {
    const order = Array.from({ length: x.sizes.seq! }, (_, i) => (i * 2 + 1) % x.sizes.seq!);
    const permuted = Object.fromEntries(
      Object.entries(x.feeds).map(([name, feed]) => [name, taken(feed, x.e.inputs[name]!.dims.indexOf('seq'), order)]),
    );
    const after = computeExample(x.e.module, x.graph, permuted, x.sizes);
    for (const { name, value } of x.graph.outputs) {
      const expected = taken(x.before[name]!, axisNamed(value.dims, 'seq', name), order);
      expectSame(after[name]!, expected, `${property}: ${name}`);
    }
  },
  fixedLength({ e }, property) {
    const seq = e.longest + 1;
    if (!Number.isFinite(seq)) throw new Error(`${property}: the config has no seqLen`);
    const sizes = { ...sizesOf(e), seq };
    for (const known of [sizes, undefined]) {
      const run = () => computeExample(e.module, traceExample(e.module, e.inputs, {}, known), feedsFor(e.inputs, sizes), sizes);
      if (!(refusalOf(run) instanceof OnnxformersError))
        throw new Error(`${property}: a sequence of ${seq} rows was not refused`);
    }
  },
  deterministic({ graph }, property) {
    const drawn = graph.inputs.find((v) => v.leaf?.kind === 'draw');
    if (drawn) throw new Error(`${property}: it draws ${nameOf(drawn)}`);
  },
  linear: ({ e }) => checkLinearGrowth(e),
};

function refusalOf(f: () => unknown): unknown {
  try {
    f();
    return undefined;
  } catch (error) {
    return error;
  }
}

/** Other data at the indices of an axis that `which` selects; feeds without the axis do not change. */
export function changedFeeds(
  { e, sizes, feeds }: Pick<Experiment, 'e' | 'sizes' | 'feeds'>,
  axisName: string,
  which: (row: number) => boolean,
): Feeds {
  const others = feedsFor(e.inputs, sizes, ' changed');
  return Object.fromEntries(
    Object.entries(feeds).map(([name, feed]) => {
      const axis = e.inputs[name]!.dims.indexOf(axisName);
      if (axis < 0) return [name, feed];
      const data = feed.data.map((v, i) => (which(coordinate(feed.dims, axis, i)) ? others[name]!.data[i]! : v));
      return [name, { ...feed, data }];
    }),
  );
}

// Checks that these positions do not change and that others do: an output that never changes would prove nothing.
function sameWhere(x: Experiment, changed: Feeds, axisName: string, which: (row: number) => boolean, property: Property): void {
  const after = computeExample(x.e.module, x.graph, changed, x.sizes);
  let moved = false;
  for (const { name, value } of x.graph.outputs) {
    const axis = axisNamed(value.dims, axisName, name);
    const rows = Array.from({ length: x.before[name]!.dims[axis]! }, (_, i) => i);
    const kept = rows.filter(which);
    expectSame(taken(after[name]!, axis, kept), taken(x.before[name]!, axis, kept), `${property}: ${name}`);
    moved ||= !compare(after[name]!, x.before[name]!).close;
  }
  if (!moved) throw new Error(`${property}: changed data changed no output`);
}

function axisNamed(dims: readonly unknown[], axisName: string, output: string): number {
  const axis = dims.indexOf(axisName);
  if (axis < 0) throw new Error(`${output} [${dims.join(', ')}] has no axis ${axisName}`);
  return axis;
}

function expectSame(got: NDArray, expected: NDArray, what: string): void {
  const { close, error, index } = compare(got, expected, { atol: 1e-9, rtol: 1e-9 });
  if (!close) throw new Error(`${what} changes by ${error} at [${index.join(', ')}]`);
}

/** The index on one axis of the element at a row-major index. */
export function coordinate(dims: readonly number[], axis: number, index: number): number {
  const behind = dims.slice(axis + 1).reduce((a, b) => a * b, 1);
  return Math.floor(index / behind) % dims[axis]!;
}

/** Elements of an axis in the requested order; x itself if it does not have the axis. */
export function taken(x: NDArray, axis: number, rows: readonly number[]): NDArray {
  if (axis < 0) return x;
  const behind = x.dims.slice(axis + 1).reduce((a, b) => a * b, 1);
  const before = x.dims.slice(0, axis).reduce((a, b) => a * b, 1);
  const dims = x.dims.with(axis, rows.length);
  const data = new Float64Array(before * rows.length * behind);
  for (let n = 0; n < before; n++)
    rows.forEach((row, i) => {
      const from = (n * x.dims[axis]! + row) * behind;
      data.set(x.data.subarray(from, from + behind), (n * rows.length + i) * behind);
    });
  return { ...x, dims, data };
}
