// The nouns of the graph. They refer to each other (a value to its graph, a node to its op), so they are defined together.

import type { Dim } from '../dim/dim';
import type { Reason } from '../lower/reason';
import type { Parameter } from '../parameter/parameter';
import type { DType, NDArray, Tensor } from '../tensor/tensor';
import type { Assumption } from './assumption';
import type { Continuation } from './filled-sizes';
import type { Limit } from './limit';
import type { OperandNames } from './operands';
import type { InputRole } from './role';
import type { Taps } from './taps';
import { printType, type TensorType } from './tensor-type';
import type { Vocabulary } from './vocabulary';

/** Where a value comes from when no node makes it. */
export type Leaf =
  | {
      readonly kind: 'input';
      readonly name: string;
      /** As declared. */
      readonly role?: InputRole;
    }
  | { readonly kind: 'parameter'; readonly parameter: Parameter }
  | { readonly kind: 'constant'; readonly tensor: Tensor }
  | { readonly kind: 'state'; readonly name: string; readonly fill: number }
  | {
      readonly kind: 'derived';
      readonly name: string;
      readonly how: Derivation;
      readonly from: readonly Value[];
      readonly plus?: Dim;
      readonly pool?: Pool;
    }
  | { readonly kind: 'draw'; readonly name: string; readonly of: 'uniform' | 'normal' }
  | { readonly kind: 'argument'; readonly index: number };

/** Memory for the positions of all sequences, in blocks (paged cache). */
export interface Pool {
  readonly blocks: number;
  /** In positions. */
  readonly blockSize: number;
}

/** How a derived input may be computed from a batch. */
export const derivations = [
  'lengths',
  'longest',
  'past_lengths',
  'offsets',
  'positions',
  'tokenOffset',
  'slotMapping',
  'blockTable',
  'totalLength',
  'run',
] as const;
export type Derivation = (typeof derivations)[number];

/** An immutable handle of a result: its dtype, its dims and its producer. Made only by a {@link GraphBuilder}. */
export class Value {
  constructor(
    /** The graph that contains it (a subgraph for values that depend on one). */
    readonly graph: GraphBuilder,
    readonly id: number,
    readonly dtype: DType,
    readonly dims: readonly Dim[],
    readonly producer: Node | undefined,
    /** Which of the producer's outputs it is. */
    readonly index: number,
    readonly leaf: Leaf | undefined,
  ) {}
  /** The number of its axes. */
  get rank(): number {
    return this.dims.length;
  }
  /** `x: float32[batch, seq, 16]`. */
  toString(): string {
    return `${this.leaf && 'name' in this.leaf ? this.leaf.name : `%${this.id}`}: ${printType(this)}`;
  }
}

/** What an op function accepts: a number is converted to the dtype of the other operands, undefined is an omitted optional operand. */
export type Operand = Value | Parameter | Tensor | number | undefined;

/** What a node inherits from where it was made, besides its path. */
export interface Origin {
  /** Rules that may be tried at the node: those of the block that made it, or of the node that it was rewritten from. */
  readonly rules: readonly Rule[];
  /** Names of the rules that led to it; empty as traced. */
  readonly history: readonly string[];
}

/** One application of an op. */
export interface Node<A extends Attrs = Attrs> extends Origin {
  readonly op: Op<A>;
  readonly operands: readonly (Value | undefined)[];
  readonly attrs: A;
  readonly outputs: readonly Value[];
  /** Dotted path of the module that made it: `layers.3.mixer.q_proj`. */
  readonly scope: string;
  readonly graph: GraphBuilder;
}

/** One replacement for the node that a rule matched. */
export interface Match {
  /** Which variant of the rule it is, where there are several: `with the mask in its bias`. */
  readonly variant?: string;
  /** Old values that it replaces; a fusion of several nodes covers several. */
  readonly covers: readonly Value[];
  /** Old values that are no longer needed when this match is taken (they count when matches compete). */
  readonly absorbs?: readonly Value[];
  /** Notes on the choice: shown by `explain`, read by the target's advice. */
  readonly notes?: readonly Reason[];
  /** Its cost besides that of the kernels that it makes, on their scale: for primitives that compete with kernels. Default 0. */
  readonly cost?: number;
  /** It takes less memory than the other matches, which counts more than their costs. */
  readonly sparesMemory?: true;
  /** It is no choice between kernels: `explain` does not list it. */
  readonly unlisted?: true;
  /** Makes the new nodes; `get` returns the new value for an old one. One result for each of `covers`. */
  emit(get: Get): readonly Value[];
}
/** The new value for an old one. */
export type Get = (old: Value) => Value;

