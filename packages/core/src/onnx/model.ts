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

/** A graph, or the body of a Loop or a branch of an If, which also sees the values around it. */
export interface OnnxGraph {
  readonly name: string;
  /** In an order in which they can run. */
  readonly nodes: readonly OnnxNode[];
  readonly inputs: readonly OnnxValueInfo[];
  readonly outputs: readonly OnnxValueInfo[];
  /** Types of values in between, where they are worth writing. */
  readonly values?: readonly OnnxValueInfo[];
  readonly initializers: readonly OnnxInitializer[];
  readonly doc?: string;
}

/** The type of a named value. A dim is a size, a name, or '' where nothing is known; no dims at all: unknown rank. */
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
  /** '' where an optional input is left out. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, OnnxAttribute>>;
  /** Stands in the file from IR version 10 on; below, as lines `key: value` of the node's doc. */
  readonly metadata?: Readonly<Record<string, string>>;
  readonly doc?: string;
}

/** Metadata of a model: how many elements its parameters have, which a file may hold in several layouts, folded, or narrow. */
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

/** A stored tensor. Only the outermost graph may hold lazy ones. */
export interface OnnxInitializer {
  readonly name: string;
  readonly dtype: DType;
  readonly dims: readonly number[];
  readonly data: InitializerData;
}

/**
 * The elements: a tensor, what loads one when its turn comes, its little-endian bytes piece by piece, or where they lie. Pieces
 * of at most 4 MiB (`sharedBytes`) are used up before the next is asked for, so that they can share memory. Initializers of one type with the very same data
 * lie in a file of external data once.
 */
export type InitializerData = Tensor | (() => Promise<Tensor>) | (() => AsyncIterable<Uint8Array>) | ExternalData;

/** Elements in a file beside the model. */
export interface ExternalData {
  /** Path relative to the model's folder, with forward slashes. */
  readonly location: string;
  /** In bytes. */
  readonly offset: number;
  /** In bytes. */
  readonly length: number;
}

export const isExternal = (data: InitializerData): data is ExternalData => typeof data === 'object' && 'location' in data;

/** The nodes of a graph and of all graphs inside it, each before those of its own attributes. */
export function* allNodes(graph: OnnxGraph): Generator<OnnxNode> {
  for (const node of graph.nodes) {
    yield node;
    for (const attribute of Object.values(node.attributes)) if (attribute.type === 'graph') yield* allNodes(attribute.value);
  }
}
