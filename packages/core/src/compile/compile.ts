// From a module to a model: trace it, lower it, and derive its signature.

import { type Dim, dim } from '../dim/dim';
import { ConfigError, checkWord, describe, LoweringError, ShapeError } from '../error';
import type { Assumption } from '../ir/assumption';
import {
  type Continuation,
  type Derivation,
  type Graph,
  type InputRole,
  type Limit,
  nameOf,
  type Pool,
  type Value,
} from '../ir/graph';
import { coreRules } from '../kernels/index';
import type { Decision } from '../lower/decision';
import { lower } from '../lower/lower';
import { onRuntime, type RuntimeSupport, runtimeSupport } from '../lower/runtime-version';
import type { Machine, Target } from '../lower/target';
import { type AnyModule, namesOf, type ParameterNames } from '../module/module';
import { standalone } from '../module/standalone';
import { cast } from '../ops/cast';
import { GraphBuilder } from '../ops/vocabulary';
import type { Parameter } from '../parameter/parameter';
import { carried, carriedDType } from '../sequence/boundary';
import { contextOf } from '../sequence/context-of';
import { checkPast } from '../sequence/io-state';
import { type DType, isFloat } from '../tensor/tensor';
import { matchWeights, type WeightSource } from '../weights/load';
import type { LazyTensor } from '../weights/safetensors';
import { checkCompile } from './check-options';
import type { CompileOptions, ModelDType } from './compile-options';
import { seededDraws } from './draws';
import { elementLimits } from './element-limits';
import type { InputNames, OutputNames } from './port-names';
import { quantizedModule, quantizedWeights } from './quantize';
import { noTap } from './taps';
import { checkAllRead } from './unread';

/** One input or output of a model. */
export interface Port {
  readonly name: string;
  readonly dtype: DType;
  readonly dims: readonly Dim[];
  /** The role of an input: as declared, or as the sequence context read it. Absent: data that only the model's own code reads. */
  readonly role?: InputRole;
  /** For inputs that the runner computes. */
  readonly derived?: { readonly how: Derivation; readonly from: readonly string[]; readonly plus?: Dim; readonly pool?: Pool };
  /** For inputs that are drawn at random. */
  readonly draw?: 'uniform' | 'normal';
  /** For parameters that are inputs: the dims are the checkpoint's. */
  readonly parameter?: true;
  /** For the outputs of a cache: the input that they continue. */
  readonly continues?: Continuation;
}
/** The inputs and outputs. */
export interface Signature {
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  /** What feeds must satisfy besides dtypes and sizes: ids within their table, lengths within the sequence. Absent if there is no such limit. */
  readonly limits?: readonly Limit[];
}

/** A compiled model: ready to be explained, saved, or run. */
export interface Model<I extends string = string, O extends string = string> {
  readonly module: AnyModule;
  /** For the type checker only: the names of inputs and outputs, where they are known. */
  readonly portNames?: { readonly inputs: I; readonly outputs: O };
  /** The traced graph of high-level ops, the same for all targets. */
  readonly traced: Graph;
  /** The lowered graph: ops that the target runs. */
  readonly graph: Graph;
  readonly target: Target;
  readonly machine: Machine;
  /** Which versions of the runtime can run it; a runner refuses the others. */
  readonly runtimes: readonly RuntimeSupport[];
  readonly dtype: ModelDType;
  /** dtype of the arithmetic and of the outputs; differs from `dtype` if the target does not compute in that dtype, or is slower in it. */
  readonly computes: DType;
  readonly decisions: readonly Decision[];
  readonly signature: Signature;
  readonly names: ParameterNames;
  readonly parameterInputs: ReadonlySet<Parameter>;
  readonly weights: ReadonlyMap<string, LazyTensor> | undefined;
  readonly assumptions: readonly Assumption[];
}

/**
 * Traces a module, lowers the graph for a target and checks the weights. The result is data: both graphs, the decisions of lowering, the signature.
 * `createRunner` runs it, `save` and `toBytes` write it, `explain` and `summary` describe it. No weight is read before that.
 *
 * Throws   ShapeError where operands do not fit, with the module's path · LoweringError where the target cannot run something ·
 *          WeightError for weights that are missing, unknown or of other dims · ConfigError for options that are unknown, wrong or contradict each other
 *
 * Example  const model = compile(block, { target: targets.cpu, inputs: { ids: ['int64', ['batch', 'seq']] }, weights });
 */
