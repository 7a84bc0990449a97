// Runs one block by itself in the interpreter, on parameters that are the same in every run.

import { compile, type Model } from '../compile/compile';
import type { CompileOptions, InputType } from '../compile/compile-options';
import { evaluateDim } from '../dim/dim';
import { interpret } from '../interpret/interpret';
import type { Assumption } from '../ir/assumption';
import { type DeclaredRole, type Graph, nameOf, type Value } from '../ir/graph';
import type { Decision } from '../lower/decision';
import { lower } from '../lower/lower';
import type { Rule } from '../lower/rule';
import type { Target } from '../lower/target';
import { and, type Mask } from '../mask/index';
import { type AnyModule, namesOf } from '../module/module';
import { standalone } from '../module/standalone';
import { GraphBuilder } from '../ops/vocabulary';
import type { Parameter } from '../parameter/parameter';
import type { Ort } from '../runtime/ort';
import { createRunner } from '../runtime/runner';
import { withContext } from '../sequence/context';
import { contextOf, type SequenceInputs } from '../sequence/context-of';
import { toArray, toTensor } from '../tensor/convert';
import { countOf, type DType, type NDArray } from '../tensor/tensor';
import { expectClose, type Tolerance } from './close';
import { randomNumbers } from './random';

/** Numbers between -1 and 1, the same ones for the same name. */
export function randomArray(name: string, dims: readonly number[], dtype: DType = 'float32'): NDArray {
  const numbers = randomNumbers(name);
  return { dtype, dims, data: Float64Array.from({ length: countOf(dims) }, () => 2 * numbers() - 1) };
}

/** Random values for every parameter of a module. */
export function randomParameters(m: AnyModule): {
  readonly byName: Readonly<Record<string, NDArray>>;
  /** The value of a parameter. */
  of(p: Parameter): NDArray;
} {
  const { parameters, nameOf } = namesOf(m);
  const byName = Object.fromEntries([...parameters].map(([name, p]) => [name, randomArray(name, p.dims, p.options.dtype)]));
  return { byName, of: (p) => byName[nameOf.get(p)!]! };
}

/** How {@link traceBlock} traces. */
export interface TraceOptions extends Partial<SequenceInputs> {
  readonly training?: boolean;
  readonly assumptions?: readonly Assumption[];
  /** A further mask, such as `causal`, as a decoder would set it. */
  readonly mask?: Mask<Value>;
}

/** The graph of a block on named inputs: q, k, v, x or ids for the arguments of its kind, and inputs of the sequence context. */
export function traceBlock(m: AnyModule, inputs: Readonly<Record<string, InputType>>, o: TraceOptions = {}): Graph {
  const g = new GraphBuilder({ training: o.training ?? false, assumptions: new Set(o.assumptions) });
  const given = Object.fromEntries(Object.entries(inputs).map(([name, type]) => [name, g.input(name, ...type)]));
  const ctx = contextOf(g, given, { layout: o.layout ?? 'padded', ...(o.state !== undefined && { state: o.state }) });
  const narrowed = o.mask ? withContext(ctx, { mask: and(ctx.mask, o.mask) }) : ctx;
  const results = standalone(m)(ctx.inputs, narrowed) as Record<string, Value>;
  for (const [name, value] of Object.entries(results)) g.output(name, value);
  return g.finish();
}

/** The results of a block for arrays, traced at their sizes, and its parameters. Draws are fed by name like inputs. */
export function runBlock(
  m: AnyModule,
  feeds: Readonly<Record<string, NDArray>>,
  o: TraceOptions & {
    readonly draws?: Readonly<Record<string, NDArray>>;
    /** Roles of feeds whose names have none. */
    readonly roles?: Readonly<Record<string, DeclaredRole>>;
  } = {},
): {
  readonly outputs: Readonly<Record<string, NDArray>>;
  readonly parameters: Readonly<Record<string, NDArray>>;
} {
  const graph = traceBlock(
    m,
    Object.fromEntries(Object.entries(feeds).map(([name, { dtype, dims }]) => [name, [dtype, dims, o.roles?.[name]]])),
    o,
  );
  const parameters = randomParameters(m);
  return { outputs: interpret(graph, { ...feeds, ...o.draws }, { parameters: parameters.of }), parameters: parameters.byName };
}

