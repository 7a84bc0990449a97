// Shared by the kernels that add two inputs and normalise the sum.
import type { Node, TensorType, Value } from '@onnxformers/core';
import {
  biasedLinear,
  defineReasons,
  encoded,
  type Get,
  type Match,
  type MatchContext,
  madeBy,
  mismatch,
  operandsOf,
  printType,
  type Refusal,
  refuse,
} from '@onnxformers/core/lowering';

/** `sum`: the sum itself is the second output, for other nodes that read it. */
export type SkipAttrs = { readonly epsilon: number; readonly sum: boolean };
export const skipAttributes = { epsilon: 'float', sum: 'data' } as const;

// The second input may be the same for the whole batch: without a batch axis, or with size 1.
function addsTo(skip: TensorType, x: TensorType): boolean {
  if (printType(skip) === printType(x)) return true;
  const [rows, alike] = [x.dims.slice(-2), skip.dims.length === 2 || skip.dims[0] === 1];
  const same = skip.dtype === x.dtype && rows.every((d, i) => d === skip.dims.slice(-2)[i]);
  return x.dims.length === 3 && skip.dims.length >= 2 && skip.dims.length <= 3 && alike && same;
}

/** What a node asks of a kernel. */
export const skipAsks = (operands: readonly (TensorType | undefined)[], { sum }: SkipAttrs) => ({
  rank: operands[0]!.dims.length,
  'broadcast skip': operands[1]!.dims.length !== operands[0]!.dims.length || operands[1]!.dims[0] !== operands[0]!.dims[0],
  sum,
});

/** The type of the result, and of the sum if requested. The other operands are vectors over the channels: scale, and shift and bias if they are given. */
export function inferSkip([x, skip, ...rows]: readonly (TensorType | undefined)[], { sum }: SkipAttrs): readonly TensorType[] {
  if (!skip || !addsTo(skip, x!)) throw mismatch('the two streams differ', printType(x), printType(skip));
  const wrong = rows.find((row) => row && (row.dtype !== x!.dtype || row.dims.length !== 1 || row.dims[0] !== x!.dims.at(-1)));
  if (wrong) throw mismatch('scale, shift or bias does not fit the channels', `${x!.dtype}[${x!.dims.at(-1)}]`, printType(wrong));
  return sum ? [x!, x!] : [x!];
}

/** x + skip + bias. */
export function sumOf(x: Value | undefined, skip: Value | undefined, bias: Value | undefined): Value {
  const { add } = x!.graph.ops;
  const sum = add(x, skip);
  return bias ? add(sum, bias) : sum;
}

/** The sum is ONNX's fourth output, after two that only training uses. */
export const encodeSkip = (node: Node<SkipAttrs>) => {
  const [y, sum] = node.outputs;
  return { ...encoded(node, node.operands), outputs: sum ? [y, undefined, undefined, sum] : [y] };
};

/** Makes the kernel's outputs from the two inputs, the scale and shift of the norm, and the bias of a linear map. */
type Make = (
  streams: readonly [Value, Value],
  rows: readonly (Value | undefined)[],
  bias: Value | undefined,
  sum: boolean,
) => readonly Value[];

const own = defineReasons({
  lastAxis: () => 'it normalises only the last axis',
  streams: ({ a, b }: { readonly a: string; readonly b: string }) =>
    `it adds streams of the same dims, or one for the whole batch, not ${a} and ${b}`,
  perChannel: () => 'scale and shift must have one number for each channel',
});

/**
 * Matches a norm over the last axis of a sum, and the sum if it is read elsewhere; the bias of a linear map that made one of the summands
 * is included.
 */
export function matchSkip(
  node: { readonly operands: readonly (Value | undefined)[]; readonly outputs: readonly Value[] },
  axis: number,
  context: MatchContext,
  make: Make,
): Match | Refusal | undefined {
  const [x, ...rows] = node.operands;
  const sum = x && madeBy(x, x.graph.ops.Add);
  if (!sum) return undefined;
  const channels = x.dims.at(-1);
  if (axis !== -1) return refuse(own.lastAxis());
  const [first, second] = sum.operands as readonly [Value, Value];
  const streams = printType(first) === printType(x) ? ([first, second] as const) : ([second, first] as const);
  const other = streams.find((s, i) => (i === 0 ? printType(s) !== printType(x) : !addsTo(s, x)));
  if (other) return refuse(own.streams({ a: printType(other), b: printType(x) }));
  if (rows.some((row) => row && (row.rank !== 1 || row.dims[0] !== channels))) return refuse(own.perChannel());
  const kept = context.uses(x) > 1;
  const linear = streams.map((s) => biasedLinear(s, context)).find((l) => l !== undefined);
  const emit = (get: Get) => {
    const { ops } = x.graph;
    const map = linear && operandsOf(ops.Linear, linear.operands);
    const stream = (s: Value) => (map && linear.outputs[0] === s ? ops.linear(get(map.x), get(map.weight)) : get(s));
    return make(
      [stream(streams[0]), stream(streams[1])],
      rows.map((row) => row && get(row)),
      map?.bias && get(map.bias),
      kept,
    );
  };
  const absorbs = [...(kept ? [] : [x]), ...(linear?.outputs ?? [])];
  return { covers: kept ? [...node.outputs, x] : node.outputs, absorbs, emit };
}
