// The builder, which makes all values of a graph.

import { addDims, type Dim, namesOfDim, subDims } from '../dim/dim';
import { describe, internal, ShapeError } from '../error';
import type { Parameter } from '../parameter/parameter';
import { toTensor } from '../tensor/convert';
import type { DType, Tensor } from '../tensor/tensor';
import type { Assumption } from './assumption';
import { applied, checkNumber, located } from './emission';
import { type Continuation, filledSizes } from './filled-sizes';
import { checkLimit, type Limit } from './limit';
import { Identity } from './op';
import type { InputRole } from './role';
import { Taps } from './taps';
import type { TensorType } from './tensor-type';
import {
  type Attribute,
  type Attrs,
  type Derivation,
  type DrawMaker,
  type Graph,
  type GraphBuilder,
  type GraphOptions,
  type Leaf,
  type Node,
  type Op,
  type Operand,
  type Origin,
  type ParameterOverride,
  type Pool,
  type Rule,
  type RunSize,
  type StepRows,
  type SubgraphKind,
  Value,
} from './types';
import type { Vocabulary } from './vocabulary';
import { capturedBy, inputOf, isGraph, nameOf, usedBy } from './walk';

/** The only implementation of the interface. It is made with the vocabulary that definitions are written in. */
export class Builder implements GraphBuilder {
  readonly root: Builder;
  readonly depth: number;
  readonly dtype: DType;
  readonly storage: DType;
  readonly taps: Taps<Value>;
  readonly stateOutputs = new Map<string, Value>();
  private readonly convert: GraphOptions['convert'];
  private readonly draws: DrawMaker | undefined;
  readonly training: boolean;
  readonly assumptions: ReadonlySet<Assumption>;
  private readonly nodes: Node[] = [];
  private readonly merged = new Map<string, Node>();
  private readonly calls = new Map<string, number>();
  private readonly drawNames = new Map<string, number>();
  readonly inputs: Value[] = [];
  private readonly results: { name: string; value: Value }[] = [];
  // Of the root only:
  private open: Builder[] = [this];
  private nextId = 0;
  private readonly leaves = new Map<unknown, Value>();
  private path = '';
  private nonEmpty: ReadonlyMap<string, number> | undefined;
  private origin: Origin = nowhere;
  private readonly ruleIds = new Map<Rule, number>();
  private readonly ruleKeys = new Map<readonly Rule[], string>();
  private separate: ReadonlySet<Node> = new Set();
  private readonly attributeIds = new WeakMap<object, number>();
  private nextAttributeId = 0;
  readonly overrides = new Map<Parameter, ParameterOverride>();
  readonly bypassed = new Set<Value>();
  readonly defined = new Set<Value>();
  readonly roles: Map<string, InputRole>;
  readonly limits: Limit[];
  readonly continuations: Map<string, Continuation>;
  readonly runSizes: Map<string, { readonly most: Dim; readonly mayBeEmpty: boolean; readonly values: Value[] }>;

  constructor(
    readonly ops: Vocabulary,
    options: GraphOptions = {},
    readonly parent?: Builder,
    readonly kind: 'root' | SubgraphKind = 'root',
    readonly rows?: StepRows,
  ) {
    this.root = parent?.root ?? this;
    this.depth = parent ? parent.depth + 1 : 0;
    this.dtype = parent?.dtype ?? options.dtype ?? 'float32';
    this.storage = parent?.storage ?? options.storage ?? this.dtype;
    this.convert = options.convert;
    this.draws = options.draws;
    this.taps = parent?.taps ?? new Taps(options.taps);
    this.training = parent?.training ?? options.training ?? false;
    this.assumptions = parent?.assumptions ?? options.assumptions ?? new Set();
    this.roles = parent?.roles ?? new Map();
    this.limits = parent?.limits ?? [];
    this.continuations = parent?.continuations ?? new Map();
    this.runSizes = parent?.root.runSizes ?? new Map();
    this.nonEmpty = options.filled;
  }

  get filled(): ReadonlyMap<string, number> {
    return this.root.nonEmpty ?? unknown;
  }

