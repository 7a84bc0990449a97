// Converts a node of a file to one of our ops.
import { type OnnxNode, type Tensor, toArray, type Value } from '@onnxformers/core';
import { type Attribute, type Attrs, apply, domainOf, type Op } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';

const isOp = (x: unknown): x is Op => typeof x === 'object' && x !== null && 'key' in x && 'infer' in x;
const standard = (Object.values(ops) as unknown[]).filter(isOp).filter((op) => domainOf(op.key)[0] === '');

/** Our op for a node: the newest version that is not newer than the node's opset. */
export function opOf({ domain, opType }: Pick<OnnxNode, 'domain' | 'opType'>, opset: number): Op | undefined {
  const forms = domain === '' ? standard.filter(({ key }) => key === opType) : [];
  const known = (op: Op) => (op.since ?? 1) <= opset;
  // An older version is a case of the newer one if only its defaults differ; see `olderForms`.
  return (
    forms.filter(known).sort((a, b) => (b.since ?? 1) - (a.since ?? 1))[0] ??
    forms.find(({ key }) => Object.hasOwn(olderForms, key))
  );
}

interface Reading {
  readonly attributes: Attrs;
  /** Operands by position. */
  readonly operands: readonly (string | undefined)[];
}

/** Default values of attributes that a node omits. */
const defaults: Readonly<Record<string, Attrs>> = {
  ArgMax: { axis: 0, keepdims: 1, select_last_index: 0 },
  ArgMin: { axis: 0, keepdims: 1, select_last_index: 0 },
  CumSum: { exclusive: 0, reverse: 0 },
  DFT: { inverse: 0, onesided: 0 },
  Gather: { axis: 0 },
  GatherElements: { axis: 0 },
  GatherND: { batch_dims: 0 },
  Gelu: { approximate: 'none' },
  GroupNormalization: { epsilon: 1e-5, stash_type: 1 },
  Gemm: { alpha: 1, beta: 1, transA: 0, transB: 0 },
  LayerNormalization: { axis: -1, epsilon: 1e-5, stash_type: 1 },
  LeakyRelu: { alpha: 0.01 },
  LogSoftmax: { axis: -1 },
  Mod: { fmod: 0 },
  RMSNormalization: { axis: -1, epsilon: 1e-5, stash_type: 1 },
  ScatterElements: { axis: 0, reduction: 'none' },
  ScatterND: { reduction: 'none' },
  Softmax: { axis: -1 },
  Swish: { alpha: 1 },
  Trilu: { upper: 1 },
};

/** Ops whose attributes are all optional. */
const allOptional: ReadonlySet<string> = new Set(['Attention', 'RotaryEmbedding', 'TensorScatter']);

/** An operand that is an input in the standard and an attribute in our op. */
interface Moved {
  readonly at: number;
  readonly name: string;
  /** Every element, instead of the only one. */
  readonly list?: true;
  readonly absent?: Attribute;
}
const axes: readonly Moved[] = [{ at: 1, name: 'axes', list: true }];
const asAttributes: Readonly<Record<string, readonly Moved[]>> = {
  CumSum: [{ at: 1, name: 'axis' }],
  DFT: [
    { at: 1, name: 'length' },
    { at: 2, name: 'axis', absent: -2 },
  ],
  Squeeze: axes,
  Trilu: [{ at: 1, name: 'k', absent: 0 }],
  Unsqueeze: axes,
};
const movedOf = (op: Op): readonly Moved[] => asAttributes[op.key] ?? (op.key.startsWith('Reduce') ? axes : []);

/** Versions of an older opset that express the same in another way. */
const olderForms: Readonly<Record<string, (reading: Reading) => Reading>> = {
  DFT: ({ attributes, operands }) => ({ attributes: { ...attributes, axis: attributes.axis ?? 1 }, operands }),
};

