// Runs a graph in float64: the reference for kernels, also used to fold weights.

import { checkArguments } from '../arguments';
import { type Dim, evaluateDim, namesOfDim } from '../dim/dim';
import { checkWord, describe, FeedError, internal, nearest, OnnxformersError, RunError, WeightError } from '../error';
import { type Attrs, type Op, operandOf, printType, type Sizes, type TensorType } from '../ir/define-op';
import { type Graph, type Node, nameOf, subgraphsOf, type Value } from '../ir/graph';
import { GraphBuilder } from '../ops/vocabulary';
import type { Parameter } from '../parameter/parameter';
import { toArray } from '../tensor/convert';
import { countOf, isFloat, type NDArray } from '../tensor/tensor';
import { bindSizes } from './bind';
import { prepareLimit } from './limits';
import { evaluateOf } from './references';

export interface InterpretOptions {
  /** The values of the parameters. */
  readonly parameters?: (parameter: Parameter) => NDArray;
  /** The contents of the states, by name: updated in place. A missing state starts with its fill value. */
  readonly states?: Map<string, NDArray>;
  /** Values of names that no input binds. */
  readonly sizes?: Readonly<Record<string, number>>;
  /** `decompose` uses an op's definition wherever it has one, even if it has `evaluate` too. Default `evaluate`. */
  readonly prefer?: 'evaluate' | 'decompose';
  /** Wraps the computation of each node, including those of definitions: `compute` returns the results for operands. Default: `compute` as it is. */
  readonly wrapNode?: (node: Node, operands: Operands, compute: (operands: Operands) => readonly NDArray[]) => readonly NDArray[];
}
type Operands = readonly (NDArray | undefined)[];

/**
 * Computes the outputs of a graph in float64, whatever the dtypes: floats are not rounded, integers are exact to 2^53.
 *
 * @param feeds the inputs by name, derived inputs and draws too
 * @returns the outputs by name
 * @throws FeedError when a feed is missing, unknown, of another dtype or size, or outside the graph's limits; WeightError when a parameter has no value
 */
export function interpret(
  graph: Graph,
  feeds: Readonly<Record<string, NDArray>>,
  options: InterpretOptions = {},
): Record<string, NDArray> {
  checkArguments('interpret', { graph, feeds, 'options?': options });
  checkWord('interpret.prefer', options.prefer ?? 'evaluate', ['evaluate', 'decompose']);
  const fed = feedsOf(graph, feeds);
  const known = Object.entries(options.sizes ?? {});
  const held = statesOf(graph)
    .filter(([name]) => options.states?.has(name))
    .map(([name, { dims }]) => ({ name, dims, actual: options.states!.get(name)!.dims }));
  const bound = fed.map(([value, array]) => ({ name: nameOf(value)!, dims: value.dims, actual: array.dims }));
  const sizes = bindSizes([...bound, ...held], known);
  const having = (size: Dim) =>
    bound.find(({ dims }) => dims.some((d) => namesOfDim(d).some((n) => namesOfDim(size).includes(n))))?.name;
  for (const limit of graph.builder.limits) prepareLimit(limit, (input) => input, having).check(sizes, (input) => feeds[input]);
  const frame = new Frame(options, sizes);
  for (const [value, array] of fed) frame.set(value, array);
  frame.run(graph);
  return Object.fromEntries(graph.outputs.map(({ name, value }) => [name, frame.get(value)]));
}

/**
 * Computes one op on arrays, by `evaluate`, or through its definition where it has none.
 *
 * @param types the types of the operands while tracing; default their actual types
 */
export function evaluateOp(
  op: Op,
  operands: readonly (NDArray | undefined)[],
  attrs: Attrs,
  sizes: ReadonlyMap<string, number> = new Map(),
  types: readonly (TensorType | undefined)[] = operands,
): readonly NDArray[] {
  const evaluate = evaluateOf(op);
  if (evaluate) return evaluate(operands, attrs, sizesOf(sizes));
  return runDefinition(definitionOf(op, types, attrs, sizes), operands, sizes, {});
}

const sizesOf = (sizes: ReadonlyMap<string, number>): Sizes => ({ of: (dim: Dim) => evaluateDim(dim, sizes) });

// ---- Frames ---------------------------------------------------------------------------------------------------------

/** The values of one graph or subgraph while it runs; a subgraph can read those of the enclosing graphs. */
class Frame {
  private readonly values = new Map<Value, NDArray>();
  private readonly states: Map<string, NDArray>;
  constructor(
    private readonly options: InterpretOptions,
    private sizes: ReadonlyMap<string, number>,
    private readonly parent?: Frame,
  ) {
    this.states = parent?.states ?? options.states ?? new Map();
  }

