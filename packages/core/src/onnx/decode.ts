// Reading models into plain data.

import { fromBinary } from '@bufbuild/protobuf';
import { checkArguments } from '../arguments';
import { describe, FileError } from '../error';
import { bytesOf } from '../tensor/tensor';
import { dtypeOfElementType, elementTypeName } from './element-type';
import {
  type AttributeProto,
  type GraphProto,
  AttributeProto_AttributeType as Kind,
  type ModelProto,
  ModelProtoSchema,
  type NodeProto,
  type OperatorSetIdProto,
  type StringStringEntryProto,
  type TensorProto,
  TensorProto_DataLocation,
  type ValueInfoProto,
} from './gen/onnx_pb';
import { canonicalDomain } from './ir-version';
import { checkLimits } from './limits';
import type { ExternalData, OnnxAttribute, OnnxGraph, OnnxInitializer, OnnxModel, OnnxNode, OnnxValueInfo } from './model';
import { fromTensorProto, parsing, sizeOf, tensorTypeOf } from './tensor-proto';

/** The messages of a model file; large tensors are views of the bytes. */
export function parseModel(bytes: Uint8Array, path: string): ModelProto & { readonly graph: GraphProto } {
  checkLimits(bytes, path);
  const proto = parsing(path, 'an ONNX model', () => fromBinary(ModelProtoSchema, bytes));
  const { graph } = proto;
  if (!graph) throw new FileError({ path, problem: 'not an ONNX model', expected: 'a graph', got: 'none' });
  return Object.assign(proto, { graph });
}

export const recordOf = (entries: readonly StringStringEntryProto[]): Record<string, string> =>
  Object.fromEntries(entries.map(({ key, value }) => [key, value]));

export const opsetsOf = (imports: readonly OperatorSetIdProto[], path: string): Record<string, number> =>
  Object.fromEntries(
    imports.map(({ domain, version }) => [canonicalDomain(domain), sizeOf(version, path, `opset of "${domain}"`)]),
  );

/**
 * Where the elements of a tensor are, if not in the model file. Nothing is checked against the external file.
 *
 * @param expected number of bytes for its dims; absent for unsupported element types
 */
export function externalDataOf(proto: TensorProto, path: string, expected?: number): ExternalData | undefined {
  if (proto.dataLocation !== TensorProto_DataLocation.EXTERNAL) return undefined;
  const { location, offset = '0', length = `${expected ?? 0}` } = recordOf(proto.externalData);
  if (!location) throw new FileError({ path, problem: 'its elements are in another file, which is not named' });
  const size = (digits: string, what: string): number => {
    if (!/^\d{1,16}$/.test(digits))
      throw new FileError({ path, problem: `${what} is not a number`, expected: 'digits', got: describe(digits) });
    return sizeOf(BigInt(digits), path, what);
  };
  const bytes = size(length, 'the length of its external data');
  if (bytes !== (expected ?? bytes)) {
    throw new FileError({
      path,
      problem: 'the length of its external data does not match its dims',
      expected: `${expected} bytes`,
      got: `${bytes}`,
    });
  }
  return { location, offset: size(offset, 'the offset of its external data'), length: bytes };
}

const safe = (n: bigint): number | bigint => (Number.isSafeInteger(Number(n)) ? Number(n) : n);

// Strings are bytes in the format, and text here.
function textOf(bytes: Uint8Array, path: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new FileError({ path, problem: 'the attribute is binary', expected: 'text in UTF-8' }, { cause });
  }
}

function readAttribute(proto: AttributeProto, file: string, node: string): OnnxAttribute {
  const path = `${file}, attribute "${proto.name}" of node "${node}"`;
  if (proto.refAttrName)
    throw new FileError({ path, problem: 'the attribute refers to an attribute of a function', expected: 'a value' });
  switch (proto.type) {
    case Kind.INT:
      return { type: 'int', value: safe(proto.i) };
    case Kind.FLOAT:
      return { type: 'float', value: proto.f };
    case Kind.STRING:
      return { type: 'string', value: textOf(proto.s, path) };
    case Kind.INTS:
      return { type: 'ints', value: proto.ints.map(safe) };
    case Kind.FLOATS:
      return { type: 'floats', value: proto.floats };
    case Kind.STRINGS:
      return { type: 'strings', value: proto.strings.map((s) => textOf(s, path)) };
    case Kind.TENSOR:
      if (proto.t) return { type: 'tensor', value: fromTensorProto(proto.t, path) };
      break;
    case Kind.GRAPH:
      if (proto.g) return { type: 'graph', value: readGraph(proto.g, file) };
  }
  const expected = 'a number, string, tensor or graph, or a list of numbers or strings';
  throw new FileError({
    path,
    problem: 'unsupported type of attribute',
    expected,
    got: Kind[proto.type] ?? `type ${proto.type}`,
  });
}