  input(name: string, dtype: DType, dims: readonly Dim[], role?: InputRole | undefined): Value {
    if (role) this.roles.set(name, role);
    return this.addInput(this.make({ dtype, dims }, { kind: 'input', name, ...(role && { role }) }));
  }
  limit(asked: Limit): void {
    const limit = this.ofLengths(asked);
    checkLimit(limit, this.limits, this.where);
    if (typeof limit.size === 'number' && [limit.min, limit.max].every((bound) => typeof bound !== 'string')) return;
    const text = JSON.stringify(limit);
    if (!this.limits.some((known) => JSON.stringify(known) === text)) this.limits.push(limit);
  }
  output(name: string, value: Value): void {
    if (this.results.some((r) => r.name === name))
      throw new ShapeError({ path: name, problem: 'an output of this name exists already' });
    this.results.push({ name, value });
  }
  param(parameter: Parameter): Value {
    const { root } = this;
    const override = root.overrides.get(parameter);
    if (!override) return this.storedParam(parameter);
    const known = root.leaves.get(override);
    if (known && root.reaches(known)) return known;
    // It is the same value whichever block requests it first.
    const made = root.at(root.path, () => override.value(root), nowhere);
    root.leaves.set(override, made);
    return made;
  }
  storedParam(parameter: Parameter): Value {
    const stored = this.rawParam(parameter);
    const used = parameter.options.dtype ?? this.dtype;
    return stored.dtype === used ? stored : (this.root.convert?.(stored, used) ?? stored);
  }
  rawParam(parameter: Parameter, dtype = parameter.options.dtype ?? this.storage): Value {
    return this.root.leaf(parameter, () => this.root.make({ dtype, dims: parameter.dims }, { kind: 'parameter', parameter }));
  }
  parameterInput(parameter: Parameter, dtype?: DType): Value {
    return this.root.addInput(this.rawParam(parameter, dtype));
  }
  constant(tensor: Tensor): Value {
    const key =
      tensor.data.length <= 64 ? `${tensor.dtype}[${tensor.dims}]${Array.from(tensor.data as ArrayLike<number>, spell)}` : tensor;
    return this.root.leaf(key, () => this.root.make(tensor, { kind: 'constant', tensor }));
  }
  number(value: number | readonly number[], dtype: DType): Value {
    const list = typeof value === 'number' ? [value] : value;
    for (const n of list) checkNumber(`number${this.where ? ` in ${this.where}` : ''}`, n, dtype);
    return this.constant(
      toTensor({ dtype, dims: typeof value === 'number' ? [] : [list.length], data: Float64Array.from(list) }),
    );
  }
  state(name: string, dtype: DType, dims: readonly Dim[], fill: number): Value {
    return this.root.leaf(`state ${name}`, () => this.root.make({ dtype, dims }, { kind: 'state', name, fill }));
  }
  derivedInput(name: string, type: TensorType, how: Derivation, from: readonly Value[], plus?: Dim, pool?: Pool): Value {
    return this.root.leaf(`derived ${name}`, () =>
      this.root.addInput(
        this.root.make(type, { kind: 'derived', name, how, from, ...(plus !== undefined && { plus }), ...(pool && { pool }) }),
      ),
    );
  }
  draw(name: string, dims: readonly Dim[], of: 'uniform' | 'normal'): Value {
    const { root } = this;
    const full = numbered(root.drawNames, this.where ? `${this.where}.${name}` : name);
    const loops = root.open.filter((g) => g.kind === 'loop');
    const steps = loops.map((g) => g.inputs[0]!);
    if (root.draws) return root.draws(root, full, dims, of, steps);
    const rows = loops.map(({ rows }) => {
      if (rows) return rows;
      const problem = 'a draw in a loop whose number of steps is not known';
      throw new ShapeError({ path: full, problem, hint: 'Create the loop with ops.loop, or pass a seed to make the draws' });
    });
    const all = root.drawInput(full, [...rows.map((r) => r.count), ...dims], of);
    return rows.reduce((left, r, i) => r.at(left, steps[i]!), all);
  }
  drawInput(name: string, dims: readonly Dim[], of: 'uniform' | 'normal'): Value {
    return this.root.addInput(this.root.make({ dtype: 'float32', dims }, { kind: 'draw', name, of }));
  }

  scope<T>(name: string, f: () => T): T {
    return this.at(this.where ? `${this.where}.${name}` : name, f);
  }
  at<T>(path: string, f: () => T, origin?: Origin): T {
    const { root } = this;
    const [before, originBefore] = [root.path, root.origin];
    root.path = path;
    if (origin) root.origin = { rules: origin.rules, history: origin.history };
    try {
      return f();
    } finally {
      root.path = before;
      root.origin = originBefore;
    }
  }
  apart<T>(nodes: ReadonlySet<Node>, f: () => T): T {
    const { root } = this;
    const before = root.separate;
    root.separate = nodes;
    try {
      return f();
    } finally {
      root.separate = before;
    }
  }
  get where(): string {
    return this.root.path;
  }
  callName(name: string): string {
    const full = `${this.where}.${name}`;
    return name + numbered(this.innermost.calls, full).slice(full.length);
  }
  reaches({ graph }: Value): boolean {
    return this.root.open.some((g) => g === graph);
  }
  get innermost(): Builder {
    return this.root.open.at(-1)!;
  }

