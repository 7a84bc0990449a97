// From the plain description of a graph to protobuf messages.
import { create } from '@bufbuild/protobuf';
import { describe, internal } from '../error';
import { elementTypeOf } from './element-type';
import {
  type AttributeProto,
  AttributeProtoSchema,
  type GraphProto,
  GraphProtoSchema,
  AttributeProto_AttributeType as Kind,
  type NodeProto,
  NodeProtoSchema,
  type StringStringEntryProto,
  StringStringEntryProtoSchema,
  type TensorProto,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from './gen/onnx_pb';
import { canonicalDomain, firstIrVersionWithMetadata } from './ir-version';
import { isExternal, type OnnxAttribute, type OnnxGraph, type OnnxInitializer, type OnnxNode, type OnnxValueInfo } from './model';
import { toTensorProto } from './tensor-proto';

// Sorted, so that equal records are encoded as equal bytes, whatever the order of their keys.
const sorted = <T>(record: Readonly<Record<string, T>>): [string, T][] =>
  Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1));

export const toEntries = (record: Readonly<Record<string, string>> = {}): StringStringEntryProto[] =>
  sorted(record).map(([key, value]) => create(StringStringEntryProtoSchema, { key, value }));

export const toOpsets = (opsets: Readonly<Record<string, number>>): { domain: string; version: bigint }[] =>
  sorted(opsets).map(([domain, version]) => ({ domain: canonicalDomain(domain), version: BigInt(version) }));

const text = new TextEncoder();

function toInt64(n: number | bigint, where: string): bigint {
  if (typeof n === 'number' && !Number.isSafeInteger(n)) throw internal(`${where} is ${n}, not an integer`);
  return BigInt.asIntN(64, BigInt(n));
}

function toAttribute(name: string, attribute: OnnxAttribute, irVersion: number, node: string): AttributeProto {
  const of = (type: Kind, field: object): AttributeProto => create(AttributeProtoSchema, { name, type, ...field });
  const int = (n: number | bigint): bigint => toInt64(n, `attribute "${name}" of node "${node}"`);
  switch (attribute.type) {
    case 'int':
      return of(Kind.INT, { i: int(attribute.value) });
    case 'float':
      return of(Kind.FLOAT, { f: attribute.value });
    case 'string':
      return of(Kind.STRING, { s: text.encode(attribute.value) });
    case 'ints':
      return of(Kind.INTS, { ints: attribute.value.map(int) });
    case 'floats':
      return of(Kind.FLOATS, { floats: [...attribute.value] });
    case 'strings':
      return of(Kind.STRINGS, { strings: attribute.value.map((s) => text.encode(s)) });
    case 'tensor':
      return of(Kind.TENSOR, { t: toTensorProto(attribute.value) });
    case 'graph':
      return of(Kind.GRAPH, {
        g: toGraphProto(attribute.value, irVersion, attribute.value.initializers.map(toInnerInitializer)),
      });
  }
}

function toInnerInitializer({ name, data }: OnnxInitializer): TensorProto {
  if (typeof data === 'function' || isExternal(data))
    throw internal(`initializer "${name}" of a subgraph is ${describe(data)}; only tensors are supported there`);
  return toTensorProto(data, name);
}

function toNode(node: OnnxNode, irVersion: number): NodeProto {
  const { name, opType, domain, inputs, outputs, attributes, metadata = {}, doc } = node;
  const hasMetadata = irVersion >= firstIrVersionWithMetadata;
  const lines = hasMetadata ? [] : sorted(metadata).map(([key, value]) => `${key}: ${value}`);
  const docString = doc === undefined ? lines.join('\n') : [...lines, doc].join('\n');
  return create(NodeProtoSchema, {
    ...(name && { name }),
    opType,
    ...(canonicalDomain(domain) && { domain }),
    input: [...inputs],
    output: [...outputs],
    attribute: sorted(attributes).map(([key, attribute]) => toAttribute(key, attribute, irVersion, name)),
    ...(docString && { docString }),
    metadataProps: hasMetadata ? toEntries(metadata) : [],
  });
}

const toDim = (
  dim: number | string,
): { value: { case: 'dimValue'; value: bigint } | { case: 'dimParam'; value: string } } | object =>
  typeof dim === 'number'
    ? { value: { case: 'dimValue', value: BigInt(dim) } }
    : dim === ''
      ? {}
      : { value: { case: 'dimParam', value: dim } };

function toValueInfo({ name, dtype, dims }: OnnxValueInfo): ValueInfoProto {
  const tensor = { elemType: elementTypeOf(dtype), ...(dims && { shape: { dim: dims.map(toDim) } }) };
  return create(ValueInfoProtoSchema, { name, type: { value: { case: 'tensorType', value: tensor } } });
}

/** The message of a graph; the caller defines how its initializers are written. */
export function toGraphProto(graph: OnnxGraph, irVersion: number, initializer: TensorProto[]): GraphProto {
  return create(GraphProtoSchema, {
    name: graph.name,
    ...(graph.doc && { docString: graph.doc }),
    node: graph.nodes.map((node) => toNode(node, irVersion)),
    input: graph.inputs.map(toValueInfo),
    output: graph.outputs.map(toValueInfo),
    valueInfo: (graph.values ?? []).map(toValueInfo),
    initializer,
  });
}
