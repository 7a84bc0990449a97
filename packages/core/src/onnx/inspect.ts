// The contents of any ONNX file.
import { checkArguments } from '../arguments';
import { bitsOf, bytesOf, countOf } from '../tensor/tensor';
import { externalDataOf, opsetsOf, parseModel, recordOf } from './decode';
import { dtypeOfElementType, elementTypeName } from './element-type';
import type { GraphProto, NodeProto, TensorProto, TypeProto, ValueInfoProto } from './gen/onnx_pb';
import { canonicalDomain } from './ir-version';
import { blockPathKey, parameterCountKey } from './model';
import { sizeOf } from './tensor-proto';

/** An input or output of a model. */
export interface InspectedValue {
  readonly name: string;
  /** `float32`, `float8e4m3fn`, `sequence of float32`. */
  readonly type: string;
  /** Sizes, names, or '' for an unknown size; absent: unknown rank, or not a tensor. */
  readonly dims?: readonly (number | string)[];
}

/** How often an op occurs, including subgraphs and functions. */
export interface InspectedOp {
  readonly domain: string;
  readonly opType: string;
  readonly count: number;
  /** Number of nodes by the block that they come from; '' for nodes without this metadata. */
  readonly paths: Readonly<Record<string, number>>;
}

/** The initializers of one element type, including those of subgraphs. */
export interface InspectedInitializers {
  readonly type: string;
  readonly tensors: number;
  readonly elements: number;
  readonly bytes: number;
}

/** A file with elements of initializers. */
export interface InspectedFile {
  readonly location: string;
  readonly tensors: number;
  readonly bytes: number;
  /** Minimum size of the file, in bytes. */
  readonly end: number;
  /** The problem that was found, if the file was checked. */
  readonly problem?: string;
}

/** The contents of a model file, as plain data. */
export interface Inspection {
  readonly irVersion: number;
  readonly opsets: Readonly<Record<string, number>>;
  readonly producer: string;
  readonly doc: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly inputs: readonly InspectedValue[];
  readonly outputs: readonly InspectedValue[];
  readonly nodes: number;
  readonly subgraphs: number;
  /** Functions that the model defines, with their domains. */
  readonly functions: readonly string[];
  /** Most frequent first. */
  readonly ops: readonly InspectedOp[];
  /** Largest first. */
  readonly initializers: readonly InspectedInitializers[];
  /**
   * Number of elements of the model's parameters, from its metadata. For a file without it: that of the initializers that are floats or have 4 or 8 bits; int64
   * shapes, int32 indices and bools do not count.
   */
  readonly parameters: number;
  readonly externalFiles: readonly InspectedFile[];
}

function inspectType(type: TypeProto | undefined): string {
  const { value } = type ?? {};
  switch (value?.case) {
    case 'tensorType':
      return elementTypeName(value.value.elemType);
    case 'sparseTensorType':
      return `sparse ${elementTypeName(value.value.elemType)}`;
    case 'sequenceType':
      return `sequence of ${inspectType(value.value.elemType)}`;
    case 'optionalType':
      return `optional ${inspectType(value.value.elemType)}`;
    case 'mapType':
      return `map from ${elementTypeName(value.value.keyType)} to ${inspectType(value.value.valueType)}`;
    case 'opaqueType':
      return `${value.value.domain}.${value.value.name}`;
    default:
      return 'unknown';
  }
}

function inspectValue({ name, type }: ValueInfoProto): InspectedValue {
  const shape = type?.value.case === 'tensorType' ? type.value.value.shape : undefined;
  // Some writers put −1 where a size is unknown.
  const dims = shape?.dim.map(({ value }) =>
    typeof value.value === 'bigint' ? (value.value < 0n ? '' : Number(value.value)) : (value.value ?? ''),
  );
  return { name, type: inspectType(type), ...(dims && { dims }) };
}