/** Why a rule, or one of its variants, does not apply to a node: shown by `explain`. */
export interface Refusal {
  readonly variant?: string;
  readonly refused: Reason;
}
/** What a rule returns for a node: a match or a refusal for each of its variants, the preferred first; undefined if it does not concern the node. */
export type Outcome = Match | Refusal | readonly (Match | Refusal)[] | undefined;
/** What a rule can query about the graph around a node. */
export interface MatchContext {
  /** Number of nodes and outputs that read a value. */
  uses(value: Value): number;
  /** An assumption of the caller of `compile`: `'prefill into empty cache'`. */
  assumes(assumption: Assumption): boolean;
  /** The cheapest match at a node, for a rule that `compares`; undefined if the other rules have none. With `fits`, the cheapest of those for which it is true. */
  cheapest(node: Node, fits?: (rival: Rival) => boolean): Rival | undefined;
  /** True where each step of a Loop waits for a device. */
  readonly waitsInLoops: boolean;
  /** True where adding a bias to the result of a product is a kernel of its own. */
  readonly biasTakesPass: boolean;
  /** Fused attention takes only heads whose number of channels is a multiple of this; 1: any. */
  readonly headMultiple: number;
  /** True where a fused kernel of attention takes the lengths of a padded batch. */
  readonly takesLengths: boolean;
  /** True where the runtime may free the memory of a size while a view of it is still read. */
  readonly freesViews: boolean;
}

/** What a match would take. */
export interface Rival {
  /** Its rule and variant. */
  readonly name: string;
  readonly match: Match;
  readonly cost: number;
  /** Numbers that its kernels keep besides their operands and results. */
  readonly workspace: Dim;
}

/** One equality. It names no target and no block. */
export interface Rule {
  readonly name: string;
  /** Key of the op that it matches. */
  readonly op: string;
  /** Tried only where the target refuses the node as it is, for a reason of which this is true (a remedy). */
  readonly remedy?: (why: Reason) => boolean;
  /** Asked after the other rules, because its matches depend on the costs of theirs. */
  readonly compares?: true;
  /** An equality between ops that other rules match: applied before any of them is asked, until nothing changes. */
  readonly early?: true;
  /** The match at a node, or why the rule does not apply. */
  match(node: Node, context: MatchContext): Outcome;
}

/** A finished graph: nodes in an order in which they can run, only those that an output or a written state needs. */
export interface Graph {
  readonly inputs: readonly Value[];
  readonly outputs: readonly { readonly name: string; readonly value: Value }[];
  readonly nodes: readonly Node[];
  readonly builder: GraphBuilder;
}

export type SubgraphKind = 'loop' | 'branch';

/** A tensor with a row for each step of a loop: the maximum number of steps, and how to read a row. */
export interface StepRows {
  readonly count: Dim;
  at(all: Value, step: Value): Value;
}

/** How ONNX stores an attribute; `data` is internal (sizes, masks) and never written. */
export type AttributeKind = 'int' | 'float' | 'string' | 'ints' | 'floats' | 'strings' | 'tensor' | 'graph' | 'data';
/** The value of an attribute. An undefined attribute is omitted. */
export type Attribute = number | string | boolean | Tensor | Graph | object | readonly Attribute[] | undefined;
/** The attributes of a node. A type alias on purpose: an index signature rejects interfaces. */
export type Attrs = { readonly [name: string]: Attribute };

/** Sizes that a run has bound; {@link Op.evaluate} needs them where an attribute contains symbolic sizes. */
export interface Sizes {
  /** The value of a size in this run. */
  of(dim: Dim): number;
}

/** Computes a subgraph of the node being evaluated: its outputs for these inputs. */
export type RunSubgraph = (graph: Graph, inputs: readonly NDArray[]) => readonly NDArray[];

/** Gradients of `outputs`, weighted by `seeds`, with respect to `wrt` (vector-Jacobian product); undefined where they do not depend on it. */
export type Backward = (
  outputs: readonly Value[],
  seeds: readonly (Value | undefined)[],
  wrt: readonly Value[],
) => readonly (Value | undefined)[];

