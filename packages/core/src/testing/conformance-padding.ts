// Padding: the results of real positions do not depend on the amount of padding, its side or its contents.

import { subDims } from '../dim/dim';
import { ConfigError, ShapeError } from '../error';
import type { Assumption } from '../ir/assumption';
import type { Graph } from '../ir/graph';
import type { BlockInputs } from '../module/kinds';
import { finitePadding } from '../sequence/padding';
import type { NDArray } from '../tensor/tensor';
import { compare } from './close';
import { taken } from './conformance-properties';
import { computeExample, type Example, type Feeds, feedsFor, sizesOf, traceExample, valuesNamed } from './example';
import { randomNumbers } from './random';
import { spoiled } from './spoiled';

/** How a batch is padded. */
interface Side {
  readonly name: string;
  readonly inputs: BlockInputs;
  /** The mask of sequences with these numbers of real positions, for a padded length. */
  readonly mask: (real: readonly number[], width: number) => Feeds;
  /** Amount of padding before so many real positions. */
  readonly before: (real: number, width: number) => number;
}

const sides: readonly Side[] = [
  {
    name: 'on the right, by lengths',
    inputs: { lengths: { dtype: 'int64', dims: ['batch'] } },
    mask: (real) => ({ lengths: { dtype: 'int64', dims: [real.length], data: Float64Array.from(real) } }),
    before: () => 0,
  },
  ...[true, false].map((left): Side => {
    const before = (real: number, width: number): number => (left ? width - real : 0);
    return {
      name: `on the ${left ? 'left' : 'right'}, by an attention_mask`,
      inputs: { attention_mask: { dtype: 'bool', dims: ['batch', 'seq'] } },
      mask(real, width) {
        const data = real.flatMap((n) =>
          Array.from({ length: width }, (_, i) => Number(i >= before(n, width) && i < before(n, width) + n)),
        );
        return { attention_mask: { dtype: 'bool', dims: [real.length, width], data: Float64Array.from(data) } };
      },
      before,
    };
  }),
];

/** What padded positions contain. A model that assumes finite numbers there must not depend on them; any other model takes anything. */
const contents = [
  { name: 'finite numbers', assumptions: [finitePadding], anything: false },
  { name: 'NaN and infinities', assumptions: [], anything: true },
] as const;

// Sums are computed in another order, and constants are float32.
const rounding = { atol: 1e-5, rtol: 1e-5 };

/**
 * Checks that an example computes the same for real positions without padding and with several amounts of it, on each side that it supports. A block that
 * reproduces another library (an option `compat`) is not checked: it may depend on padding.
 *
 * @throws Error that names the side, the widths and the output
 */
export function checkPadding(e: Example): void {
  if (valuesNamed(e.config, 'compat').length || !Object.values(e.inputs).some(({ dims }) => dims.includes('seq'))) return;
  for (const side of sides) for (const content of contents) checkSide(e, side, content);
}

function checkSide(e: Example, side: Side, { name, assumptions, anything }: (typeof contents)[number]): void {
  const graph = tracedOrRefused(e, side, assumptions);
  if (!graph) return;
  const where = { side, text: `${side.name}, with ${name} in it` };
  const plain = traceExample(e.module, e.inputs);
  for (const rows of [7, 2].filter((n) => n < e.longest)) {
    const widths = [...new Set([1, 6].map((more) => Math.min(rows + more, e.longest)))];
    const sizes = { ...sizesOf(e), seq: rows };
    const real = Array.from({ length: sizesOf(e).batch ?? 1 }, () => rows);
    const ragged = real.map((n, b) => (b % 2 ? Math.ceil(n / 2) : n));
    const feeds = feedsFor(e.inputs, sizes);
    const padded = (lengths: readonly number[], width: number) => {
      const fed = { ...widened(e.inputs, feeds, lengths, side, width), ...side.mask(lengths, width) };
      const given = anything ? spoiled(e.inputs, fed) : fed;
      return { results: computeExample(e.module, graph, given, { ...sizes, seq: width }), width };
    };
    const unpadded = { results: computeExample(e.module, plain, feeds, sizes), width: rows };
    for (const width of widths) {
      same(graph, where, real, unpadded, padded(real, width));
      same(graph, where, ragged, padded(ragged, rows), padded(ragged, width));
    }
  }
}

/** What a comparison is about, for its error. */
interface Where {
  readonly side: Side;
  readonly text: string;
}

interface Run {
  readonly results: Readonly<Record<string, NDArray>>;
  readonly width: number;
}

function same(graph: Graph, { side, text }: Where, real: readonly number[], expected: Run, got: Run): void {
  for (const { name, value } of graph.outputs) {
    // Prefix tokens may shift the positions of the input; a bias has an axis of keys too.
    const axes = value.dims.flatMap((d, axis) => {
      const inFront = subDims(d, 'seq');
      return typeof inFront === 'number' ? [{ axis, inFront }] : [];
    });
    const realRows = ({ results, width }: Run, b: number): NDArray => {
      const x = value.dims[0] === 'batch' ? taken(results[name]!, 0, [b]) : results[name]!;
      const rows = Array.from({ length: real[b]! }, (_, i) => side.before(real[b]!, width) + i);
      return axes.reduce(
        (y, { axis, inFront }) =>
          taken(
            y,
            axis,
            rows.map((row) => inFront + row),
          ),
        x,
      );
    };
    real.forEach((_, b) => {
      const { close, error, index } = compare(realRows(got, b), realRows(expected, b), rounding);
      if (close) return;
      const widths = `${expected.width} and ${got.width} rows`;
      throw new Error(
        `padding ${text}: ${name} of sequence ${b} (${real[b]} real of ${widths}) differs by ${error} at [${index.join(', ')}]`,
      );
    });
  }
}

/** The same positions, with padding around them that must have no influence. */
function widened(inputs: BlockInputs, feeds: Feeds, real: readonly number[], side: Side, width: number): Feeds {
  const numbers = randomNumbers(`padding of ${width}`);
  const entries = Object.entries(inputs).map(([name, { dims, dtype, below = 2 }]) => {
    const x = feeds[name]!;
    const axis = dims.indexOf('seq');
    if (axis < 0) return [name, x] as const;
    const rows = x.dims[axis]!;
    const inner = x.dims.slice(axis + 1).reduce((a, b) => a * b, 1);
    const perBatch = x.data.length / (rows * inner) / real.length;
    const data = new Float64Array((x.data.length / rows) * width);
    for (let i = 0; i < data.length; i++) {
      const outer = Math.floor(i / (width * inner));
      const b = Math.floor(outer / perBatch);
      const row = (Math.floor(i / inner) % width) - side.before(real[b]!, width);
      const noise = dtype === 'int64' ? Math.floor(numbers() * below) : 20 * numbers() - 10;
      data[i] = row >= 0 && row < real[b]! ? x.data[(outer * rows + row) * inner + (i % inner)]! : noise;
    }
    return [name, { dtype, dims: x.dims.with(axis, width), data }] as const;
  });
  return Object.fromEntries(entries);
}

function tracedOrRefused(e: Example, { inputs }: Side, assumptions: readonly Assumption[]): Graph | undefined {
  try {
    return traceExample(e.module, { ...e.inputs, ...inputs }, { assumptions });
  } catch (error) {
    if (error instanceof ConfigError || error instanceof ShapeError) return undefined;
    throw error;
  }
}