  subgraph(
    kind: SubgraphKind,
    inputs: readonly TensorType[],
    body: (...values: Value[]) => readonly Value[],
    rows?: StepRows,
  ): Graph {
    const inner = new Builder(this.ops, {}, this.innermost, kind, rows);
    inner.inputs.push(...inputs.map((type, index) => inner.make(type, { kind: 'argument', index })));
    this.root.open.push(inner);
    try {
      const results: unknown = body(...inner.inputs);
      if (!Array.isArray(results))
        throw new ShapeError({
          path: kind,
          problem: 'it did not return a list',
          expected: 'a list of values',
          got: describe(results),
        });
      (results as readonly Value[]).forEach((value, index) => {
        inner.output(String(index), value.graph === inner && !inner.inputs.includes(value) ? value : inner.identity(value));
      });
    } finally {
      this.root.open.pop();
    }
    return inner.finish();
  }

  finish(): Graph {
    const wanted = new Set<Node>();
    const read = new Set<Value>();
    // Not beyond a subgraph: to walk through the layers before each of them would take time quadratic in the number of layers.
    const makerOf = (v: Value) => (v.graph === this ? v.producer : undefined);
    const visit = (value: Value) => {
      read.add(value);
      const maker = makerOf(value);
      const stack = maker ? [maker] : [];
      for (let node = stack.pop(); node; node = stack.pop()) {
        if (wanted.has(node)) continue;
        wanted.add(node);
        for (const v of usedBy(node)) {
          read.add(v);
          const before = makerOf(v);
          if (before && !wanted.has(before)) stack.push(before);
        }
      }
    };
    for (const { value } of this.results) visit(value);
    const { continuations, limits } = this;
    const inputs = this.inputs.map((v) => ({
      name: nameOf(v),
      dims: v.dims,
      from: v.leaf?.kind === 'derived' ? v.leaf.from.map(nameOf) : [],
    }));
    const outputs = this.results.map(({ name, value }) => ({ name, dims: value.dims }));
    if (!this.parent && !this.nonEmpty) {
      const inRun = [...this.runSizes].flatMap(([name, { mayBeEmpty }]) => (mayBeEmpty ? [] : [[name, 1] as const]));
      this.nonEmpty = new Map([...filledSizes({ inputs, outputs, continuations, limits }), ...inRun]);
    }
    for (const node of this.nodes) if (node.op.writes) for (const v of node.outputs) visit(v);
    // Derived inputs exist only if something reads them; later ones may be derived from earlier ones.
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

  apply<A extends Attrs>(op: Op<A>, operands: readonly Operand[], attrs: A): readonly Value[] {
    return applied(this.root, op as unknown as Op, operands, attrs);
  }
  located<T>(key: string, operands: readonly (TensorType | undefined)[], f: () => T): T {
    return located(this, key, operands, f);
  }
  emit(op: Op, operands: readonly (Value | undefined)[], attrs: Attrs, types: readonly TensorType[]): readonly Value[] {
    const home = this.homeOf(op, operands, attrs, types);
    const mergeable = !op.writes && !op.impure;
    const key = mergeable
      ? `${op.key}(${operands.map((v) => v?.id ?? '')}){${this.root.attributesKey(attrs)}}${this.root.rulesKey(op)}`
      : '';
    if (mergeable)
      for (let g: Builder | undefined = home; g; g = g.parent) {
        const equal = g.merged.get(key);
        if (equal && !this.root.separate.has(equal)) return equal.outputs;
      }
    const outputs: Value[] = [];
    const node: Node = { op, operands, attrs, outputs, scope: this.where, graph: home, ...this.root.origin };
    types.forEach((type, index) =>
      outputs.push(new Value(home, this.root.nextId++, type.dtype, type.dims, node, index, undefined)),
    );
    home.nodes.push(node);
    if (mergeable) home.merged.set(key, node);
    const runSize = op.runSize?.(attrs);
    if (runSize) this.root.noteRunSize(runSize, outputs[0]!);
    return outputs;
  }
  private noteRunSize({ name, most, mayBeEmpty = false }: RunSize, value: Value): void {
    const known = this.runSizes.get(name);
    if (known) known.values.push(value);
    else this.runSizes.set(name, { most, mayBeEmpty, values: [value] });
    if (this.nonEmpty && !mayBeEmpty && !this.nonEmpty.has(name)) this.nonEmpty = new Map([...this.nonEmpty, [name, 1]]);
  }

  // The longest of packed sequences is a size that only a derived input has: a limit on it becomes one on the lengths, the input that the user knows.
  private ofLengths(limit: Limit): Limit {
    const { size, min: _, max, ...about } = limit;
    if (size === undefined || typeof max !== 'number') return limit;
    for (const { leaf, dims } of this.root.inputs) {
      if (leaf?.kind !== 'derived' || leaf.how !== 'tokenOffset') continue;
      const [more, lengths] = [subDims(addDims(size, leaf.plus ?? 0), dims[1]!), inputOf(leaf.from[0]!)?.name];
      if (typeof more === 'number' && lengths !== undefined) return { ...about, input: lengths, min: 0, max: max - more };
    }
    return limit;
  }
  private identity(value: Value): Value {
    const [out] = this.emitHere(Identity, [value]);
    return out!;
  }
  private emitHere(op: Op, operands: readonly Value[]): readonly Value[] {
    const outputs: Value[] = [];
    const node: Node = { op, operands, attrs: {}, outputs, scope: this.where, graph: this, ...this.root.origin };
    op.infer(operands, {}).forEach((t, i) =>
      outputs.push(new Value(this, this.root.nextId++, t.dtype, t.dims, node, i, undefined)),
    );
    this.nodes.push(node);
    return outputs;
  }
  // A node is placed in the outermost graph that its operands allow, except that a branch keeps the nodes made while it is open.
  private homeOf(op: Op, operands: readonly (Value | undefined)[], attrs: Attrs, types: readonly TensorType[]): Builder {
    let home: GraphBuilder = this.root;
    const consider = (g: GraphBuilder) => {
      if (g.depth > home.depth) home = g;
    };
    for (const v of operands) if (v) consider(v.graph);
    for (const a of Object.values(attrs)) if (isGraph(a)) for (const v of capturedBy(a)) consider(v.graph);
    for (const v of this.sizedAs(types)) consider(v.graph);
    const { open } = this.root;
    for (const g of open) if (g.kind === 'branch' || (g.kind === 'loop' && op.writes)) consider(g);
    const found = open.find((g) => g === home);
    if (!found) throw internal(`${op.key} uses a value of a subgraph that is closed`);
    return found;
  }
  // A size that a run determines in a loop is known there only.
  private sizedAs(types: readonly TensorType[]): readonly Value[] {
    const { runSizes } = this;
    if (!runSizes.size) return [];
    const names = new Set(types.flatMap(({ dims }) => dims.flatMap(namesOfDim)).filter((name) => runSizes.has(name)));
    return [...names].flatMap((name) => runSizes.get(name)!.values.filter((v) => this.reaches(v)));
  }
  private addInput(value: Value): Value {
    const name = nameOf(value);
    const other = name === undefined ? undefined : this.inputs.find((v) => nameOf(v) === name);
    if (other) {
      const computed = [value, other].some(({ leaf }) => leaf?.kind === 'derived');
      const hint = computed ? 'The graph creates this input itself, so do not declare it' : 'Rename it';
      throw new ShapeError({ path: name!, problem: 'an input of this name exists already', hint });
    }
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
  // Equal nodes with different rules are merged only if no rule can treat them differently: the op has no definition, and no rule
  // matches it.
  private rulesKey(op: Op): string {
    const { rules } = this.origin;
    const asked = op.decompose ? rules : rules.filter((r) => r.op === op.key);
    if (!asked.length) return '';
    const known = asked === rules ? this.ruleKeys.get(rules) : undefined;
    if (known !== undefined) return known;
    const ids = asked.map((rule) => {
      if (!this.ruleIds.has(rule)) this.ruleIds.set(rule, this.ruleIds.size);
      return this.ruleIds.get(rule)!;
    });
    const key = ` ${ids.sort((a, b) => a - b)}`;
    if (asked === rules) this.ruleKeys.set(rules, key);
    return key;
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

/** The origin of a node that neither a block nor a rule made. */
const nowhere: Origin = { rules: [], history: [] };

const unknown: ReadonlyMap<string, number> = new Map();

const optionsOf = (g: GraphBuilder): GraphOptions => ({
  dtype: g.dtype,
  storage: g.storage,
  training: g.training,
  filled: g.filled,
});
/** A builder with the same dtype, storage and mode as another's: for graphs made from its graph. */
export const builderLike = (g: GraphBuilder): GraphBuilder => new Builder(g.ops, optionsOf(g));

// A name, with a number added if it is already used.
function numbered(taken: Map<string, number>, name: string): string {
  const count = (taken.get(name) ?? 0) + 1;
  taken.set(name, count);
  return count === 1 ? name : `${name}@${count}`;
}
const spell = (x: number | bigint): string => (Object.is(x, -0) ? '-0' : String(x));
const isTensor = (a: object): a is Tensor => 'dtype' in a && 'dims' in a && 'data' in a;
