// Limits of lengths, positions and ids, required where they are used.

import { addDims, type Dim, subDims } from '../dim/dim';
import { given, graphOrValue } from '../given';
import { type GraphBuilder, inputOf, type Node, type Value } from '../ir/graph';

/**
 * Requires indices from 0 to `rows − 1`. If they come from sizes and inputs (counted positions, `position_ids`, ids), the runner and the
 * interpreter check them before anything runs. Others (values that the graph computes) are not checked, and the result of a
 * kernel for an index out of range is undefined.
 *
 * Throws   ShapeError if it is already known that they are out of range
 * Example  limitIndices(ctx.positions, seqLen, `${path}.seqLen`);
 */
export function limitIndices(indices: Value, rows: number, field: string): void {
  given('limitIndices', { indices });
  const largest = largestOf(indices);
  if (!largest || largest.inputs.length > 1) return;
  const [input] = largest.inputs;
  const g = indices.graph.root;
  if (!input) {
    limitPositions(g, addDims(largest.size, 1), rows, field);
    return;
  }
  const isIndex = largest.size === 0 && !input.counts;
  g.limit({
    input: input.name,
    ...(input.counts && { of: 'counts' as const }),
    min: 0,
    max: subDims(rows - 1, largest.size),
    ...(isIndex ? { problem: 'an index out of range of the table', by: field } : tooLong(field)),
  });
}

/**
 * Requires at most `rows` positions, for blocks of fixed length.
 *
 * Throws   ShapeError if it is already known that there are more
 * Example  limitPositions(x.graph, x.dims[1]!, 1024, 'encoder.seqLen');
 */
export function limitPositions(g: GraphBuilder, size: Dim, rows: number, field: string): void {
  given('limitPositions', { source: g }, { source: graphOrValue });
  g.limit({ size, max: rows, ...tooLong(field) });
}
const tooLong = (field: string) => ({
  problem: 'longer than the model was built for',
  by: field,
  hint: `Shorten it, or build the model with a larger ${field.split('.').at(-1)}`,
});

/** Requires lengths from 0 to the sequence length, if they are an input. */
export function limitLengths(lengths: Value, rows: Dim): void {
  const input = inputOf(lengths)?.name;
  if (input !== undefined) lengths.graph.root.limit({ input, min: 0, max: rows, problem: 'a length out of range' });
}

/** Requires lengths that add up to the tokens of a packed batch, if they are an input. */
export function limitPackedLengths(lengths: Value, rows: Dim): void {
  const input = inputOf(lengths)?.name;
  if (input === undefined) return;
  const g = lengths.graph.root;
  g.limit({ input, min: 0, problem: 'a negative length' });
  g.limit({ input, of: 'sum', min: rows, max: rows, problem: 'the lengths do not add up to the number of tokens' });
}

/** An upper bound of integers: a size, and the largest element of an input or the largest count in its rows. */
interface Largest {
  readonly size: Dim;
  readonly inputs: readonly { readonly name: string; readonly counts?: true }[];
}
const only = (size: Dim): Largest => ({ size, inputs: [] });
const plus = (a: Largest | undefined, b: Largest | undefined): Largest | undefined =>
  a && b && { size: addDims(a.size, b.size), inputs: [...a.inputs, ...b.inputs] };

// Of values that a Loop carries, which nothing else bounds.
const carried = new WeakMap<Value, Largest>();

/**
 * States that integers carried by a Loop are at most the largest of `from` plus `steps`, so that positions counted from them are limited too. `from` is
 * a size, or lengths; lengths that are not an input bound nothing.
 */
export function boundCarried(integers: Value, from: Dim | Value, steps: number): void {
  const start = typeof from === 'object' ? largestOf(from) : only(from);
  const bound = plus(start, only(steps));
  if (bound) carried.set(integers, bound);
}

/** An upper bound of integers, in sizes and largest elements of inputs; undefined if neither determines it. */
function largestOf(integers: Value): Largest | undefined {
  const { leaf, producer } = integers;
  const bound = carried.get(integers);
  if (bound) return bound;
  if (leaf) return largestOfLeaf(leaf);
  return producer && byOp[producer.op.key]?.(producer);
}

function largestOfLeaf(leaf: NonNullable<Value['leaf']>): Largest | undefined {
  switch (leaf.kind) {
    case 'input':
      return { size: 0, inputs: [{ name: leaf.name }] };
    case 'constant':
      return only(Math.max(0, ...Array.from(leaf.tensor.data as ArrayLike<number | bigint>, Number)));
    case 'derived': {
      // Positions count up to the longest sequence, which the lengths determine with fewer numbers.
      const from = leaf.how === 'positions' ? leaf.from[0]?.leaf : undefined;
      return from?.kind === 'input'
        ? { size: subDims(leaf.plus ?? 0, 1), inputs: [{ name: from.name }] }
        : { size: 0, inputs: [{ name: leaf.name }] };
    }
    default:
      return undefined;
  }
}

const first = ({ operands: [x] }: Node): Largest | undefined => x && largestOf(x);
const byOp: Readonly<Record<string, (node: Node) => Largest | undefined>> = {
  Range: ({ attrs }) => only(addDims(attrs.length as Dim, -1)),
  Add: ({ operands: [a, b] }) => plus(largestOf(a!), largestOf(b!)),
  Sub({ operands: [a, b] }) {
    const taken = constantOf(b!) ?? (isCount(b!) ? 0 : undefined);
    return taken === undefined ? undefined : plus(largestOf(a!), only(-taken));
  },
  // Index 0 exists in every table.
  Max: ({ operands: [a, b] }) => (constantOf(b!) === 0 ? largestOf(a!) : undefined),
  CumSum: ({ operands: [x] }) => counted(x!),
  Cast: first,
  'onnxformers.Reshape': first,
  'onnxformers.Expand': first,
  'onnxformers.Slice': first,
  Squeeze: first,
  Unsqueeze: first,
  Gather: first,
  GatherElements: first,
};

/** Running counts of the true entries of an input. */
function counted(x: Value): Largest | undefined {
  let source = x;
  let truth = x.dtype === 'bool';
  while (source.producer?.op.key === 'Cast') {
    source = source.producer.operands[0]!;
    truth ||= source.dtype === 'bool';
  }
  return truth && source.leaf?.kind === 'input' ? { size: 0, inputs: [{ name: source.leaf.name, counts: true }] } : undefined;
}

/** True for an input that is limited to 0 and more. */
function isCount(x: Value): boolean {
  const { producer, leaf } = x;
  if (producer && /(^|\.)(Unsqueeze|Reshape)$/.test(producer.op.key)) return isCount(producer.operands[0]!);
  return (
    leaf?.kind === 'input' &&
    x.graph.root.limits.some(({ input, min }) => input === leaf.name && typeof min === 'number' && min >= 0)
  );
}

function constantOf({ leaf }: Value): number | undefined {
  return leaf?.kind === 'constant' && leaf.tensor.data.length === 1 ? Number(leaf.tensor.data[0]) : undefined;
}
