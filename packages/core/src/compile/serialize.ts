// From a lowered graph to an ONNX model: names, attributes, initializers.

import { checkArguments } from '../arguments';
import { internal } from '../error';
import { type Attribute, type AttributeKind, domainOf, type EncodedNode, printType } from '../ir/define-op';
import { type Graph, type Node, nameOf, type Value } from '../ir/graph';
import { toBytes as bytesOfModel } from '../onnx/encode';
import { type Folding, foldable, foldedInitializer, WeightReader } from '../onnx/fold';
import {
  blockPathKey,
  type OnnxAttribute,
  type OnnxGraph,
  type OnnxInitializer,
  type OnnxModel,
  type OnnxNode,
  type OnnxValueInfo,
  parameterCountKey,
} from '../onnx/model';
import { bytesOfTensor, toTensor } from '../tensor/convert';
import { bytesOf, countOf, type DType, type Tensor } from '../tensor/tensor';
import type { Model } from './compile';

/** The lowest opset that is written; our ops follow its versions of the older ops. */
const lowestOpset = 18;

/**
 * The ONNX model of a compiled model. Weights stay lazy: each initializer loads (and transforms) its weight when it is written.
 */
export function serialize(model: Model): OnnxModel {
  checkArguments('serialize', { model });
  const { graph, target } = model;
  const writer = new Writer(model, foldable(graph, model.parameterInputs));
  const body = writer.graph(graph, 'main');
  const opsets: Record<string, number> = { '': Math.min(target.opset, Math.max(lowestOpset, writer.domains.get('') ?? 1)) };
  for (const [domain, version] of writer.domains) if (domain !== '') opsets[domain] = version;
  return {
    opsets,
    producer: { name: 'onnxformers', version: '0' },
    metadata: {
      'onnxformers.target': target.name,
      'onnxformers.dtype': model.dtype,
      [parameterCountKey]: String([...model.names.parameters.values()].reduce((n, { dims }) => n + countOf(dims), 0)),
    },
    graph: { ...body, initializers: writer.initializers() },
  };
}

/**
 * A compiled model as one ONNX file in memory, including its weights, for other programs and `InferenceSession.create` of any runtime.
 *
 * Throws   FileError beyond 1 GiB, which requires a folder · WeightError when the model has no weights
 *
 * Example  const session = await ort.InferenceSession.create(await toBytes(model));
 */
export const toBytes = async (model: Model): Promise<Uint8Array> => bytesOfModel(serialize(model));

class Writer {
  /** The version of each domain that the nodes need. */
  readonly domains = new Map<string, number>();
  private readonly named = new Map<Value, string>();
  private readonly used = new Set<string>();
  private readonly stored = new Map<string, OnnxInitializer>();
  private readonly counts = new Map<string, number>();
  private readonly reader: WeightReader;

  constructor(
    private readonly model: Model,
    private readonly folding: Folding,
  ) {
    this.reader = new WeightReader(model);
  }

  initializers(): OnnxInitializer[] {
    return [...this.stored.values()];
  }

  graph(graph: Graph, name: string): OnnxGraph {
    const root = graph.builder.kind === 'root';
    const inputs = graph.inputs.map(
      (v): OnnxValueInfo => ({ name: this.claim(v, this.inputName(v)), dtype: v.dtype, dims: v.dims }),
    );
    const made = new Set(graph.nodes.flatMap((n) => n.outputs).filter((v) => !this.folding.has(v)));
    const copies: { readonly value: Value; readonly to: string }[] = [];
    const outputs = graph.outputs.map(({ name: output, value }): OnnxValueInfo => {
      const to = root ? this.reserve(output) : this.unique(`${name}/${output}`);
      // A value can be an output under one name only; a second name requires a copy.
      if (made.has(value) && !this.named.has(value)) this.claim(value, to);
      else copies.push({ value, to });
      return { name: to, dtype: value.dtype, dims: value.dims };
    });
    const nodes = graph.nodes.filter((n) => !n.outputs.every((v) => this.folding.has(v))).map((n) => this.node(n));
    const copied = copies.map(
      ({ value, to }): OnnxNode => ({
        name: `${to}/Identity`,
        opType: 'Identity',
        domain: '',
        inputs: [this.nameFor(value)],
        outputs: [to],
        attributes: {},
      }),
    );
    const handedOut = new Set(outputs.map((o) => o.name));
    const values = [...made].flatMap((v): OnnxValueInfo[] => {
      const name = this.named.get(v);
      return name === undefined || handedOut.has(name) ? [] : [{ name, dtype: v.dtype, dims: v.dims }];
    });
    return { name, nodes: [...nodes, ...copied], inputs, outputs, values, initializers: [] };
  }

  private inputName(v: Value): string {
    if (v.leaf?.kind === 'parameter') return this.model.names.nameOf.get(v.leaf.parameter) ?? 'parameter';
    return nameOf(v) ?? this.unique(`argument_${v.id}`);
  }