export function compile<const M extends AnyModule, const C extends CompileOptions>(
  module: M,
  o: C & { readonly inputs: CompileOptions['inputs'] },
): Model<InputNames<C>, OutputNames<M, C>> {
  checkCompile(module, o);
  const reached = (fraction: number): void => o.onProgress?.({ phase: 'compile', fraction });
  reached(0);
  const dtype = o.dtype ?? 'float32';
  const machine = o.machine ?? {};
  const target = onRuntime(o.target, machine);
  const computes = arithmetic(target, dtype, o.strictDtype ?? false);
  const plain = standalone(module);
  const plainNames = namesOf(plain);
  const parameterInputs = new Set<Parameter>();
  for (const [path, p] of plainNames.parameters) {
    const where = o.parameters?.(path, p) ?? 'stored';
    checkWord(`parameters("${path}")`, where, ['stored', 'input']);
    if (where === 'input') parameterInputs.add(p);
  }
  const quantized = o.quantize !== undefined ? quantizedModule(plain, o.quantize, parameterInputs) : undefined;
  const model = quantized?.module ?? plain;
  const names = quantized ? namesOf(model) : plainNames;
  const traced = trace(model, o, dtype, computes, names, parameterInputs);
  reached(0.5);
  const { graph, decisions } = lower(traced, target, {
    rules: [...coreRules, ...(o.rules ?? [])],
    machine,
    ...(o.assumptions && { assumptions: o.assumptions }),
  });
  reached(1);
  // A matrix that is quantised is read in the dtype of the checkpoint.
  const stored = [...plainNames.parameters].filter(([, p]) => !parameterInputs.has(p));
  const expected = stored.map(
    ([path, p]) => [path, { dims: p.dims, ...(!quantized?.formats.has(path) && { dtype: p.options.dtype ?? dtype }) }] as const,
  );
  const { aliases } = plainNames;
  const given = o.weights && matchWeights(expected, withoutInputs(o.weights, plainNames, parameterInputs), { aliases }).weights;
  const weights = given && quantized ? quantizedWeights(given, quantized.formats, dtype) : given;
  return {
    module: model,
    traced,
    graph,
    target,
    machine,
    runtimes: runtimeSupport(o.target, machine, graph),
    dtype,
    computes,
    decisions,
    signature: signatureOf(graph, names, target),
    names,
    parameterInputs,
    weights,
    assumptions: o.assumptions ?? [],
  };
}

// A checkpoint contains every parameter, including those that are fed.
function withoutInputs(weights: WeightSource, names: ParameterNames, inputs: ReadonlySet<Parameter>): WeightSource {
  if (!inputs.size) return weights;
  const isInput = (name: string) => inputs.has(names.parameters.get(names.aliases.get(name) ?? name)!);
  return new Map([...weights].filter(([name]) => !isInput(name)));
}

function arithmetic(target: Target, dtype: ModelDType, strict: boolean): DType {
  if (target.computes.includes(dtype)) return !strict && target.widens?.includes(dtype) ? 'float32' : dtype;
  if (strict)
    throw new LoweringError({
      path: target.name,
      problem: `${target.name} does not compute in ${dtype}`,
      expected: target.computes.join(' or '),
      got: dtype,
      hint: 'Omit strictDtype to store the weights in it and compute in float32',
    });
  return 'float32';
}