/** Attributes of our ops that depend on the operands: axes are counted from the beginning. */
function completed(op: Op, node: OnnxNode, attrs: Attrs, x: Value): Attrs {
  if (op.key === 'Attention') return { ...attrs, outputs: node.outputs.findLastIndex((name) => name !== '') + 1 };
  const rank = op.key === 'Unsqueeze' ? x.rank + (attrs.axes as readonly number[]).length : x.rank;
  const fromFront = (axis: number): number => (axis < 0 ? axis + rank : axis);
  if (op.key === 'DFT') {
    const axis = fromFront(attrs.axis as number);
    const half = attrs.inverse === 1 && attrs.onesided === 1;
    return { ...attrs, axis, ...(half && { length: attrs.length ?? 2 * ((x.dims[axis] as number) - 1) }) };
  }
  if (typeof attrs.axis === 'number' && !op.key.endsWith('Normalization')) return { ...attrs, axis: fromFront(attrs.axis) };
  if (!movedOf(op).includes(axes[0]!)) return attrs;
  const all = x.dims.flatMap((d, i) => (op.key !== 'Squeeze' || d === 1 ? [i] : []));
  // No axes means all axes.
  const given =
    (attrs.axes as readonly number[] | undefined)?.length || op.key === 'Unsqueeze'
      ? (attrs.axes as readonly number[])
      : undefined;
  return {
    ...attrs,
    axes: (given?.map(fromFront) ?? all).sort((a, b) => a - b),
    ...(op.key.startsWith('Reduce') && { keepdims: attrs.keepdims ?? 1 }),
  };
}

/** Why a node cannot be converted to this op; undefined if it can. */
export function unreadable(op: Op, node: OnnxNode): string | undefined {
  const moved = movedOf(op).map(({ name }) => name);
  const known = new Set([...Object.keys(op.attributes), ...moved]);
  const unknown = Object.keys(node.attributes).find((name) => !known.has(name));
  if (unknown) return `our ${op.key} has no attribute "${unknown}"`;
  const made = new Set(['outputs', 'keepdims', ...moved]);
  const ours = Object.entries(op.attributes).filter(([name]) => !made.has(name));
  const data = ours.filter(([, kind]) => kind === 'data').map(([name]) => name);
  if (data.length) return `our ${op.key} takes ${data.join(', ')} in another way`;
  const open = ours.find(([name]) => !(name in node.attributes || name in (defaults[op.key] ?? {}) || allOptional.has(op.key)));
  return open && `the default of "${open[0]}" is not known`;
}

/**
 * Emits the node: its outputs by name. Outputs that our op does not have are missing.
 *
 * @param value the value of an input
 * @param tensor its elements, for operands that are attributes of our op
 */
export function emit(
  op: Op,
  node: OnnxNode,
  opset: number,
  value: (name: string) => Value | undefined,
  tensor: (name: string) => Tensor | undefined,
): Record<string, Value> {
  const given: Attrs = Object.fromEntries(Object.entries(node.attributes).map(([name, a]) => [name, a.value as Attribute]));
  let reading: Reading = {
    attributes: { ...defaults[op.key], ...given },
    operands: node.inputs.map((name) => name || undefined),
  };
  if (opset < (op.since ?? 1)) reading = olderForms[op.key]!(reading);
  const moved = movedOf(op);
  const attributes: Record<string, Attribute> = { ...reading.attributes };
  for (const { at, name, list, absent } of moved) {
    const input = reading.operands[at];
    const numbers = input === undefined ? undefined : tensor(input);
    const elements = numbers && [...toArray(numbers).data];
    attributes[name] = elements ? (list ? elements : elements[0]) : (attributes[name] ?? absent);
  }
  const operands = reading.operands.map((name, at) =>
    name === undefined || moved.some((m) => m.at === at) ? undefined : value(name),
  );
  while (operands.length && operands.at(-1) === undefined) operands.pop();
  const attrs = operands[0] ? completed(op, node, attributes, operands[0]) : attributes;
  const results = apply(op, operands, attrs);
  return Object.fromEntries(results.flatMap((v, i) => (node.outputs[i] ? [[node.outputs[i], v]] : [])));
}