  private node(node: Node): OnnxNode {
    const { op } = node;
    const encoded: EncodedNode = op.encode?.(node) ?? plainEncoding(node);
    this.domains.set(encoded.domain, Math.max(this.domains.get(encoded.domain) ?? 1, op.since ?? 1));
    const name = this.unique(`${node.scope ? `${node.scope}/` : ''}${encoded.opType}`);
    const attributes: Record<string, OnnxAttribute> = {};
    for (const [key, { kind, value }] of Object.entries(encoded.attributes)) {
      if (value === undefined) continue;
      attributes[key] =
        kind === 'graph' ? { type: 'graph', value: this.graph(value as Graph, `${name}/${key}`) } : attribute(kind, value);
    }
    const inputs = encoded.operands.map((o, i) =>
      o === undefined ? '' : 'data' in o ? this.constant(o, `${name}/${i}`) : this.nameFor(o),
    );
    while (inputs.length && inputs.at(-1) === '') inputs.pop();
    const places = encoded.outputs ?? node.outputs;
    const outputs = places.map((v, i) =>
      v ? (this.named.get(v) ?? this.claim(v, this.unique(places.length === 1 ? `${name}/y` : `${name}/y${i}`))) : '',
    );
    const metadata = {
      ...(node.scope && { [blockPathKey]: node.scope }),
      ...(node.history.length && { 'onnxformers.rules': node.history.join(' ← ') }),
    };
    return {
      name,
      opType: encoded.opType,
      domain: encoded.domain,
      inputs,
      outputs,
      attributes,
      ...(Object.keys(metadata).length && { metadata }),
    };
  }

  private nameFor(v: Value): string {
    const known = this.named.get(v);
    if (known !== undefined) return known;
    const { leaf } = v;
    if (leaf?.kind === 'constant') return this.claim(v, this.constant(leaf.tensor, `constant_${v.dims.join('x') || 'scalar'}`));
    if (leaf?.kind === 'state') {
      const dims = v.dims.map((d) => (typeof d === 'number' ? d : fail(`state ${leaf.name} has the symbolic size ${d}`)));
      return this.store(v, leaf.name, { name: leaf.name, dtype: v.dtype, dims, data: this.filled(v.dtype, dims, leaf.fill) });
    }
    if (leaf?.kind === 'parameter' || this.folding.has(v)) {
      const name =
        leaf?.kind === 'parameter'
          ? (this.model.names.nameOf.get(leaf.parameter) ?? this.unique('parameter'))
          : this.unique(this.folding.get(v)!.label(this.model.names.nameOf));
      return this.store(v, name, foldedInitializer(name, v, this.reader));
    }
    throw internal(`${v} is used before the node that computes it`);
  }

  private store(v: Value, name: string, initializer: OnnxInitializer): string {
    this.stored.set(name, initializer);
    return this.claim(v, this.reserve(name));
  }
  // States of one type have the same initial values, which a file contains once. Each gets its own memory when a session reads them.
  private readonly fills = new Map<string, () => AsyncIterable<Uint8Array>>();
  private filled(dtype: DType, dims: readonly number[], fill: number): () => AsyncIterable<Uint8Array> {
    const key = `${printType({ dtype, dims })} ${fill}`;
    const data = this.fills.get(key) ?? filled(dtype, dims, fill);
    this.fills.set(key, data);
    return data;
  }
  private readonly constants = new Map<string, string>();
  private constant(tensor: Tensor, near: string): string {
    const key =
      tensor.data.length <= 64
        ? `${tensor.dtype}[${tensor.dims}]${[...tensor.data].map((x) => (Object.is(x, -0) ? '-0' : String(x)))}`
        : '';
    const known = key && this.constants.get(key);
    if (known) return known;
    const name = this.unique(near);
    this.stored.set(name, { name, dtype: tensor.dtype, dims: tensor.dims, data: tensor });
    if (key) this.constants.set(key, name);
    return name;
  }
  private claim(v: Value, name: string): string {
    this.named.set(v, name);
    this.used.add(name);
    return name;
  }
  private reserve(name: string): string {
    this.used.add(name);
    return name;
  }
  private unique(name: string): string {
    let candidate = name;
    let n = this.counts.get(name) ?? 1;
    while (this.used.has(candidate)) candidate = `${name}_${++n}`;
    this.counts.set(name, n);
    return this.reserve(candidate);
  }
}

function plainEncoding({ op, operands, attrs }: Node): EncodedNode {
  const [domain, opType] = domainOf(op.key);
  const attributes: Record<string, { kind: Exclude<AttributeKind, 'data'>; value: Attribute }> = {};
  for (const [name, kind] of Object.entries(op.attributes))
    if (kind !== 'data' && attrs[name] !== undefined) attributes[name] = { kind, value: attrs[name] };
  return { opType, domain, operands, attributes };
}

function attribute(kind: Exclude<AttributeKind, 'data' | 'graph'>, value: Attribute): OnnxAttribute {
  switch (kind) {
    case 'int':
      return { type: 'int', value: Number(value) };
    case 'float':
      return { type: 'float', value: value as number };
    case 'string':
      return { type: 'string', value: value as string };
    case 'ints':
      return { type: 'ints', value: (value as readonly (number | boolean)[]).map(Number) };
    case 'floats':
      return { type: 'floats', value: value as readonly number[] };
    case 'strings':
      return { type: 'strings', value: value as readonly string[] };
    case 'tensor':
      return { type: 'tensor', value: value as Tensor };
  }
}

// A large array of one value, a piece at a time.
function filled(dtype: DType, dims: readonly number[], fill: number): () => AsyncIterable<Uint8Array> {
  const perPiece = 1 << 18;
  const piece = bytesOfTensor(toTensor({ dtype, dims: [perPiece], data: new Float64Array(perPiece).fill(fill) }));
  return async function* () {
    for (let left = bytesOf(dtype, countOf(dims)); left > 0; left -= piece.length)
      yield left < piece.length ? piece.subarray(0, left) : piece;
  };
}
const fail = (message: string): never => {
  throw internal(message);
};