/** One attribute as it is stored in a file. */
export interface EncodedNode {
  readonly opType: string;
  readonly domain: string;
  readonly operands: readonly (Value | Tensor | undefined)[];
  /** Default: those of the node. Undefined for an attribute that is not written. */
  readonly outputs?: readonly (Value | undefined)[];
  readonly attributes: Readonly<Record<string, { readonly kind: Exclude<AttributeKind, 'data'>; readonly value: Attribute }>>;
}

/**
 * Everything about one op. A primitive has `evaluate` and `vjp`; a function op has `decompose` (and `evaluate` where that is
 * clearer or faster). An op of the domain `onnxformers` is a high-level op without a kernel on any runtime: it is always lowered.
 */
export interface Op<A extends Attrs = Attrs, N extends OperandNames = OperandNames> {
  /** `MatMul`, `com.microsoft.MultiHeadAttention`, `onnxformers.Attend`. */
  readonly key: string;
  /** First opset of its domain that has this version of the op. */
  readonly since?: number;
  /** Names of the operands, in order: `x`, `weight`, `bias?`. Absent for ops of any number of operands. */
  readonly operands?: N;
  /** Names of the results, if there are several. */
  readonly results?: readonly string[];
  readonly attributes: { readonly [K in keyof A]: AttributeKind };
  /** The types of the outputs. Throws ShapeError (see `mismatch`) when operands do not fit. */
  infer(operands: readonly (TensorType | undefined)[], attrs: A): readonly TensorType[];
  /** A simpler value for the result, such as the operand itself if the op changes nothing; called whenever the op is applied. Only for ops with one output. */
  simplify?(operands: readonly (Value | undefined)[], attrs: A, ops: Vocabulary): Value | undefined;
  /**
   * The results if a size that the kernel needs to be at least 1 is 0, in smaller ops. Absent: zeros.
   */
  ofNothing?(operands: readonly (Value | undefined)[], attrs: A, ops: Vocabulary): readonly Value[];
  /** The op's definition in smaller ops. */
  decompose?(operands: readonly (Value | undefined)[], attrs: A, ops: Vocabulary): readonly Value[];
  /** Gradients of the operands, given those of the outputs (undefined: that output has none), as values of the same graph. */
  vjp?:
    | ((node: Node<A>, grads: readonly (Value | undefined)[], ops: Vocabulary) => readonly (Value | undefined)[])
    | 'nonDifferentiable';
  /**
   * Gradients of an op that runs subgraphs (If): of the operands and captured values in `wanted`, given those of the outputs.
   * `backward` differentiates values of a subgraph.
   */
  vjpWith?(
    node: Node<A>,
    grads: readonly (Value | undefined)[],
    wanted: readonly Value[],
    backward: Backward,
    ops: Vocabulary,
  ): readonly (Value | undefined)[];
  /** Float64 reference. */
  evaluate?(operands: readonly (NDArray | undefined)[], attrs: A, sizes: Sizes): readonly NDArray[];
  /** Float64 reference of an op that runs subgraphs (Loop, If): `run` computes one, its captured values included. */
  evaluateWith?(operands: readonly (NDArray | undefined)[], attrs: A, run: RunSubgraph, sizes: Sizes): readonly NDArray[];
  /**
   * Floating-point operations of a node at these sizes. A multiplication and an addition are two operations. `inside` counts those of a subgraph.
   * Absent: those of the op's definition, or one for each float of the results if there is no definition.
   */
  flops?(node: Node<A>, sizes: Sizes, inside: (graph: Graph) => number): number;
  /** Notes on a node that apply however it is lowered: shown by `explain`. */
  notes?(node: Node<A>): readonly Reason[];
  /** True where the result shares the memory of the first operand, as with a reshape. */
  readonly view?: true;
  /** The name of a size of the result that only the run determines, at least 1, and a bound on it. */
  runSize?(attrs: A): RunSize;
  /**
   * Names of the operands that are updated in place (states only); such nodes keep their order and are never merged. The new contents of the states
   * are the last outputs of the op, in the order of this list.
   */
  readonly writes?: readonly string[];
  /** True for an op whose nodes are never equal (a draw); they are never merged. */
  readonly impure?: boolean;
  /**
   * For an op that is in no target's table: the dtypes that it runs in, by the name of the target (`portable` for every opset of it), or
   * `everywhere`. Tables come first.
   */
  readonly kernels?: 'everywhere' | Readonly<Record<string, readonly DType[]>>;
  /**
   * The attributes that decide, besides the dtype, whether a runtime has a kernel, as text: `reduction=add`. Tables have an entry for each
   * form that was probed; a form without an entry has no kernel.
   */
  form?(attrs: A): string;
  /**
   * What a node asks of a kernel besides its dtype and form: sizes by name (`head_dim: 64`), and features (`softcap: true`; false and undefined: not
   * asked for). Kernels have limits by these names (`Kernel.limits`), which probes find by comparing them with the op's definition.
   */
  asks?(operands: readonly (TensorType | undefined)[], attrs: A): Asked;
  /** Only if ONNX stores other operands or attributes than those of the node. */
  encode?(node: Node<A>): EncodedNode;
}

