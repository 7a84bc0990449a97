// The same numbers in every layout: sequences packed, padded, and each by itself.
import type { AnyBlock } from '../block/block-definition';
import { type Dim, evaluateDim, namesOfDim } from '../dim/dim';
import { ConfigError, ShapeError } from '../error';
import { interpret } from '../interpret/interpret';
import type { Graph, Value } from '../ir/graph';
import { causal } from '../mask/index';
import type { BlockInputs } from '../module/kinds';
import { type AnyModule, module } from '../module/module';
import { standalone } from '../module/standalone';
import { attend, type SequenceContext, withContext } from '../sequence/context';
import { sequenceAxes } from '../sequence/inputs';
import { mergeHeads, splitHeads } from '../sequence/layout';
import { countOf, type NDArray } from '../tensor/tensor';
import { compare, printComparison } from './close';
import { derivedOf, drawsOf, type Example, exampleOf, type Feeds, feedsFor, valuesNamed } from './example';
import type { ParityOptions } from './parity';
import { randomParameters, traceBlock } from './run-block';
import { typesOf } from './variants';

/** What {@link layouts} is run with. */
export type LayoutsOptions = Pick<ParityOptions, 'describe' | 'it' | 'registry'> & {
  /** Why the results of an example depend on the other sequences of a batch, if they do: it is then not compared. */
  readonly dependent?: (example: Example) => string | undefined;
  /** Called with the layouts that each example refuses, for a snapshot, so that they cannot increase unnoticed. */
  readonly snapshot?: (refused: readonly string[]) => void;
};

/**
 * Registers tests that each example computes the same for sequences of different lengths, one of them empty, whether they are packed, padded to the longest with
 * lengths, or run one by one; also with a causal mask. A block that reproduces another library (an option `compat`) may depend on padding. Computed in float64, so the results differ by the order of sums and by constants of float32 alone.
 *
 * Example  layouts(zoo.blocks, { describe, it, registry: zoo });
 */
export function layouts(blocks: readonly AnyBlock[], { describe, it, registry, dependent, snapshot }: LayoutsOptions): void {
  const refused: string[] = [];
  for (const block of blocks)
    describe(`${block.kind} ${block.blockName}`, () => {
      block.definition.examples.forEach((_: unknown, index: number) => {
        for (const masked of ['', 'causal'] as const) {
          const name = `example ${index}${masked && `, ${masked}`}`;
          it(name, () => {
            const example = exampleOf(block, index, registry);
            const why = dependent?.(example);
            const refusals = why === undefined ? compareLayouts(example, masked === 'causal') : [`not compared: ${why}`];
            refused.push(...refusals.map((refusal) => `${block.kind} ${block.blockName}, ${name}: ${refusal}`));
          });
        }
      });
    });
  if (snapshot) it('refuses these layouts, and no others', () => snapshot(refused));
}

/** The axes of positions, and the lengths of each of the sequences along them. */
const lengthsOf = (longest: number): Readonly<Record<string, readonly number[]>> => ({
  seq: [Math.ceil(longest / 2), longest, 0, 1],
  memory_seq: [5, 2, 3, 7],
  decoder_seq: [3, 7, 0, 2],
});
const rounding = { atol: 2e-6, rtol: 2e-6 };

/** Compares the layouts that an example does not refuse; returns those that it does. */
function compareLayouts(example: Example, isCausal: boolean): readonly string[] {
  const m = overRows(example);
  const inputs = rowInputs(example);
  const axes = axesOf(inputs);
  if (!axes.length) return ['the inputs are not sequences'];
  const lengths = lengthsOf(Math.min(11, example.longest));
  const mask = isCausal ? { mask: causal } : {};
  const ofLengths: BlockInputs = Object.fromEntries(
    axes.map((axis) => [sequenceAxes[axis]!.lengths, { dtype: 'int64', dims: ['batch'] }]),
  );
  const packedInputs = Object.fromEntries(
    Object.entries(inputs).map(([name, { dims, ...input }]) => [
      name,
      { ...input, dims: [sequenceAxes[dims[1]!]?.packed ?? dims[1]!, ...dims.slice(2)] },
    ]),
  );
  const traced = (layout: 'packed' | 'padded', of: BlockInputs) => () => traceBlock(m, typesOf(of), { layout, ...mask });
  const alone = outcome(traced('padded', inputs));
  const packed = outcome(traced('packed', { ...packedInputs, ...ofLengths }));
  const padded = outcome(traced('padded', { ...inputs, ...ofLengths }));
  const refused = Object.entries({ alone, packed, padded }).flatMap(([name, o]) => (o.refusal ? [`${name}: ${o.refusal}`] : []));
  if (!alone.graph) return refused;
  const call: Call = { m, inputs, axes, lengths };
  const expected = runAlone(call, alone.graph);
  if (packed.graph) compareParts('packed', runPacked(call, packed.graph), expected);
  if (valuesNamed(example.config, 'compat').length)
    return [...refused, 'padded: not compared, since with `compat` it may depend on padding'];
  if (padded.graph) compareParts('padded', runPadded(call, padded.graph), expected);
  return refused;
}

