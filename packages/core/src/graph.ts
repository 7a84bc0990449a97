// Values, nodes and the builder they come from: the one IR of the library.
import type { Dim } from './dim';
import { internal, ShapeError } from './error';
import { type Attribute, type Attrs, Identity, type Op, printType, type TensorType } from './op';
import { Parameter } from './parameter';
import { countOf, type DType, isFloat, type NDArray, type Tensor } from './tensor';
import { toArray, toTensor } from './tensor-convert';

/** Where a value comes from when no node makes it. */
export type Leaf =
  | { readonly kind: 'input'; readonly name: string }
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

/** Memory for the rows of all sequences, in blocks. */
export interface Pool {
  readonly blocks: number;
  /** In positions. */
  readonly blockSize: number;
}

/** How a derived input is computed from a batch. */
export type Derivation =
  | 'lengths'
  | 'longest'
  | 'held'
  | 'offsets'
  | 'positions'
  | 'tokenOffset'
  | 'slotMapping'
  | 'blockTable'
  | 'totalLength'
  | 'run';

/** An immutable handle on a result: its dtype, its dims, what made it. Made only by a {@link GraphBuilder}. */
export class Value {
  constructor(
    /** The graph it stands in (a subgraph for values that depend on one). */
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

/** What an op function accepts: a number takes the dtype of its neighbours, undefined is an optional operand left out. */
export type Operand = Value | Parameter | Tensor | number | undefined;

/** One application of an op. */
export interface Node<A extends Attrs = Attrs> {
  readonly op: Op<A>;
  readonly operands: readonly (Value | undefined)[];
  readonly attrs: A;
  readonly outputs: readonly Value[];
  /** Dotted path of the module that made it: `layers.3.mixer.q_proj`. */
  readonly scope: string;
  readonly graph: GraphBuilder;
  /** Names of the rules that led to it; empty as traced. */
  readonly rules: readonly string[];
}

/** A finished graph: nodes in an order in which they can run, only those that an output or a written state needs. */
export interface Graph {
  readonly inputs: readonly Value[];
  readonly outputs: readonly { readonly name: string; readonly value: Value }[];
  readonly nodes: readonly Node[];
  readonly builder: GraphBuilder;
}

export type SubgraphKind = 'loop' | 'branch';

/** What has a row for each step of a loop: how many there are at most, and how to read one. */
export interface StepRows {
  readonly count: Dim;
  at(all: Value, step: Value): Value;
}

/** Replaces a parameter by a value made from others; see `reparametrize`. */
export type ParameterOverride = (graph: GraphBuilder) => Value;

const optionsOf = (g: GraphBuilder): GraphOptions => ({ dtype: g.dtype, storage: g.storage, training: g.training });
/** A builder with the same dtype, storage and mode as another's: for graphs made from its graph. */
export const builderLike = (g: GraphBuilder): GraphBuilder => new GraphBuilder(optionsOf(g));

/** Makes the random numbers of a draw, in place of an input. `steps`: those of the loops around, int64 [], the outermost first. */
export type DrawMaker = (
  graph: GraphBuilder,
  name: string,
  dims: readonly Dim[],
  of: 'uniform' | 'normal',
  steps: readonly Value[],
) => Value;

/** What holds for a whole graph. */
export interface GraphOptions {
  readonly dtype?: DType;
  readonly storage?: DType;
  /** From a stored parameter to the dtype of the arithmetic, where they differ. */
  readonly widen?: (stored: Value) => Value;
  readonly training?: boolean;
  /** How draws are made; absent: they are inputs. */
  readonly draws?: DrawMaker;
  /** Module paths whose results are kept in `tapped`. */
  readonly taps?: ReadonlySet<string>;
}

/** Collects nodes. Everything a value needs to know of its graph is here; none is ambient. */
export class GraphBuilder {
  readonly root: GraphBuilder;
  readonly depth: number;
  /** dtype of parameters that name none, and of the model's arithmetic. */
  readonly dtype: DType;
  /** dtype in which parameters are stored, where it is not that of the arithmetic. */
  readonly storage: DType;
  readonly taps: ReadonlySet<string>;
  /** What the modules named in `taps` gave. */
  readonly tapped = new Map<string, Value>();
  /** What a state hands out at the end of a call, by output name. */
  readonly stateOutputs = new Map<string, Value>();
  private readonly widen: ((stored: Value) => Value) | undefined;
  private readonly draws: DrawMaker | undefined;
  /** True keeps dropout. */
  readonly training: boolean;
  private readonly nodes: Node[] = [];
  private readonly merged = new Map<string, Node>();
  private readonly calls = new Map<string, number>();
  private readonly drawNames = new Map<string, number>();
  readonly inputs: Value[] = [];
  private readonly results: { name: string; value: Value }[] = [];
  // Of the root only:
  private open: GraphBuilder[] = [this];
  private nextId = 0;
  private readonly leaves = new Map<unknown, Value>();
  private path = '';
  private currentRules: readonly string[] = [];
  private readonly attributeIds = new WeakMap<object, number>();
  private nextAttributeId = 0;
  readonly overrides = new Map<Parameter, ParameterOverride>();
  /** What one layer makes and later ones use, fresh for each trace. */
  readonly shared = new Map<string, unknown>();

  constructor(
    options: GraphOptions = {},
    readonly parent?: GraphBuilder,
    readonly kind: 'root' | SubgraphKind = 'root',
    readonly rows?: StepRows,
  ) {
    this.root = parent?.root ?? this;
    this.depth = parent ? parent.depth + 1 : 0;
    this.dtype = parent?.dtype ?? options.dtype ?? 'float32';
    this.storage = parent?.storage ?? options.storage ?? this.dtype;
    this.widen = options.widen;
    this.draws = options.draws;
    this.taps = options.taps ?? new Set();
    this.training = parent?.training ?? options.training ?? false;
  }

  /** A named input. Names are unique; sizes are numbers or names bound when the graph runs. */
  input(name: string, dtype: DType, dims: readonly Dim[]): Value {
    if (this.inputs.some((v) => nameOf(v) === name))
      throw new ShapeError({ path: name, problem: 'an input of this name exists already' });
    return this.addInput(this.make({ dtype, dims }, { kind: 'input', name }));
  }
  /** Makes a value an output. Names are unique. */
  output(name: string, value: Value): void {
    if (this.results.some((r) => r.name === name))
      throw new ShapeError({ path: name, problem: 'an output of this name exists already' });
    this.results.push({ name, value });
  }
  /** The value of a parameter: itself, or what `reparametrize` put in its place. */
  param(parameter: Parameter): Value {
    const override = this.root.overrides.get(parameter);
    if (override) return this.root.leaf(override, () => override(this.root));
    return this.storedParam(parameter);
  }
  /** The parameter itself, whatever `reparametrize` put in its place, in the dtype of the arithmetic. */
  storedParam(parameter: Parameter): Value {
    const stored = this.rawParam(parameter);
    return parameter.options.dtype ? stored : (this.root.widen?.(stored) ?? stored);
  }
  /** The parameter in the dtype in which it is stored. */
  rawParam(parameter: Parameter): Value {
    const type = { dtype: parameter.options.dtype ?? this.storage, dims: parameter.dims };
    return this.root.leaf(parameter, () => this.root.make(type, { kind: 'parameter', parameter }));
  }
  /** Makes a parameter an input of the graph. */
  parameterInput(parameter: Parameter): Value {
    return this.root.addInput(this.rawParam(parameter));
  }
  /** A tensor as a value; small ones with equal elements are one. */
  constant(tensor: Tensor): Value {
    const key =
      tensor.data.length <= 64 ? `${tensor.dtype}[${tensor.dims}]${Array.from(tensor.data as ArrayLike<number>, spell)}` : tensor;
    return this.root.leaf(key, () => this.root.make(tensor, { kind: 'constant', tensor }));
  }
  /** A constant of one number, or of a list of them. */
  number(value: number | readonly number[], dtype: DType): Value {
    const list = typeof value === 'number' ? [value] : value;
    return this.constant(
      toTensor({ dtype, dims: typeof value === 'number' ? [] : [list.length], data: Float64Array.from(list) }),
    );
  }
  /** Memory that lasts from run to run and that ops with `writes` update in place. Never merged, never folded. */
  state(name: string, dtype: DType, dims: readonly Dim[], fill: number): Value {
    return this.root.leaf(`state ${name}`, () => this.root.make({ dtype, dims }, { kind: 'state', name, fill }));
  }
  /** A value computed from the batch: by the runner, since all of `from` are inputs. `derive` handles the other case. */
  derivedInput(name: string, type: TensorType, how: Derivation, from: readonly Value[], plus?: Dim, pool?: Pool): Value {
    return this.root.leaf(`derived ${name}`, () =>
      this.root.addInput(
        this.root.make(type, { kind: 'derived', name, how, from, ...(plus !== undefined && { plus }), ...(pool && { pool }) }),
      ),
    );
  }
  /**
   * Randomness as an input, which tests and recorded draws feed, or made by `draws`. Every call is another draw: `dropout`, `dropout@2`. In a
   * loop every step has numbers of its own: the input is [trips, …dims], of nested loops [outer trips, inner trips, …dims].
   *
   * @throws ShapeError for an input in a loop that does not say how often it runs
   */
  draw(name: string, dims: readonly Dim[], of: 'uniform' | 'normal'): Value {
    const { root } = this;
    const full = numbered(root.drawNames, this.where ? `${this.where}.${name}` : name);
    const loops = root.open.filter((g) => g.kind === 'loop');
    const steps = loops.map((g) => g.inputs[0]!);
    if (root.draws) return root.draws(root, full, dims, of, steps);
    const rows = loops.map(({ rows }) => {
      if (rows) return rows;
      const problem = 'a draw in a loop whose number of steps is not known';
      throw new ShapeError({ path: full, problem, hint: 'Make the loop by `loop`, or the draw by a seed' });
    });
    const all = root.drawInput(full, [...rows.map((r) => r.count), ...dims], of);
    return rows.reduce((left, r, i) => r.at(left, steps[i]!), all);
  }
  /** A draw under a name that is complete, as an input of these very dims. */
  drawInput(name: string, dims: readonly Dim[], of: 'uniform' | 'normal'): Value {
    return this.root.addInput(this.root.make({ dtype: 'float32', dims }, { kind: 'draw', name, of }));
  }

  /** Runs f inside a named part: `layers.3` + `mixer` → `layers.3.mixer`. */
  scope<T>(name: string, f: () => T): T {
    return this.at(this.where ? `${this.where}.${name}` : name, f);
  }
  /** Runs f with this path as the place, whatever it was before; with the rules that nodes made inside come from. */
  at<T>(path: string, f: () => T, rules?: readonly string[]): T {
    const { root } = this;
    const [before, rulesBefore] = [root.path, root.currentRules];
    root.path = path;
    if (rules) root.currentRules = rules;
    try {
      return f();
    } finally {
      root.path = before;
      root.currentRules = rulesBefore;
    }
  }
  /** The dotted path of the module that runs: `layers.3.mixer`. */
  get where(): string {
    return this.root.path;
  }
  /** The scope name for one more call of a module: `mixer`, then `mixer@2`. Numbers restart in each subgraph. */
  callName(name: string): string {
    const full = `${this.where}.${name}`;
    return name + numbered(this.innermost.calls, full).slice(full.length);
  }
  /** The subgraph that is open, or the root. */
  get innermost(): GraphBuilder {
    return this.root.open.at(-1)!;
  }

  /**
   * A body for Loop or a branch for If. Inside, values of the surroundings may be used freely; what depends only on them stays outside
   * a loop, but not outside a branch, which must not run when it is not taken.
   *
   * @param rows what draws in a loop need to be inputs
   */
  subgraph(
    kind: SubgraphKind,
    inputs: readonly TensorType[],
    body: (...values: Value[]) => readonly Value[],
    rows?: StepRows,
  ): Graph {
    const inner = new GraphBuilder({}, this.innermost, kind, rows);
    inner.inputs.push(...inputs.map((type, index) => inner.make(type, { kind: 'argument', index })));
    this.root.open.push(inner);
    try {
      body(...inner.inputs).forEach((value, index) => {
        inner.output(String(index), value.graph === inner && !inner.inputs.includes(value) ? value : inner.identity(value));
      });
    } finally {
      this.root.open.pop();
    }
    return inner.finish();
  }

  /** The nodes that the outputs and the written states need, in order. */
  finish(): Graph {
    const wanted = new Set<Node>();
    const read = new Set<Value>();
    const visit = (value: Value) => {
      read.add(value);
      const stack = value.producer ? [value.producer] : [];
      for (let node = stack.pop(); node; node = stack.pop()) {
        if (wanted.has(node)) continue;
        wanted.add(node);
        for (const v of usedBy(node)) {
          read.add(v);
          if (v.producer && !wanted.has(v.producer)) stack.push(v.producer);
        }
      }
    };
    for (const { value } of this.results) visit(value);
    for (const node of this.nodes) if (node.op.writes) for (const v of node.outputs) visit(v);
    // What no user writes down is an input only where something reads it; the last made may be derived from those before.
    for (const v of this.inputs.toReversed())
      if (v.leaf?.kind === 'derived' && read.has(v)) for (const from of v.leaf.from) read.add(from);
    const unread = (v: Value) => (v.leaf?.kind === 'derived' || v.leaf?.kind === 'draw') && !read.has(v);
    return {
      inputs: this.inputs.filter((v) => !unread(v)),
      outputs: [...this.results],
      nodes: this.nodes.filter((n) => wanted.has(n)),
      builder: this,
    };
  }

  /** Adds a node, or finds the equal one that is there already. Called by `apply` with operands made ready. */
  emit(op: Op, operands: readonly (Value | undefined)[], attrs: Attrs, types: readonly TensorType[]): readonly Value[] {
    const home = this.homeOf(op, operands, attrs);
    const mergeable = !op.writes && !op.impure;
    const key = mergeable ? `${op.key}(${operands.map((v) => v?.id ?? '')}){${this.root.attributesKey(attrs)}}` : '';
    if (mergeable)
      for (let g: GraphBuilder | undefined = home; g; g = g.parent) {
        const equal = g.merged.get(key);
        if (equal) return equal.outputs;
      }
    const outputs: Value[] = [];
    const node: Node = { op, operands, attrs, outputs, scope: this.where, graph: home, rules: this.root.currentRules };
    types.forEach((type, index) =>
      outputs.push(new Value(home, this.root.nextId++, type.dtype, type.dims, node, index, undefined)),
    );
    home.nodes.push(node);
    if (mergeable) home.merged.set(key, node);
    return outputs;
  }

  private identity(value: Value): Value {
    const [out] = this.emitHere(Identity, [value]);
    return out!;
  }
  private emitHere(op: Op, operands: readonly Value[]): readonly Value[] {
    const outputs: Value[] = [];
    const node: Node = { op, operands, attrs: {}, outputs, scope: this.where, graph: this, rules: this.root.currentRules };
    op.infer(operands, {}).forEach((t, i) =>
      outputs.push(new Value(this, this.root.nextId++, t.dtype, t.dims, node, i, undefined)),
    );
    this.nodes.push(node);
    return outputs;
  }
  // A node belongs as far out as its operands allow, except that a branch keeps what is made while it is open.
  private homeOf(op: Op, operands: readonly (Value | undefined)[], attrs: Attrs): GraphBuilder {
    let home = this.root;
    const consider = (g: GraphBuilder) => {
      if (g.depth > home.depth) home = g;
    };
    for (const v of operands) if (v) consider(v.graph);
    for (const a of Object.values(attrs)) if (isGraph(a)) for (const v of capturedBy(a)) consider(v.graph);
    const { open } = this.root;
    for (const g of open) if (g.kind === 'branch' || (g.kind === 'loop' && op.writes)) consider(g);
    if (!open.includes(home)) throw internal(`${op.key} uses a value of a subgraph that is closed`);
    return home;
  }
  private addInput(value: Value): Value {
    this.inputs.push(value);
    return value;
  }
  private leaf(key: unknown, make: () => Value): Value {
    const known = this.leaves.get(key);
    if (known) return known;
    const value = make();
    this.leaves.set(key, value);
    return value;
  }
  private make(type: TensorType, leaf: Leaf): Value {
    return new Value(this, this.root.nextId++, type.dtype, [...type.dims], undefined, 0, leaf);
  }
  private attributesKey(a: Attribute): string {
    if (typeof a !== 'object' || a === null) return typeof a === 'number' ? spell(a) : (JSON.stringify(a) ?? '');
    if (Array.isArray(a)) return `[${a.map((x) => this.attributesKey(x as Attribute))}]`;
    if (Object.getPrototypeOf(a) !== Object.prototype || isGraph(a) || isTensor(a)) {
      if (!this.attributeIds.has(a)) this.attributeIds.set(a, this.nextAttributeId++);
      return `#${this.attributeIds.get(a)}`;
    }
    return Object.keys(a)
      .sort()
      .map((k) => `${k}:${this.attributesKey((a as Attrs)[k])}`)
      .join(';');
  }
}

// A name, or with a number when it was taken before.
function numbered(taken: Map<string, number>, name: string): string {
  const count = (taken.get(name) ?? 0) + 1;
  taken.set(name, count);
  return count === 1 ? name : `${name}@${count}`;
}
const spell = (x: number | bigint): string => (Object.is(x, -0) ? '-0' : String(x));
const isGraph = (a: Attribute): a is Graph => typeof a === 'object' && a !== null && 'nodes' in a && 'builder' in a;
const isTensor = (a: object): a is Tensor => 'dtype' in a && 'dims' in a && 'data' in a;

/** The subgraphs of a node, by attribute name. */
export function subgraphsOf(node: { readonly attrs: Attrs }): readonly (readonly [name: string, graph: Graph])[] {
  const found: [string, Graph][] = [];
  for (const name in node.attrs) if (isGraph(node.attrs[name])) found.push([name, node.attrs[name] as Graph]);
  return found;
}

/** Values of the surroundings that a subgraph reads. */
export function capturedBy(graph: Graph): readonly Value[] {
  const found = new Set<Value>();
  const inside = (g: GraphBuilder): boolean =>
    g === graph.builder || (g.parent !== undefined && g.depth > graph.builder.depth && inside(g.parent));
  for (const node of graph.nodes) for (const v of usedBy(node)) if (!inside(v.graph)) found.add(v);
  for (const { value } of graph.outputs) if (!inside(value.graph)) found.add(value);
  return [...found];
}

/** The node that made a value, if it is of this op. */
export function madeBy<A extends Attrs>(value: Value | undefined, op: Op<A>): Node<A> | undefined {
  return value?.producer && value.producer.op.key === op.key ? (value.producer as unknown as Node<A>) : undefined;
}

/** Everything a node reads: its operands and what its subgraphs capture. */
export function usedBy(node: Node): readonly Value[] {
  const used = node.operands.filter((v): v is Value => v !== undefined);
  const subgraphs = subgraphsOf(node);
  return subgraphs.length ? [...used, ...subgraphs.flatMap(([, g]) => capturedBy(g))] : used;
}

/** The name of an input, derived input, draw or state. */
export function nameOf(value: Value): string | undefined {
  return value.leaf && 'name' in value.leaf ? value.leaf.name : undefined;
}

/**
 * Applies an op: makes the operands ready, asks `simplify`, infers the types, and adds the node.
 *
 * Throws   ShapeError when the operands do not fit, with the path, the op and the operands' types
 */
export function apply<A extends Attrs>(op: Op<A>, operands: readonly Operand[], attrs: A): readonly Value[] {
  const anchor = operands.find((o): o is Value => o instanceof Value);
  if (!anchor) throw internal(`${op.key} was applied to no value; make one of its operands a value of the graph`);
  const g = anchor.graph.root;
  const values = operands.filter((o): o is Value => o instanceof Value);
  const like = (values.find((o) => isFloat(o.dtype)) ?? values.find((o) => o.dtype !== 'bool') ?? anchor).dtype;
  const ready = operands.map((o) => ready1(g, o, like));
  for (const v of ready) if (v && v.graph.root !== g) throw internal(`${op.key} mixes values of two graphs`);
  while (ready.length && ready.at(-1) === undefined) ready.pop();
  const plain = op as unknown as Op;
  return located(g, op.key, ready, () => {
    const simpler = plain.simplify?.(ready, attrs);
    if (simpler) return [simpler];
    const types = plain.infer(ready, attrs);
    return fold(g, plain, ready, attrs, types) ?? g.emit(plain, ready, attrs, types);
  });
}

/** Runs f; a `mismatch` that it throws gets the op, the path and the operands' types. For functions that compute attributes before `apply`. */
export function located<T>(g: GraphBuilder, key: string, operands: readonly (TensorType | undefined)[], f: () => T): T {
  try {
    return f();
  } catch (error) {
    if (!(error instanceof ShapeError) || error.path !== '') throw error;
    const { problem, expected, got, hint } = error;
    const seen = `Operands: ${operands.map(printType).join(', ')}${hint ? `. ${hint}` : ''}`;
    const path = `${key}${g.where ? ` in ${g.where}` : ''}`;
    throw new ShapeError({ path, problem, ...(expected && { expected }), ...(got && { got }), hint: seen }, { cause: error });
  }
}

/** For `infer`: operands that do not fit. `apply` adds op, path and operand types. */
export function mismatch(problem: string, expected?: string, got?: string): ShapeError {
  return new ShapeError({ path: '', problem, ...(expected !== undefined && { expected }), ...(got !== undefined && { got }) });
}

function ready1(g: GraphBuilder, o: Operand, like: DType): Value | undefined {
  if (o === undefined || o instanceof Value) return o;
  if (o instanceof Parameter) return g.param(o);
  if (typeof o === 'number') return g.number(o, like);
  return g.constant(o);
}

// Small constants are folded at birth, so shape arithmetic on known sizes never reaches a graph.
function fold(g: GraphBuilder, op: Op, operands: readonly (Value | undefined)[], attrs: Attrs, types: readonly TensorType[]) {
  if (!op.evaluate || op.impure || op.writes) return undefined;
  const small = types.every((t) => t.dims.every((d) => typeof d === 'number') && countOf(t.dims as number[]) <= 64);
  if (!small) return undefined;
  const arrays: (NDArray | undefined)[] = [];
  for (const v of operands) {
    if (v && v.leaf?.kind !== 'constant') return undefined;
    arrays.push(v?.leaf?.kind === 'constant' ? toArray(v.leaf.tensor) : undefined);
  }
  if (arrays.some((a) => a && a.data.length > 64)) return undefined;
  try {
    return op.evaluate(arrays, attrs, noSizes).map((a) => g.constant(toTensor(a)));
  } catch (error) {
    if (error === symbolic) return undefined;
    throw error;
  }
}
const symbolic = internal('a symbolic size was asked for while folding constants');
const noSizes = {
  of(d: Dim): number {
    if (typeof d === 'number') return d;
    throw symbolic;
  },
};