/** A size that data determine in a run: its name, and a bound. */
export interface RunSize {
  readonly name: string;
  readonly most: Dim;
  /** Whether it can be 0. */
  readonly mayBeEmpty?: boolean;
}

/** What a node asks of a kernel, by name: a size, or whether it uses a feature. */
export type Asked = { readonly [name: string]: Dim | boolean | undefined };

/** Replaces a parameter by a value computed from others; see `reparametrize`. */
export interface ParameterOverride {
  value(graph: GraphBuilder): Value;
  /** True if the parameter itself is no longer used: it is then neither stored nor fed. */
  readonly replaces: boolean;
}

/** Computes the random numbers of a draw, instead of an input. `steps`: the step numbers of the enclosing loops, int64 [], outermost first. */
export type DrawMaker = (
  graph: GraphBuilder,
  name: string,
  dims: readonly Dim[],
  of: 'uniform' | 'normal',
  steps: readonly Value[],
) => Value;

/** Settings of a whole graph. */
export interface GraphOptions {
  readonly dtype?: DType;
  readonly storage?: DType;
  /** Casts from the dtype in which a parameter is stored or fed to that in which it is used, if they differ. */
  readonly convert?: (stored: Value, to: DType) => Value;
  readonly training?: boolean;
  /** What holds for the feeds of every run, by name. */
  readonly assumptions?: ReadonlySet<Assumption>;
  /** The least values of sizes that are at least 1 in every run; see `filledSizes`. */
  readonly filled?: ReadonlyMap<string, number>;
  /** How draws are made; absent: they are inputs. */
  readonly draws?: DrawMaker;
  /** Paths of modules whose results are kept, and of what modules offer besides. */
  readonly taps?: ReadonlySet<string>;
}

/** Collects the nodes of a graph. Every value refers to its builder; there is no global builder. */
export interface GraphBuilder {
  /** What definitions are written in. */
  readonly ops: Vocabulary;
  readonly root: GraphBuilder;
  readonly parent?: GraphBuilder | undefined;
  readonly kind: 'root' | SubgraphKind;
  readonly depth: number;
  /** For a loop: what is needed for draws in it that are inputs. */
  readonly rows?: StepRows | undefined;
  /** dtype of parameters without a dtype of their own, and of the model's arithmetic. */
  readonly dtype: DType;
  /** dtype in which parameters are stored, if it differs from that of the arithmetic. */
  readonly storage: DType;
  /** True: dropout is applied. */
  readonly training: boolean;
  /** What holds for the feeds of every run, by name. */
  readonly assumptions: ReadonlySet<Assumption>;
  /** The least values of sizes that are at least 1 in every run; see `filledSizes`. Known when the graph is finished; empty before. */
  readonly filled: ReadonlyMap<string, number>;
  readonly taps: Taps<Value>;
  /** Outputs of the states at the end of a call, by name. */
  readonly stateOutputs: Map<string, Value>;
  readonly inputs: readonly Value[];
  /** The sizes that only a run determines, by name, with the values that have them and a bound. */
  readonly runSizes: ReadonlyMap<string, { readonly most: Dim; readonly values: readonly Value[] }>;
  readonly overrides: Map<Parameter, ParameterOverride>;
  /** Operands that a simplification bypassed: no gradient passes through them. */
  readonly bypassed: Set<Value>;
  /** Results of ops that a gradient computes again by their definitions, and whose intermediate values it keeps. */
  readonly defined: Set<Value>;
  /** The roles of inputs, by name, as the sequence context used them. */
  readonly roles: Map<string, InputRole>;
  /** Requirements on feeds besides dtypes and sizes, in the order of the calls. */
  readonly limits: readonly Limit[];
  /** Outputs that continue an input, by name. */
  readonly continuations: Map<string, Continuation>;