function outcome(trace: () => Graph): { readonly graph?: Graph; readonly refusal?: string } {
  try {
    return { graph: trace() };
  } catch (error) {
    if (!(error instanceof ConfigError || error instanceof ShapeError)) throw error;
    return { refusal: `${error.name} at ${error.path}: ${error.problem}` };
  }
}

// ---- Blocks over rows ------------------------------------------------------------------------------------------------------

// Blocks of heads get their queries, keys and values from rows, as in multi-head attention.
function overRows({ block, module: m, inputs }: Example): AnyModule {
  const headsOf = (name: string): number => inputs[name]!.dims[1] as number;
  const call = m.forward as (...args: unknown[]) => unknown;
  const within = (f: (head: (name: string) => Value, ctx: SequenceContext) => Record<string, Value>): AnyModule =>
    module(m.children, (rows: Readonly<Record<string, Value>>, ctx: SequenceContext) => {
      const results = f((name) => splitHeads(rows[name]!, headsOf(name), ctx.layout), ctx);
      return Object.fromEntries(Object.entries(results).map(([name, y]) => [name, mergeHeads(y, ctx.layout)]));
    });
  switch (block.kind) {
    case 'attention':
      return within((head, ctx) => ({ y: call(head('q'), head('k'), head('v'), ctx) as Value }));
    case 'rotaryEmbedding':
      return within((head, ctx) => {
        const [q, k] = call(head('q'), head('k'), ctx) as readonly [Value, Value];
        return { q, k };
      });
    case 'attentionBias':
      return within((head, ctx) => {
        const [q, k] = [head('q'), head('k')];
        return { y: attend(q, k, k, withContext(ctx, { bias: call(q, k, ctx) as Value })) };
      });
    default:
      return standalone(m);
  }
}

// [batch, heads, seq, head_dim] as rows [batch, seq, heads · head_dim].
function rowInputs({ block, inputs }: Example): BlockInputs {
  const ofHeads = ['attention', 'rotaryEmbedding', 'attentionBias'].includes(block.kind);
  if (!ofHeads) return inputs;
  return Object.fromEntries(
    Object.entries(inputs).map(
      ([
        name,
        {
          dims: [batch, heads, seq, width],
          ...input
        },
      ]) => [name, { ...input, dims: [batch!, seq!, (heads as number) * (width as number)] }],
    ),
  );
}

// Empty unless all inputs are sequences.
function axesOf(inputs: BlockInputs): readonly string[] {
  const axes = Object.values(inputs).map(({ dims: [batch, axis] }) =>
    batch === 'batch' && typeof axis === 'string' && Object.hasOwn(sequenceAxes, axis) ? axis : undefined,
  );
  return axes.includes(undefined) ? [] : [...new Set(axes as string[])];
}

// ---- Running ---------------------------------------------------------------------------------------------------------------

interface Call {
  readonly m: AnyModule;
  readonly inputs: BlockInputs;
  readonly axes: readonly string[];
  readonly lengths: Readonly<Record<string, readonly number[]>>;
}
/** The results of each sequence; undefined for a sequence that was not run. */
type Parts = Readonly<Record<string, readonly (NDArray | undefined)[]>>;

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
const int64 = (numbers: readonly number[]): NDArray => ({
  dtype: 'int64',
  dims: [numbers.length],
  data: Float64Array.from(numbers),
});
const axisOf = (input: { readonly dims: readonly Dim[] }): string => input.dims[1] as string;

// The data of each sequence, the same in all layouts: row i of a batch of one sequence after another.
function rowsFor({ inputs, lengths }: Call): Readonly<Record<string, readonly NDArray[]>> {
  return Object.fromEntries(
    Object.entries(inputs).map(([name, input]) => {
      const parts = lengths[axisOf(input)]!.map((n, i) => {
        const sizes = { batch: 1, [axisOf(input)]: n };
        return feedsFor({ [name]: input }, sizes, ` of sequence ${i}`)[name]!;
      });
      return [name, parts];
    }),
  );
}

