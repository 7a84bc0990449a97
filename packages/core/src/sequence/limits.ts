// What a table of fixed length can take, said of the integers that index it.
import { addDims, type Dim } from '../dim/dim';
import type { Limit, Node, Value } from '../ir/graph';

/**
 * Holds every run to indices below `max`. Where they come from sizes and inputs (counted positions, `position_ids`, ids), the runner
 * checks them before it runs; of others (a step inside a Loop) nothing is known.
 *
 * Throws   ShapeError where it is known now that they go beyond
 * Example  limitIndices(ctx.positions, seqLen, `${path}.seqLen`);
 */
export function limitIndices(indices: Value, max: number, field: string): void {
  const largest = largestOf(indices);
  if (!largest) return;
  const { inputs } = largest;
  indices.graph.limit({ size: addDims(largest.size, 1), max, field, ...(inputs.length && { inputs }) });
}

interface Largest {
  readonly size: Dim;
  readonly inputs: NonNullable<Limit['inputs']>;
}
const only = (size: Dim): Largest => ({ size, inputs: [] });
const plus = (a: Largest | undefined, b: Largest | undefined): Largest | undefined =>
  a && b && { size: addDims(a.size, b.size), inputs: [...a.inputs, ...b.inputs] };

/** An upper bound of integers, in sizes and largest elements of inputs; undefined where neither tells it. */
function largestOf({ leaf, producer }: Value): Largest | undefined {
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
      // Positions count up to the longest sequence, which the lengths tell with fewer numbers.
      const from = leaf.how === 'positions' ? leaf.from[0]?.leaf : undefined;
      return from?.kind === 'input' ? { size: -1, inputs: [{ name: from.name }] } : { size: 0, inputs: [{ name: leaf.name }] };
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
    const taken = constantOf(b!);
    return taken === undefined ? undefined : plus(largestOf(a!), only(-taken));
  },
  // At least 0, which every table has.
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
  return truth && source.leaf?.kind === 'input' ? { size: 0, inputs: [{ name: source.leaf.name, rowSums: true }] } : undefined;
}

function constantOf({ leaf }: Value): number | undefined {
  return leaf?.kind === 'constant' && leaf.tensor.data.length === 1 ? Number(leaf.tensor.data[0]) : undefined;
}