// Other exporters use names such as /model/layers.3/attn/MatMul.
function blockPathOf({ name, metadataProps, docString }: NodeProto): string {
  const metadata = recordOf(metadataProps)[blockPathKey] ?? docString.match(/^onnxformers\.path: (.*)$/m)?.[1];
  return metadata ?? name.slice(0, Math.max(0, name.lastIndexOf('/'))).replace(/^\//, '');
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** Counts the parts of a model while walking through it. */
interface Tally {
  nodes: number;
  subgraphs: number;
  readonly ops: Map<string, { domain: string; opType: string; count: number; paths: Map<string, number> }>;
  readonly initializers: Map<string, Mutable<InspectedInitializers>>;
  readonly files: Map<string, Mutable<InspectedFile>>;
  parameters: number;
}

function entryOf<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const found = map.get(key) ?? make();
  map.set(key, found);
  return found;
}

function tallyInitializer(tally: Tally, proto: TensorProto, file: string): void {
  const path = `${file}, initializer "${proto.name}"`;
  const type = elementTypeName(proto.dataType);
  const dtype = dtypeOfElementType(proto.dataType);
  const elements = countOf(proto.dims.map((d) => sizeOf(d, path, 'a dim')));
  const external = externalDataOf(proto, path, dtype && bytesOf(dtype, elements));
  const inside = proto.rawData.byteLength || proto.stringData.reduce((n, s) => n + s.byteLength, 0);
  const bytes = external?.length ?? (dtype ? bytesOf(dtype, elements) : inside);
  const sum = entryOf(tally.initializers, type, () => ({ type, tensors: 0, elements: 0, bytes: 0 }));
  sum.tensors++;
  sum.elements += elements;
  sum.bytes += bytes;
  if (type.includes('float') || (dtype && dtype !== 'bool' && bitsOf(dtype) <= 8)) tally.parameters += elements;
  if (!external) return;
  const { location, offset } = external;
  const beside = entryOf(tally.files, location, () => ({ location, tensors: 0, bytes: 0, end: 0 }));
  beside.tensors++;
  beside.bytes += bytes;
  beside.end = Math.max(beside.end, offset + bytes);
}

function tallyNodes(tally: Tally, nodes: readonly NodeProto[], file: string): void {
  for (const node of nodes) {
    const { opType } = node;
    const domain = canonicalDomain(node.domain);
    const op = entryOf(tally.ops, `${domain}.${opType}`, () => ({ domain, opType, count: 0, paths: new Map() }));
    const path = blockPathOf(node);
    tally.nodes++;
    op.count++;
    op.paths.set(path, (op.paths.get(path) ?? 0) + 1);
    for (const { g, graphs } of node.attribute) {
      for (const graph of g ? [g, ...graphs] : graphs) {
        tally.subgraphs++;
        tallyGraph(tally, graph, file);
      }
    }
  }
}

function tallyGraph(tally: Tally, graph: GraphProto, file: string): void {
  tallyNodes(tally, graph.node, file);
  for (const initializer of graph.initializer) tallyInitializer(tally, initializer, file);
  for (const { values, indices } of graph.sparseInitializer)
    for (const part of [values, indices]) if (part) tallyInitializer(tally, part, file);
}

/**
 * The contents of a model file: opsets, inputs and outputs, ops by name and block, initializers by element type, external files. Reads
 * any ONNX file, also one that `readOnnx` refuses; external files are listed, not opened.
 *
 * @param path names the file in errors
 * @throws FileError when the bytes are not an ONNX model
 */
export function inspect(bytes: Uint8Array, path = 'model'): Inspection {
  checkArguments('inspect', { bytes });
  const proto = parseModel(bytes, path);
  const { graph, functions } = proto;
  const tally: Tally = { nodes: 0, subgraphs: 0, ops: new Map(), initializers: new Map(), files: new Map(), parameters: 0 };
  tallyGraph(tally, graph, path);
  for (const { node } of functions) tallyNodes(tally, node, path);
  const metadata = recordOf(proto.metadataProps);
  // Before IR version 4 every initializer was listed as an input too.
  const stored = new Set(graph.initializer.map(({ name }) => name));
  return {
    irVersion: sizeOf(proto.irVersion, path, 'the IR version'),
    opsets: opsetsOf(proto.opsetImport, path),
    producer: [proto.producerName, proto.producerVersion].filter(Boolean).join(' '),
    doc: proto.docString,
    metadata,
    inputs: graph.input.filter(({ name }) => !stored.has(name)).map(inspectValue),
    outputs: graph.output.map(inspectValue),
    nodes: tally.nodes,
    subgraphs: tally.subgraphs,
    functions: functions.map(({ domain, name }) => [domain, name].filter(Boolean).join('.')),
    ops: [...tally.ops.values()]
      .sort((a, b) => b.count - a.count || (a.opType < b.opType ? -1 : 1))
      .map((op) => ({ ...op, paths: Object.fromEntries(op.paths) })),
    initializers: [...tally.initializers.values()].sort((a, b) => b.bytes - a.bytes || (a.type < b.type ? -1 : 1)),
    parameters: /^\d+$/.test(metadata[parameterCountKey] ?? '') ? Number(metadata[parameterCountKey]) : tally.parameters,
    externalFiles: [...tally.files.values()],
  };
}