  set(value: Value, array: NDArray): void {
    this.values.set(value, array);
  }
  get(value: Value): NDArray {
    if (value.leaf?.kind === 'state') return this.state(value, value.leaf.name, value.leaf.fill);
    for (let frame: Frame | undefined = this; frame; frame = frame.parent) {
      const array = frame.values.get(value);
      if (array) return array;
    }
    const array = this.leaf(value);
    this.root.set(value, array);
    return array;
  }
  run(graph: Graph): void {
    for (const node of graph.nodes) {
      const operands = node.operands.map((v) => v && this.get(v));
      const { wrapNode } = this.options;
      const results = at(node, () =>
        wrapNode ? wrapNode(node, operands, (given) => this.compute(node, given)) : this.compute(node, operands),
      );
      const named = node.op.runSize?.(node.attrs).name;
      if (named !== undefined) this.sizes = withRunSize(this.sizes, named, node.outputs[0]!, results[0]!);
      node.outputs.forEach((value, i) => {
        this.set(value, this.checked(results[i], value, node));
      });
      this.write(node, results);
    }
  }

  private get root(): Frame {
    return this.parent?.root ?? this;
  }
  private compute(node: Node, operands: readonly (NDArray | undefined)[]): readonly NDArray[] {
    const { op, attrs } = node;
    const evaluate = evaluateOf(op);
    const defined = op.decompose && (this.options.prefer === 'decompose' || !(evaluate || op.evaluateWith));
    if (defined) {
      const definition = remembered(node, this.sizes);
      return runDefinition(definition, operands, this.sizes, { ...this.options, states: this.states });
    }
    if (op.evaluateWith)
      return op.evaluateWith(operands, attrs, (graph, args) => this.runSubgraph(graph, args), sizesOf(this.sizes));
    if (evaluate) return evaluate(operands, attrs, sizesOf(this.sizes));
    throw internal(`${op.key} has neither evaluate nor decompose`);
  }
  private runSubgraph(graph: Graph, args: readonly NDArray[]): readonly NDArray[] {
    if (args.length !== graph.inputs.length)
      throw internal(`a subgraph of ${graph.inputs.length} inputs was given ${args.length}`);
    const inputs = graph.inputs.map(({ dims }, i) => ({ name: `input ${i} of a subgraph`, dims, actual: args[i]!.dims }));
    const frame = new Frame(this.options, bindSizes(inputs, this.sizes), this);
    graph.inputs.forEach((value, i) => {
      frame.set(value, args[i]!);
    });
    frame.run(graph);
    return graph.outputs.map(({ value }) => frame.get(value));
  }
  private write(node: Node, results: readonly NDArray[]): void {
    const { op } = node;
    op.writes?.forEach((name, i) => {
      const leaf = operandOf(node, name)?.leaf;
      if (leaf?.kind !== 'state') throw internal(`${op.key} writes ${name}, which is not a state`);
      this.states.set(leaf.name, results[results.length - op.writes!.length + i]!);
    });
  }
  private leaf(value: Value): NDArray {
    const { leaf } = value;
    if (leaf?.kind === 'constant') return toArray(leaf.tensor);
    if (leaf?.kind === 'parameter') return this.parameter(value, leaf.parameter);
    throw internal(`${value} has no value where it is used`);
  }
  private parameter(value: Value, parameter: Parameter): NDArray {
    const array = this.options.parameters?.(parameter);
    // A model of another float dtype accepts the same numbers.
    if (array && same(array.dims, parameter.dims))
      return isFloat(array.dtype) && isFloat(value.dtype) ? { ...array, dtype: value.dtype } : array;
    throw new WeightError({
      path: `parameter ${printType(value)}`,
      problem: array ? 'the value has the wrong dims' : 'no value was given',
      expected: `[${parameter.dims.join(', ')}]`,
      got: array ? `[${array.dims.join(', ')}]` : 'nothing',
      hint: 'Pass { parameters: (p) => … } that knows every parameter of the graph',
    });
  }
  private state(value: Value, name: string, fill: number): NDArray {
    let array = this.states.get(name);
    if (!array) {
      const dims = value.dims.map((d) => evaluateDim(d, this.sizes));
      array = { dtype: value.dtype, dims, data: new Float64Array(countOf(dims)).fill(fill) };
      this.states.set(name, array);
    }
    return array;
  }
  private checked(array: NDArray | undefined, declared: Value, node: Node): NDArray {
    const dims = declared.dims.map((d) => evaluateDim(d, this.sizes));
    if (array && array.dtype === declared.dtype && same(array.dims, dims) && array.data.length === countOf(dims)) return array;
    const got = array ? `${printType(array)} with ${array.data.length} elements` : 'nothing';
    const from = node.operands.map(printType).join(', ');
    throw internal(`${placeOf(node)} was inferred as ${printType(declared)} = [${dims}], but computed ${got}. Operands: ${from}`);
  }
}

const same = (a: readonly number[], b: readonly number[]): boolean => a.length === b.length && a.every((d, i) => d === b[i]);

const withRunSize = (sizes: ReadonlyMap<string, number>, name: string, { dims }: Value, array: NDArray) =>
  new Map([...sizes, [name, array.dims[dims.indexOf(name)]!] as const]);

const placeOf = ({ op, scope }: Node): string => `${op.key}${scope ? ` in ${scope}` : ''}`;

