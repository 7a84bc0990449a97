// Masks: a block supports each kind of mask or refuses it; masked positions must have no influence.

import type { MaskKinds } from '../block/block-definition';
import { subDims } from '../dim/dim';
import { ConfigError, ShapeError } from '../error';
import type { Graph } from '../ir/graph';
import { causal, maskClasses, slidingWindow } from '../mask/index';
import { type BlockInputs, kindOf } from '../module/kinds';
import { finitePadding } from '../sequence/padding';
import type { NDArray } from '../tensor/tensor';
import { compare } from './close';
import { changedFeeds, taken } from './conformance-properties';
import { computeExample, type Example, type Feeds, feedsFor, type Sizes, sizesOf, traceExample } from './example';
import type { TraceOptions } from './run-block';

/** A mask, and positions that it hides from others. */
interface Hiding {
  /** Its name, as a block declares it. */
  readonly kind: string;
  readonly inputs: BlockInputs;
  readonly feeds: (sizes: Sizes) => Feeds;
  readonly options?: TraceOptions;
  /** Positions whose data changes. */
  readonly hidden: (row: number, sizes: Sizes) => boolean;
  /** Positions whose results must not change. */
  readonly blind: (row: number, sizes: Sizes) => boolean;
  /** Only for blocks that mask each pair of query and key: the receptive field of several layers is larger. */
  readonly ofPairs?: boolean;
  /** Whether results for a whole sequence must not change either. */
  readonly pooled?: boolean;
}

const int64 = (data: readonly number[]): NDArray => ({ dtype: 'int64', dims: [data.length], data: Float64Array.from(data) });
const bools = (dims: readonly number[], f: (i: number) => boolean): NDArray => ({
  dtype: 'bool',
  dims,
  data: Float64Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => Number(f(i))),
});
const half = (sizes: Sizes): number => Math.ceil(sizes.seq! / 2);
const one = 1;

const hidings: readonly Hiding[] = [
  {
    kind: 'lengths',
    inputs: { lengths: { dtype: 'int64', dims: ['batch'] } },
    feeds: (sizes) => ({ lengths: int64(Array.from({ length: sizes.batch! }, () => half(sizes))) }),
    hidden: (row, sizes) => row >= half(sizes),
    blind: (row, sizes) => row < half(sizes),
    pooled: true,
  },
  {
    kind: 'keyPadding',
    inputs: { attention_mask: { dtype: 'bool', dims: ['batch', 'seq'] } },
    feeds: ({ batch, seq }) => ({ attention_mask: bools([batch!, seq!], (i) => i % seq! !== one) }),
    hidden: (row) => row === one,
    blind: (row) => row !== one,
    pooled: true,
  },
  {
    kind: 'dense',
    inputs: { attention_mask: { dtype: 'bool', dims: [1, 1, 'seq', 'seq'] } },
    feeds: ({ seq }) => ({ attention_mask: bools([1, 1, seq!, seq!], (i) => i % seq! !== one) }),
    hidden: (row) => row === one,
    blind: (row) => row !== one,
  },
  {
    kind: 'causal',
    inputs: {},
    feeds: () => ({}),
    options: { mask: causal },
    hidden: (row, sizes) => row >= half(sizes),
    blind: (row, sizes) => row < half(sizes),
  },
  {
    kind: 'window',
    inputs: {},
    feeds: () => ({}),
    options: { mask: slidingWindow({ left: 1, right: 1 }) },
    hidden: (row) => row === 0,
    blind: (row) => row > 1,
    ofPairs: true,
  },
];

/**
 * Checks each kind of mask on an example: it is applied, or refused with a ConfigError unless the block declares it.
 *
 * @throws Error that names the mask and the output that depends on masked positions
 */
export function checkMaskKinds(e: Example): void {
  if (!Object.values(e.inputs).some(({ dims }) => dims.includes('seq'))) return;
  for (const hiding of hidings) if (!hiding.ofPairs || kindOf(e.module)?.masks === 'pairs') checkHiding(e, hiding);
}

function checkHiding(e: Example, hiding: Hiding): void {
  const { masks: told } = e.block.definition;
  const masks: MaskKinds | undefined = typeof told === 'function' ? told(e.module.about.config as never) : told;
  const declared: readonly string[] | undefined = masks === 'all' ? Object.keys(maskClasses) : masks;
  const graph = tracedOrRefused(e, hiding);
  if (!graph) {
    if (declared?.includes(hiding.kind)) throw new Error(`${hiding.kind}: declared, but refused`);
    return;
  }
  if (declared && !declared.includes(hiding.kind)) throw new Error(`${hiding.kind}: not declared, but not refused`);
  const sizes = sizesOf(e);
  const masking = hiding.feeds(sizes);
  const feeds = feedsFor(e.inputs, sizes);
  const changed = changedFeeds({ e, sizes, feeds }, 'seq', (row) => hiding.hidden(row, sizes));
  const run = (fed: Feeds) => computeExample(e.module, graph, { ...fed, ...masking }, sizes);
  const [before, after] = [run(feeds), run(changed)];
  for (const { name, value } of graph.outputs) {
    // Scores of pairs have two: attention masks those of hidden keys afterwards, whatever they are.
    const axes = value.dims.flatMap((d, axis) => (typeof subDims(d, 'seq') === 'number' ? [axis] : []));
    if (!axes.length && !hiding.pooled) continue;
    const blind = Array.from({ length: sizes.seq! }, (_, i) => i).filter((row) => hiding.blind(row, sizes));
    const visible = (array: NDArray): NDArray =>
      axes.reduce((part, axis) => {
        // A prefix token shifts the positions of the input by one.
        const inFront = subDims(value.dims[axis]!, 'seq') as number;
        return taken(
          part,
          axis,
          blind.map((row) => row + inFront),
        );
      }, array);
    const [x, y] = [visible(before[name]!), visible(after[name]!)];
    const { close, error, index } = compare(y, x, { atol: 1e-9, rtol: 1e-9 });
    if (!close)
      throw new Error(`${hiding.kind}: ${name} changes by ${error} at [${index.join(', ')}] with what is hidden from it`);
  }
}

function tracedOrRefused(e: Example, { inputs, options }: Hiding): Graph | undefined {
  try {
    // What a block itself does with padding that it reads.
    return traceExample(e.module, { ...e.inputs, ...inputs }, { ...options, assumptions: [finitePadding] });
  } catch (error) {
    if (error instanceof ConfigError || error instanceof ShapeError) return undefined;
    throw error;
  }
}