function trace(
  model: AnyModule,
  o: CompileOptions,
  dtype: DType,
  computes: DType,
  names: ParameterNames,
  parameterInputs: ReadonlySet<Parameter>,
): Graph {
  const g = new GraphBuilder({
    dtype: computes as DType,
    storage: dtype,
    training: o.training ?? false,
    assumptions: new Set(o.assumptions),
    convert: cast,
    ...(o.draws && { draws: seededDraws(o.draws.seed) }),
    ...(o.taps && { taps: new Set(o.taps) }),
  });
  const inputs: Record<string, Value> = {};
  for (const [name, [given, dims, role]] of Object.entries(o.inputs)) {
    if (given === 'bfloat16')
      throw new ConfigError({
        path: `inputs.${name}`,
        problem: 'no JavaScript runtime supports bfloat16',
        expected: 'float32',
        got: 'bfloat16',
        hint: 'Declare float32; it is cast inside the graph',
      });
    const raw = g.input(name, given, dims.map(dim), role);
    inputs[name] = isFloat(given) && given !== computes ? cast(raw, computes) : raw;
  }
  for (const [path, p] of names.parameters) {
    if (path in o.inputs)
      throw new ConfigError({
        path: `inputs.${path}`,
        problem: 'an input has the name of a parameter',
        hint: 'Rename the input',
      });
    if (parameterInputs.has(p)) g.parameterInput(p, carriedDType(p.options.dtype ?? dtype));
  }
  const ctx = contextOf(g, inputs, { layout: o.layout ?? 'padded', ...(o.state !== undefined && { state: o.state }) });
  const results = model(ctx.inputs, ctx) as Record<string, Value>;
  if (typeof results !== 'object' || results === null || results instanceof Promise)
    throw new ShapeError({
      path: 'compile',
      problem: 'the module did not return named outputs',
      expected: 'a record of values',
      got: describe(results),
    });
  for (const [name, value] of Object.entries(results)) {
    if (o.state !== undefined && name.startsWith('present.'))
      throw new ConfigError({
        path: `outputs.${name}`,
        problem: 'names that begin with "present." are reserved for the outputs of a state',
        hint: `Rename it: ${name.replace('present.', 'last.')}`,
      });
    g.output(name, carried(value));
  }
  for (const path of o.taps ?? []) {
    const value = g.taps.at(path);
    if (!value) throw noTap(path, model, g);
    g.output(path, carried(value));
  }
  for (const [name, value] of g.stateOutputs) g.output(name, carried(value));
  const graph = g.finish();
  checkOutputNames(graph, names);
  checkAllRead(graph, Object.keys(o.inputs));
  checkPast(graph);
  return graph;
}

// In a file all values share one namespace.
function checkOutputNames(graph: Graph, names: ParameterNames): void {
  const taken = new Set([...graph.inputs.map(nameOf), ...names.parameters.keys()]);
  for (const { name } of graph.outputs) {
    // An empty name is none in ONNX; assigning to the other would change the prototype of the results.
    if (name === '' || name === '__proto__')
      throw new ConfigError({
        path: 'outputs',
        problem: 'wrong name of an output',
        expected: 'a name that is neither empty nor reserved by JavaScript',
        got: describe(name),
      });
    if (taken.has(name))
      throw new ConfigError({
        path: `outputs.${name}`,
        problem: 'an output has the name of an input or a parameter',
        hint: `Rename it: next.${name}`,
      });
  }
}

function signatureOf(graph: Graph, names: ParameterNames, { name: target, mostElements }: Target): Signature {
  const { roles, limits, continuations } = graph.builder;
  const inputs = graph.inputs.map((v): Port => {
    const { leaf } = v;
    if (leaf?.kind === 'parameter')
      return { name: names.nameOf.get(leaf.parameter)!, dtype: v.dtype, dims: v.dims, parameter: true };
    if (leaf?.kind === 'derived')
      return {
        name: leaf.name,
        dtype: v.dtype,
        dims: v.dims,
        derived: {
          how: leaf.how,
          from: leaf.from.map((f) => ('name' in f.leaf! ? f.leaf.name : '')),
          ...(leaf.plus !== undefined && { plus: leaf.plus }),
          ...(leaf.pool && { pool: leaf.pool }),
        },
      };
    if (leaf?.kind === 'draw') return { name: leaf.name, dtype: v.dtype, dims: v.dims, draw: leaf.of };
    const name = leaf && 'name' in leaf ? leaf.name : '';
    const role = roles.get(name);
    return { name, dtype: v.dtype, dims: v.dims, ...(role && { role }) };
  });
  const outputs = graph.outputs.map(({ name, value }): Port => {
    const continues = continuations.get(name);
    return { name, dtype: value.dtype, dims: value.dims, ...(continues && { continues }) };
  });
  // An input that the lowered graph does not read does not exist in the session.
  const there = new Set(inputs.map((p) => p.name));
  const stated = limits.filter(({ input }) => input === undefined || there.has(input));
  const held = mostElements === undefined ? stated : [...stated, ...elementLimits(graph, mostElements, target)];
  return { inputs, outputs, ...(held.length && { limits: held }) };
}