// Adds the path to an error that an op throws about its numbers (an index out of bounds).
function at<T>(node: Node, f: () => T): T {
  try {
    return f();
  } catch (error) {
    if (!(error instanceof OnnxformersError) || error.path !== '') throw error;
    const { problem, expected, got, hint } = error;
    throw new RunError(
      { path: placeOf(node), problem, ...(expected && { expected }), ...(got && { got }), ...(hint && { hint }) },
      { cause: error },
    );
  }
}

// ---- Definitions ----------------------------------------------------------------------------------------------------

// A definition is traced at the types of its node, symbolic sizes included. Inputs of their own supply these sizes.
interface Definition {
  readonly graph: Graph;
  readonly names: readonly string[];
}

const definitions = new WeakMap<Node, Definition>();

function remembered(node: Node, sizes: ReadonlyMap<string, number>): Definition {
  const known = definitions.get(node);
  if (known?.names.length === sizes.size && known.names.every((name) => sizes.has(name))) return known;
  const made = definitionOf(node.op, node.operands, node.attrs, sizes);
  definitions.set(node, made);
  return made;
}

const sizeInput = (name: string): string => `size ${name}`;

/** The definition of an op as a graph of its own, at the types of its operands. Inputs of their own supply the values of `sizes`. */
export function definitionOf(
  op: Op,
  operands: readonly (TensorType | Value | undefined)[],
  attrs: Attrs,
  sizes: ReadonlyMap<string, number> = new Map(),
): Definition {
  if (!op.decompose) throw internal(`${op.key} has neither evaluate nor decompose`);
  const g = new GraphBuilder();
  const names = [...sizes.keys()];
  for (const name of names) g.input(sizeInput(name), 'bool', [name]);
  const inputs = operands.map((type, i) => {
    if (!type) return undefined;
    const leaf = 'leaf' in type ? type.leaf : undefined;
    if (leaf?.kind === 'constant') return g.constant(leaf.tensor);
    if (leaf?.kind === 'state') return g.state(leaf.name, type.dtype, type.dims, leaf.fill);
    return g.input(String(i), type.dtype, type.dims);
  });
  op.decompose(inputs, attrs, g.ops).forEach((value, i) => {
    g.output(String(i), value);
  });
  return { graph: g.finish(), names };
}

function runDefinition(
  { graph, names }: Definition,
  operands: readonly (NDArray | undefined)[],
  sizes: ReadonlyMap<string, number>,
  options: InterpretOptions,
): readonly NDArray[] {
  const frame = new Frame(options, sizes);
  const fedSizes = new Set(names.map(sizeInput));
  for (const value of graph.inputs) {
    const name = nameOf(value)!;
    if (value.leaf?.kind !== 'input') throw internal(`a definition asks for ${value.leaf?.kind} "${name}"`);
    if (fedSizes.has(name)) {
      const size = evaluateDim(value.dims[0]!, sizes);
      frame.set(value, { dtype: 'bool', dims: [size], data: new Float64Array(size) });
    } else frame.set(value, operands[Number(name)]!);
  }
  frame.run(graph);
  return graph.outputs.map(({ value }) => frame.get(value));
}

// ---- Feeds ----------------------------------------------------------------------------------------------------------

function feedsOf(graph: Graph, feeds: Readonly<Record<string, NDArray>>): readonly (readonly [Value, NDArray])[] {
  // Parameters that are inputs come from where all parameters come from.
  const inputs = graph.inputs.filter((v) => v.leaf?.kind !== 'parameter');
  const names = inputs.map((v) => nameOf(v)!);
  for (const name of Object.keys(feeds)) {
    if (names.includes(name)) continue;
    const near = nearest(name, names);
    throw new FeedError({
      path: name,
      problem: 'the graph has no input of this name',
      expected: names.length ? `one of ${names.join(', ')}` : 'no feeds',
      got: describe(name),
      ...(near && { hint: `Did you mean "${near}"?` }),
    });
  }
  return inputs.map((value, i) => {
    const array = Object.hasOwn(feeds, names[i]!) ? feeds[names[i]!] : undefined;
    if (!array)
      throw new FeedError({ path: names[i]!, problem: 'this input was not fed', expected: printType(value), got: 'nothing' });
    if (array.dtype !== value.dtype)
      throw new FeedError({ path: names[i]!, problem: 'has the wrong dtype', expected: value.dtype, got: array.dtype });
    if (array.data.length !== countOf(array.dims)) {
      const problem = 'the number of elements does not fit its dims';
      throw new FeedError({ path: names[i]!, problem, expected: `${countOf(array.dims)}`, got: `${array.data.length}` });
    }
    return [value, array] as const;
  });
}

function statesOf(graph: Graph): readonly (readonly [name: string, state: Value])[] {
  return graph.nodes.flatMap((node) => [
    ...node.operands.flatMap((v) => (v?.leaf?.kind === 'state' ? [[v.leaf.name, v] as const] : [])),
    ...subgraphsOf(node).flatMap(([, inner]) => statesOf(inner)),
  ]);
}
