// An ONNX model as plain data, as the serializer writes it and the reader returns it.
import type { DType, Tensor } from '../tensor/tensor';

/** A model. Opsets are by domain; the standard's own domain is ''. */
export interface OnnxModel {
  /** Absent: the lowest that the model needs, see `requiredIrVersion`. */
  readonly irVersion?: number;
  readonly opsets: Readonly<Record<string, number>>;
  readonly producer?: { readonly name: string; readonly version: string };
  readonly doc?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly graph: OnnxGraph;
}

/** A graph, or the body of a Loop or a branch of an If, which can also read the values of the enclosing graphs. */
export interface OnnxGraph {
  readonly name: string;
  /** In topological order. */
  readonly nodes: readonly OnnxNode[];
  readonly inputs: readonly OnnxValueInfo[];
  readonly outputs: readonly OnnxValueInfo[];
  /** Types of intermediate values, where they are useful. */
  readonly values?: readonly OnnxValueInfo[];
  readonly initializers: readonly OnnxInitializer[];
  readonly doc?: string;
}

/** The type of a named value. A dim is a size, a name, or '' if unknown; without dims the rank is unknown. */
export interface OnnxValueInfo {
  readonly name: string;
  readonly dtype: DType;
  readonly dims?: readonly (number | string)[];
}

/** One application of an op. */
export interface OnnxNode {
  /** Starts with the path of the block it comes from and a slash: `layers.3.mixer/MatMul_2`. */
  readonly name: string;
  readonly opType: string;
  /** '' for the standard's own ops. */
  readonly domain: string;
  /** '' for an omitted optional input. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, OnnxAttribute>>;
  /** Written as metadata from IR version 10 on, otherwise as lines `key: value` of the node's doc string. */
  readonly metadata?: Readonly<Record<string, string>>;
  readonly doc?: string;
}

/** Metadata key of a model for the number of elements of its parameters, which a file may contain in several layouts, folded, or in another dtype. */
export const parameterCountKey = 'onnxformers.parameters';

/** Metadata key of a node for the path of its block. */
export const blockPathKey = 'onnxformers.path';

/** An attribute; integers beyond 2^53 are bigints. */
export type OnnxAttribute =
  | { readonly type: 'int'; readonly value: number | bigint }
  | { readonly type: 'float'; readonly value: number }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'ints'; readonly value: readonly (number | bigint)[] }
  | { readonly type: 'floats'; readonly value: readonly number[] }
  | { readonly type: 'strings'; readonly value: readonly string[] }
  | { readonly type: 'tensor'; readonly value: Tensor }
  | { readonly type: 'graph'; readonly value: OnnxGraph };

/** A stored tensor. Only the outermost graph may contain lazy ones. */
export interface OnnxInitializer {
  readonly name: string;
  readonly dtype: DType;
  readonly dims: readonly number[];
  readonly data: InitializerData;
}

/**
 * The elements: a tensor, a function that loads one when it is written, its little-endian bytes piece by piece, or a reference to a file. Pieces
 * of at most 4 MiB (`sharedBytes`) are consumed before the next is requested, so that they can share memory. Initializers of one type with the same data object
 * are stored once in a file of external data.
 */
export type InitializerData = Tensor | (() => Promise<Tensor>) | (() => AsyncIterable<Uint8Array>) | ExternalData;

/** Elements in a file next to the model. */
export interface ExternalData {
  /** Path relative to the model's folder, with forward slashes. */
  readonly location: string;
  /** In bytes. */
  readonly offset: number;
  /** In bytes. */
  readonly length: number;
}

export const isExternal = (data: InitializerData): data is ExternalData => typeof data === 'object' && 'location' in data;

/** The nodes of a graph and of all nested graphs, each before those of its own attributes. */
export function* allNodes(graph: OnnxGraph): Generator<OnnxNode> {
  for (const node of graph.nodes) {
    yield node;
    for (const attribute of Object.values(node.attributes)) if (attribute.type === 'graph') yield* allNodes(attribute.value);
  }
}