function run({ m, axes, lengths }: Call, graph: Graph, feeds: Feeds, batch?: number) {
  const more = Object.fromEntries(
    axes.flatMap((axis) => [
      [axis, Math.max(...lengths[axis]!)],
      [sequenceAxes[axis]!.packed, sum(lengths[axis]!)],
    ]),
  );
  const sizes = { ...more, batch: batch ?? lengths.seq!.length };
  const of = randomParameters(m).of;
  return interpret(graph, { ...feeds, ...derivedOf(graph, feeds, sizes), ...drawsOf(graph, sizes) }, { parameters: of });
}

const lengthFeeds = ({ axes, lengths }: Call): Feeds =>
  Object.fromEntries(axes.map((axis) => [sequenceAxes[axis]!.lengths, int64(lengths[axis]!)]));

function runAlone(call: Call, graph: Graph): Parts {
  const rows = rowsFor(call);
  const results = call.lengths.seq!.map((n, i) => {
    if (n === 0) return undefined;
    return run(call, graph, Object.fromEntries(Object.entries(rows).map(([name, parts]) => [name, parts[i]!])), 1);
  });
  return Object.fromEntries(
    graph.outputs.map(({ name }) => [name, results.map((result) => result && withoutBatch(result[name]!))]),
  );
}
const withoutBatch = ({ dims: [, ...dims], ...x }: NDArray): NDArray => ({ ...x, dims });

function runPacked(call: Call, graph: Graph): Parts {
  const rows = rowsFor(call);
  const feeds = Object.fromEntries(
    Object.entries(rows).map(([name, parts]) => {
      const [, , ...inner] = parts[0]!.dims;
      const total = sum(parts.map(({ dims }) => dims[1]!));
      return [name, { ...parts[0]!, dims: [total, ...inner], data: Float64Array.from(parts.flatMap(({ data }) => [...data])) }];
    }),
  );
  const results = run(call, graph, { ...feeds, ...lengthFeeds(call) });
  return parted(call, graph, results, (axis) => sequenceAxes[axis]!.packed);
}

function runPadded(call: Call, graph: Graph): Parts {
  const rows = rowsFor(call);
  const feeds = Object.fromEntries(
    Object.entries(rows).map(([name, parts]) => {
      const [, , ...inner] = parts[0]!.dims;
      const width = Math.max(...parts.map(({ dims }) => dims[1]!));
      const row = countOf(inner);
      // Padding contains the last numbers of the longest sequence.
      const filling = parts.find(({ dims }) => dims[1] === width)!.data;
      const data = parts.flatMap(({ dims, data }) => [...data, ...filling.slice(dims[1]! * row)]);
      return [name, { ...parts[0]!, dims: [parts.length, width, ...inner], data: Float64Array.from(data) }];
    }),
  );
  const results = run(call, graph, { ...feeds, ...lengthFeeds(call) });
  return parted(call, graph, results, (axis) => axis);
}

// The results of each sequence, from those of a batch.
function parted(
  { axes, lengths }: Call,
  { outputs }: Graph,
  results: Readonly<Record<string, NDArray>>,
  named: (axis: string) => string,
): Parts {
  const parts = outputs.map(({ name, value: { dims } }) => {
    const { dims: known, data, dtype } = results[name]!;
    const packedAxis =
      typeof dims[0] === 'string' && axes.find((axis) => namesOfDim(dims[0]!).includes(sequenceAxes[axis]!.packed));
    const paddedAxis = dims[1] !== undefined && axes.find((axis) => namesOfDim(dims[1]!).includes(axis));
    let at = 0;
    const own = lengths.seq!.map((_, i) => {
      if (packedAxis) {
        const others = lengths[packedAxis]!;
        const count = evaluateDim(dims[0]!, { batch: 1, [named(packedAxis)]: others[i]! });
        const row = countOf(known.slice(1));
        at += count * row;
        return { dtype, dims: [count, ...known.slice(1)], data: data.slice(at - count * row, at) };
      }
      const inner = known.slice(1);
      const whole = data.slice(i * countOf(inner), (i + 1) * countOf(inner));
      if (!paddedAxis) return { dtype, dims: inner, data: whole };
      const count = evaluateDim(dims[1]!, { [paddedAxis]: lengths[paddedAxis]![i]! });
      return { dtype, dims: [count, ...inner.slice(1)], data: whole.slice(0, count * countOf(inner.slice(1))) };
    });
    return [name, own] as const;
  });
  return Object.fromEntries(parts);
}

function compareParts(layout: string, results: Parts, expected: Parts): void {
  for (const [name, parts] of Object.entries(expected))
    parts.forEach((part, i) => {
      if (!part) return;
      const result = compare(results[name]![i]!, part, rounding);
      if (!result.close) throw new Error(`${name} of sequence ${i}, ${layout} and alone: ${printComparison(result)}`);
    });
}