  /** A named input. Names are unique; sizes are numbers or names bound when the graph runs. */
  input(name: string, dtype: DType, dims: readonly Dim[], role?: InputRole | undefined): Value;
  /**
   * Adds a requirement on the feeds of every run; equal requirements are merged.
   *
   * @throws ShapeError if it is already known that it cannot be satisfied
   */
  limit(limit: Limit): void;
  /** Makes a value an output. Names are unique. */
  output(name: string, value: Value): void;
  /** The value of a parameter, or of its replacement by `reparametrize`. */
  param(parameter: Parameter): Value;
  /** The parameter itself, even if `reparametrize` replaced it, in the dtype of the arithmetic. */
  storedParam(parameter: Parameter): Value;
  /** The parameter in the dtype in which it is stored, or of the input that it is. */
  rawParam(parameter: Parameter, dtype?: DType): Value;
  /** Makes a parameter an input of the graph, before anything uses it. */
  parameterInput(parameter: Parameter, dtype?: DType): Value;
  /** A tensor as a value; equal small tensors are merged. */
  constant(tensor: Tensor): Value;
  /** A constant of one number, or of a list of numbers. */
  number(value: number | readonly number[], dtype: DType): Value;
  /** Memory that persists from run to run and that ops with `writes` update in place. Never merged, never folded. */
  state(name: string, dtype: DType, dims: readonly Dim[], fill: number): Value;
  /** A value that the runner computes from the batch; all of `from` must be inputs. `derive` handles other values. */
  derivedInput(name: string, type: TensorType, how: Derivation, from: readonly Value[], plus?: Dim, pool?: Pool): Value;
  /**
   * Random numbers: an input, which tests and recorded draws feed, or computed by `draws`. Every call is a separate draw: `dropout`, `dropout@2`. In a
   * loop every step has its own numbers: the input is [trips, …dims], in nested loops [outer trips, inner trips, …dims].
   *
   * @throws ShapeError for an input in a loop whose number of steps is not known
   */
  draw(name: string, dims: readonly Dim[], of: 'uniform' | 'normal'): Value;
  /** A draw under a complete name, as an input of exactly these dims. */
  drawInput(name: string, dims: readonly Dim[], of: 'uniform' | 'normal'): Value;

  /** Runs f in a nested scope: `layers.3` + `mixer` → `layers.3.mixer`. */
  scope<T>(name: string, f: () => T): T;
  /** Runs f with this path as the current scope, and with this origin for nodes made inside; without an origin the current one is kept. */
  at<T>(path: string, f: () => T, origin?: Origin): T;
  /** Runs f; nodes made inside are not merged with these, even if they are equal. */
  apart<T>(nodes: ReadonlySet<Node>, f: () => T): T;
  /** The dotted path of the module that runs: `layers.3.mixer`. */
  readonly where: string;
  /** The scope name for one more call of a module: `mixer`, then `mixer@2`. Numbers restart in each subgraph. */
  callName(name: string): string;
  /** The innermost open subgraph, or the root. */
  readonly innermost: GraphBuilder;
  /** True if a value may be used now: it is not in a subgraph that is closed. */
  reaches(value: Value): boolean;
  /**
   * A body for Loop or a branch for If. Inside, values of the enclosing graphs may be used freely. Nodes that depend only on them are placed outside
   * a loop, but inside a branch, because it must not run when it is not taken.
   *
   * @param rows what is needed for draws in a loop that are inputs
   */
  subgraph(
    kind: SubgraphKind,
    inputs: readonly TensorType[],
    body: (...values: Value[]) => readonly Value[],
    rows?: StepRows,
  ): Graph;
  /** The nodes that the outputs and the written states need, in topological order. */
  finish(): Graph;
  /**
   * Applies an op: converts the operands, calls `simplify`, infers the types, folds small constants, and adds the node.
   *
   * @throws ShapeError when the operands do not fit, with the path, the op and the operands' types
   */
  apply<A extends Attrs>(op: Op<A>, operands: readonly Operand[], attrs: A): readonly Value[];
  /** Adds a node, or returns an equal existing one. Called by `apply` with converted operands. */
  emit(op: Op, operands: readonly (Value | undefined)[], attrs: Attrs, types: readonly TensorType[]): readonly Value[];
  /** Runs f and adds the op, the path and the operands' types to a `mismatch` that it throws. For functions that compute attributes before `apply`. */
  located<T>(key: string, operands: readonly (TensorType | undefined)[], f: () => T): T;
}