/** How {@link lowerBlock} lowers and compares. */
export interface LowerBlockOptions extends TraceOptions {
  /** Further rules besides those of the module's blocks. */
  readonly rules?: readonly Rule[];
  /** Values of the names in the inputs' dims. */
  readonly sizes?: Readonly<Record<string, number>>;
  readonly tolerance?: Tolerance;
}

/**
 * Lowers a block for a target, and checks in the interpreter that it still computes the same.
 *
 * @throws Error that names the worst element where the results differ
 */
export function lowerBlock(
  m: AnyModule,
  inputs: Readonly<Record<string, InputType>>,
  target: Target,
  o: LowerBlockOptions = {},
): {
  readonly graph: Graph;
  readonly decisions: readonly Decision[];
} {
  const traced = traceBlock(m, inputs, o);
  const lowered = lower(traced, target, o.rules ? { rules: o.rules } : {});
  const sizes = o.sizes ?? {};
  const feeds = Object.fromEntries(
    Object.entries(inputs).map(([name, [dtype, dims]]) => [
      name,
      randomArray(
        name,
        dims.map((d) => evaluateDim(d, sizes)),
        dtype,
      ),
    ]),
  );
  const parameters = randomParameters(m).of;
  const run = (graph: Graph) => {
    const asked = new Set(graph.inputs.map(nameOf));
    return interpret(graph, Object.fromEntries(Object.entries(feeds).filter(([name]) => asked.has(name))), { parameters, sizes });
  };
  const [expected, got] = [run(traced), run(lowered.graph)];
  for (const [name, y] of Object.entries(expected))
    expectClose(got[name]!, y, o.tolerance, `${name} of the lowered and the traced graph`);
  return lowered;
}

/**
 * Compiles a block for a target, runs it in a runtime without graph optimisation, and compares with the interpreter.
 *
 * @throws Error that names the worst element where the results differ
 * @returns the model that ran
 */
export async function checkOnRuntime(
  m: AnyModule,
  inputs: Readonly<Record<string, InputType>>,
  target: Target,
  runtime: Ort,
  o: Omit<LowerBlockOptions, 'state' | 'layout'> & { readonly draws?: CompileOptions['draws'] } = {},
): Promise<Model> {
  const { sizes = {}, tolerance = { atol: 1e-5, rtol: 1e-5 } } = o;
  const { byName } = randomParameters(m);
  const weights = new Map(Object.entries(byName).map(([name, array]) => [name, toTensor(array)]));
  const model = compile(m, {
    target,
    inputs,
    weights,
    ...(o.rules && { rules: o.rules }),
    ...(o.training && { training: true }),
    ...(o.draws && { draws: o.draws }),
  });
  const feeds = Object.fromEntries(
    Object.entries(inputs).map(([name, [dtype, dims]]) => [
      name,
      toTensor(
        randomArray(
          name,
          dims.map((d) => evaluateDim(d, sizes)),
          dtype,
        ),
      ),
    ]),
  );
  const run = await createRunner(model, runtime, { session: { graphOptimizationLevel: 'disabled' } });
  const results = await run(feeds);
  await run.dispose();
  const arrays = Object.fromEntries(Object.entries(feeds).map(([name, t]) => [name, toArray(t)]));
  const first = { dtype: 'int64', dims: [], data: Float64Array.of(0) } as const;
  const expected = interpret(model.traced, o.draws ? { ...arrays, run: first } : arrays, {
    sizes,
    parameters: (p) => toArray(weights.get(model.names.nameOf.get(p)!)!),
  });
  for (const [name, y] of Object.entries(expected))
    expectClose(results[name]!, y, tolerance, `${name} of the runtime and the interpreter`);
  return model;
}
