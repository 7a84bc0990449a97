// What an op is: everything about one operation, in one object.
import type { Dim } from './dim';
import type { Graph, Node, Value } from './graph';
import type { DType, NDArray, Tensor } from './tensor';

/** What is known of a value before anything runs. */
export interface TensorType {
  readonly dtype: DType;
  readonly dims: readonly Dim[];
}

/** How ONNX writes an attribute; `data` is ours alone (sizes, masks) and never written. */
export type AttributeKind = 'int' | 'float' | 'string' | 'ints' | 'floats' | 'strings' | 'tensor' | 'graph' | 'data';
/** What an attribute may hold. An attribute that is undefined is left out. */
export type Attribute = number | string | boolean | Tensor | Graph | object | readonly Attribute[] | undefined;
/** The attributes of a node. A type alias on purpose: an index signature rejects interfaces. */
export type Attrs = { readonly [name: string]: Attribute };

/** Sizes that a run has bound; what {@link Op.evaluate} needs where an attribute holds symbolic sizes. */
export interface Sizes {
  /** The number that a size is in this run. */
  of(dim: Dim): number;
}

/** Computes a subgraph of the node being evaluated: its outputs for these inputs. */
export type RunSubgraph = (graph: Graph, inputs: readonly NDArray[]) => readonly NDArray[];

/** What `outputs`, weighted by `seeds`, change with each of `wrt`; undefined where they do not. */
export type Backward = (
  outputs: readonly Value[],
  seeds: readonly (Value | undefined)[],
  wrt: readonly Value[],
) => readonly (Value | undefined)[];

/** One attribute as it stands in a file. */
export interface EncodedNode {
  readonly opType: string;
  readonly domain: string;
  readonly operands: readonly (Value | Tensor | undefined)[];
  /** Default: those of the node. Undefined where one of ONNX is not wanted. */
  readonly outputs?: readonly (Value | undefined)[];
  readonly attributes: Readonly<Record<string, { readonly kind: Exclude<AttributeKind, 'data'>; readonly value: Attribute }>>;
}

/**
 * Everything about one op. A primitive has `evaluate` and `vjp`; a function op has `decompose` (and `evaluate` where that is
 * clearer or faster). An op of the domain `onnxformers` is a meaning without a kernel anywhere: it is always lowered.
 */
export interface Op<A extends Attrs = Attrs> {
  /** `MatMul`, `com.microsoft.MultiHeadAttention`, `onnxformers.Attend`. */
  readonly key: string;
  /** First opset of its domain that has this form. */
  readonly since?: number;
  readonly attributes: { readonly [K in keyof A]: AttributeKind };
  /** The types of the outputs. Throws {@link ShapeError} (see `mismatch`) when operands do not fit. */
  infer(operands: readonly (TensorType | undefined)[], attrs: A): readonly TensorType[];
  /** The value itself when the op changes nothing, or a simpler one; asked on every emission. One-output ops only. */
  simplify?(operands: readonly (Value | undefined)[], attrs: A): Value | undefined;
  /** The op's definition in smaller ops. */
  decompose?(operands: readonly (Value | undefined)[], attrs: A): readonly Value[];
  /** Gradients of the operands, given those of the outputs (undefined: that output has none), as values of the same graph. */
  vjp?: ((node: Node<A>, grads: readonly (Value | undefined)[]) => readonly (Value | undefined)[]) | 'nonDifferentiable';
  /**
   * Gradients of an op that runs subgraphs (If): of those of its operands and captured values that are `wanted`, given those of the outputs.
   * `backward` differentiates values of a subgraph.
   */
  vjpWith?(
    node: Node<A>,
    grads: readonly (Value | undefined)[],
    wanted: readonly Value[],
    backward: Backward,
  ): readonly (Value | undefined)[];
  /** Float64 reference. */
  evaluate?(operands: readonly (NDArray | undefined)[], attrs: A, sizes: Sizes): readonly NDArray[];
  /** Float64 reference of an op that runs subgraphs (Loop, If): `run` computes one, its captured values included. */
  evaluateWith?(operands: readonly (NDArray | undefined)[], attrs: A, run: RunSubgraph, sizes: Sizes): readonly NDArray[];
  /**
   * Operands updated in place (states only); such nodes keep their order and are never merged. What the states then hold are the
   * last outputs of the op, in the order of this list.
   */
  readonly writes?: readonly number[];
  /** True for an op whose every node is a different one (a draw); it is never merged. */
  readonly impure?: boolean;
  /**
   * For an op that no target's table knows: the dtypes that it runs in, by the name of the target (`portable` for every opset of it), or
   * `everywhere`. Tables come first.
   */
  readonly kernels?: 'everywhere' | Readonly<Record<string, readonly DType[]>>;
  /** Only where ONNX wants something else than operands and attributes as they are. */
  encode?(node: Node<A>): EncodedNode;
}

/** Defines an op; infers the attribute types from `attributes` and the functions. */
/* @__NO_SIDE_EFFECTS__ */
export function defineOp<A extends Attrs>(op: Op<A>): Op<A> {
  return Object.freeze(op);
}

/** `com.microsoft.Gelu` → `['com.microsoft', 'Gelu']`; the standard's own domain is ''. */
export function domainOf(key: string): readonly [domain: string, name: string] {
  const dot = key.lastIndexOf('.');
  return dot < 0 ? ['', key] : [key.slice(0, dot), key.slice(dot + 1)];
}

/** `float32[batch, seq, 16]`. */
export function printType(type: TensorType | undefined): string {
  return type ? `${type.dtype}[${type.dims.join(', ')}]` : '–';
}

/** The value itself. Emitted only where a subgraph hands out a value of its surroundings. */
export const Identity: Op = defineOp({
  key: 'Identity',
  since: 1,
  attributes: {},
  infer: ([x]) => [x!],
  simplify: ([x]) => x,
  vjp: (_, grads) => grads,
  evaluate: ([x]) => [x!],
});
