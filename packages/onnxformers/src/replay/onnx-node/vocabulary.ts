// A node of a file as one of our ops.
import {
  type Attribute,
  type Attrs,
  apply,
  domainOf,
  type OnnxNode,
  type Op,
  ops,
  type Tensor,
  toArray,
  type Value,
} from '@onnxformers/core';

const isOp = (x: unknown): x is Op => typeof x === 'object' && x !== null && 'key' in x && 'infer' in x;
const standard = (Object.values(ops) as unknown[]).filter(isOp).filter((op) => domainOf(op.key)[0] === '');

/** Our op for a node: the newest form that is not newer than the node's opset. */
export function opOf({ domain, opType }: Pick<OnnxNode, 'domain' | 'opType'>, opset: number): Op | undefined {
  const forms = domain === '' ? standard.filter(({ key }) => key === opType) : [];
  const known = (op: Op) => (op.since ?? 1) <= opset;
  // An older form is a case of the newer one where only its defaults differ; see `olderForms`.
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

/** Values of attributes that a node leaves out. */
const defaults: Readonly<Record<string, Attrs>> = {
  CumSum: { exclusive: 0, reverse: 0 },
  DFT: { inverse: 0, onesided: 0 },
  GatherND: { batch_dims: 0 },
  Gelu: { approximate: 'none' },
  GroupNormalization: { epsilon: 1e-5, stash_type: 1 },
  LayerNormalization: { axis: -1, epsilon: 1e-5, stash_type: 1 },
  LogSoftmax: { axis: -1 },
  RMSNormalization: { axis: -1, epsilon: 1e-5, stash_type: 1 },
  ScatterND: { reduction: 'none' },
  Softmax: { axis: -1 },
  Swish: { alpha: 1 },
  Trilu: { upper: 1 },
};

/** Operands that the standard takes as inputs and we as attributes: position, name, value where it is absent. */
const asAttributes: Readonly<
  Record<string, readonly { readonly at: number; readonly name: string; readonly absent?: Attribute }[]>
> = {
  CumSum: [{ at: 1, name: 'axis' }],
  DFT: [
    { at: 1, name: 'length' },
    { at: 2, name: 'axis', absent: -2 },
  ],
  Trilu: [{ at: 1, name: 'k', absent: 0 }],
};

/** Forms of an opset below ours that say the same in another way. */
const olderForms: Readonly<Record<string, (reading: Reading) => Reading>> = {
  DFT: ({ attributes, operands }) => ({ attributes: { ...attributes, axis: attributes.axis ?? 1 }, operands }),
};

/** Attributes of ours that depend on the operands. */
const completed: Readonly<Record<string, (attrs: Attrs, operands: readonly (Value | undefined)[], node: OnnxNode) => Attrs>> = {
  Attention: (attrs, _, node) => ({ ...attrs, outputs: node.outputs.findLastIndex((name) => name !== '') + 1 }),
  CumSum: (attrs, [x]) => ({ ...attrs, axis: fromFront(attrs.axis, x!) }),
  DFT(attrs, [x]) {
    const axis = fromFront(attrs.axis, x!);
    const half = attrs.inverse === 1 && attrs.onesided === 1;
    return { ...attrs, axis, ...(half && { length: attrs.length ?? 2 * ((x!.dims[axis] as number) - 1) }) };
  },
  LogSoftmax: (attrs, [x]) => ({ ...attrs, axis: fromFront(attrs.axis, x!) }),
  Softmax: (attrs, [x]) => ({ ...attrs, axis: fromFront(attrs.axis, x!) }),
};
const fromFront = (axis: Attribute, { rank }: Value): number => ((axis as number) + rank) % rank;

/** Why a node cannot be read as this op; undefined where it can. */
export function unreadable(op: Op, node: OnnxNode): string | undefined {
  const known = new Set([...Object.keys(op.attributes), ...(asAttributes[op.key] ?? []).map(({ name }) => name)]);
  const unknown = Object.keys(node.attributes).find((name) => !known.has(name));
  if (unknown) return `our ${op.key} has no attribute "${unknown}"`;
  const data = Object.entries(op.attributes).filter(
    ([name, kind]) => kind === 'data' && !(op.key in completed && (name === 'outputs' || name === 'length')),
  );
  return data.length ? `our ${op.key} takes ${data.map(([name]) => name).join(', ')} in another way` : undefined;
}

/**
 * Emits the node: its outputs by name. Those that our op does not have are missing.
 *
 * @param value the value of an input
 * @param tensor its elements, for what we take as an attribute
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
  const moved = asAttributes[op.key] ?? [];
  const attributes: Record<string, Attribute> = { ...reading.attributes };
  for (const { at, name, absent } of moved) {
    const input = reading.operands[at];
    const number = input === undefined ? undefined : tensor(input);
    attributes[name] = number ? toArray(number).data[0]! : (attributes[name] ?? absent);
  }
  const operands = reading.operands.map((name, at) =>
    name === undefined || moved.some((m) => m.at === at) ? undefined : value(name),
  );
  while (operands.length && operands.at(-1) === undefined) operands.pop();
  const attrs = completed[op.key]?.(attributes, operands, node) ?? attributes;
  const results = apply(op, operands, attrs);
  return Object.fromEntries(results.flatMap((v, i) => (node.outputs[i] ? [[node.outputs[i], v]] : [])));
}