function readNode(proto: NodeProto, path: string): OnnxNode {
  const { name, opType, domain, input: inputs, output: outputs, attribute, metadataProps, docString: doc } = proto;
  const attributes = Object.fromEntries(attribute.map((a) => [a.name, readAttribute(a, path, name)]));
  const metadata = metadataProps.length > 0 && { metadata: recordOf(metadataProps) };
  return { name, opType, domain: canonicalDomain(domain), inputs, outputs, attributes, ...metadata, ...(doc && { doc }) };
}

function readValueInfo({ name, type }: ValueInfoProto, file: string): OnnxValueInfo {
  const path = `${file}, value "${name}"`;
  if (type?.value.case !== 'tensorType')
    throw new FileError({ path, problem: 'not a tensor', got: type?.value.case?.replace('Type', '') ?? 'no type' });
  const { elemType, shape } = type.value.value;
  const dtype = dtypeOfElementType(elemType);
  if (!dtype) throw new FileError({ path, problem: 'unsupported element type', got: elementTypeName(elemType) });
  if (!shape) return { name, dtype };
  const dims = shape.dim.map(({ value }) =>
    value.case === 'dimValue' ? sizeOf(value.value, path, 'a dim') : (value.value ?? ''),
  );
  return { name, dtype, dims };
}

function readInitializer(proto: TensorProto, file: string): OnnxInitializer {
  const { name } = proto;
  const path = `${file}, initializer "${name}"`;
  const { dtype, dims, count } = tensorTypeOf(proto, path);
  const external = externalDataOf(proto, path, bytesOf(dtype, count));
  return { name, dtype, dims, data: external ?? fromTensorProto(proto, path) };
}

function readGraph(proto: GraphProto, path: string): OnnxGraph {
  if (proto.sparseInitializer.length > 0)
    throw new FileError({ path, problem: 'the graph has sparse initializers', expected: 'dense initializers' });
  // Types of intermediate values are optional; those without a dtype of ours are omitted.
  const values = proto.valueInfo.filter(
    ({ type }) => type?.value.case === 'tensorType' && dtypeOfElementType(type.value.value.elemType),
  );
  return {
    name: proto.name,
    nodes: proto.node.map((node) => readNode(node, path)),
    inputs: proto.input.map((info) => readValueInfo(info, path)),
    outputs: proto.output.map((info) => readValueInfo(info, path)),
    ...(values.length > 0 && { values: values.map((info) => readValueInfo(info, path)) }),
    initializers: proto.initializer.map((tensor) => readInitializer(tensor, path)),
    ...(proto.docString && { doc: proto.docString }),
  };
}

/**
 * Reads a model. Elements of initializers are views of the bytes if their address is aligned for the dtype; external data remains
 * a reference, neither read nor checked against its file. A model has at most 2,000,000 nodes, names, attributes and sizes, and about thirty levels of
 * nested graphs.
 *
 * @param path names the file in errors
 * @throws FileError when the bytes are not an ONNX model, are inconsistent, or use types that a graph of the library does not support:
 *   sequences, maps, sparse tensors, strings, complex numbers, 8-bit floats, functions defined in the model. `inspect` reads those too.
 */
export function readOnnx(bytes: Uint8Array, path = 'model'): OnnxModel {
  checkArguments('readOnnx', { bytes });
  const proto = parseModel(bytes, path);
  if (proto.functions.length > 0) {
    throw new FileError({
      path,
      problem: 'the model defines its own functions',
      expected: 'nodes of known ops',
      got: `function "${proto.functions[0]!.name}"`,
    });
  }
  return {
    irVersion: sizeOf(proto.irVersion, path, 'the IR version'),
    opsets: opsetsOf(proto.opsetImport, path),
    ...((proto.producerName || proto.producerVersion) && {
      producer: { name: proto.producerName, version: proto.producerVersion },
    }),
    ...(proto.docString && { doc: proto.docString }),
    ...(proto.metadataProps.length > 0 && { metadata: recordOf(proto.metadataProps) }),
    graph: readGraph(proto.graph, path),
  };
}
