// Loop and If: ops with subgraphs.
import type { Dim } from '../dim/dim';
import { aFunction, aList, anObject, given, graphOrValue } from '../given';
import { defineOp, printType, type TensorType } from '../ir/define-op';
import { apply, type Graph, type GraphBuilder, mismatch, type Value } from '../ir/graph';
import { toArray } from '../tensor/convert';
import { gather } from './gather';
import { inlined } from './inline';
import { knownFrom } from './known';
import { opaque } from './opaque';
import { type SizeCondition, sizeCondition } from './size-condition';

type IfAttrs = {
  readonly then_branch: Graph;
  readonly else_branch: Graph;
  /** The sizes for which the traced condition is true; absent if it depends on data. */
  readonly sizes?: SizeCondition;
};

/** ONNX If. Both branches return values of equal types. */
export const If = defineOp<IfAttrs>({
  key: 'If',
  since: 16,
  attributes: { then_branch: 'graph', else_branch: 'graph', sizes: 'data' },
  infer([condition], { then_branch, else_branch }) {
    if (condition?.dtype !== 'bool') throw mismatch('the condition is not bool', 'bool[]', printType(condition));
    const [yes, no] = [then_branch, else_branch].map((g) => g.outputs.map((o) => o.value)) as [Value[], Value[]];
    if (yes.length !== no.length)
      throw mismatch('the branches return different numbers of values', String(yes.length), String(no.length));
    yes.forEach((v, i) => {
      if (printType(v) !== printType(no[i]))
        throw mismatch(`result ${i} has different types in the two branches`, printType(v), printType(no[i]));
    });
    return yes;
  },
  // Computes the taken branch again, with its gradient. Captured values are variables there: definitions cannot see how they are computed.
  vjpWith({ operands: [condition], attrs: { then_branch, else_branch } }, grads, wanted, backward, { fill }) {
    const back = (branch: Graph) => () => {
      const variables = wanted.map(opaque);
      const slopes = backward(inlined(branch, new Map(wanted.map((v, i) => [v, variables[i]!]))), grads, variables);
      return wanted.map((v, i) => slopes[i] ?? fill(v, v.dims, 0, v.dtype));
    };
    return wanted.length ? cond(condition!, back(then_branch), back(else_branch)) : [];
  },
  // The branch that these sizes take; for a condition that depends on data, the more expensive one.
  flops({ operands: [condition], attrs: { then_branch, else_branch } }, sizes, inside) {
    const known = knownFrom(condition!, sizes);
    if (known) return inside(known.data[0] ? then_branch : else_branch);
    return Math.max(inside(then_branch), inside(else_branch));
  },
  evaluateWith: ([condition], { then_branch, else_branch }, run) => run(condition!.data[0] ? then_branch : else_branch, []),
});

/**
 * `yes()` if the condition (bool []) is true, otherwise `no()`; only that branch runs.
 *
 * Shapes   condition bool [] → what the branches return, with the same dims in both
 * Throws   ShapeError when the branches return values of different types
 * Lowers   everywhere: If
 * Example  const [y] = ops.cond(ops.equal(ops.size(g, 'seq'), 1), () => [x], () => [ops.neg(x)]);
 */
export function cond(condition: Value, yes: () => readonly Value[], no: () => readonly Value[]): readonly Value[] {
  given('cond', { condition, yes, no }, { yes: aFunction, no: aFunction });
  const g = condition.graph.root;
  const sizes = sizeCondition(condition);
  return apply(If, [condition], {
    then_branch: g.subgraph('branch', [], yes),
    else_branch: g.subgraph('branch', [], no),
    ...(sizes && { sizes }),
  });
}

type LoopAttrs = { readonly body: Graph; readonly carried: number; readonly trips: Dim };

/** ONNX Loop. Operands: trip count int64 [], condition bool [] or none, then the loop-carried values. */
export const Loop = defineOp<LoopAttrs>({
  key: 'Loop',
  since: 16,
  attributes: { body: 'graph', carried: 'data', trips: 'data' },
  infer([trips, condition, ...first], { body, carried, trips: count }) {
    if (trips && trips.dtype !== 'int64') throw mismatch('the trip count is not int64', 'int64[]', printType(trips));
    if (condition && condition.dtype !== 'bool') throw mismatch('the condition is not bool', 'bool[]', printType(condition));
    const results = body.outputs.map((o) => o.value).slice(1);
    const last = results.slice(0, carried);
    last.forEach((v, i) => {
      if (printType(v) !== printType(first[i]))
        throw mismatch(`carried value ${i} changes its type`, printType(first[i]), printType(v));
    });
    return [...last, ...results.slice(carried).map((v): TensorType => ({ dtype: v.dtype, dims: [count, ...v.dims] }))];
  },
  vjp: 'nonDifferentiable',
  flops: ({ attrs: { body, trips } }, sizes, inside) => inside(body) * sizes.of(trips),
  evaluateWith([trips, condition, ...first], { body, carried }, run, sizes) {
    const limit = trips ? trips.data[0]! : Number.POSITIVE_INFINITY;
    let last = first.map((v) => v!);
    let go = condition ? condition.data[0] !== 0 : true;
    const scans = body.outputs
      .slice(1 + carried)
      .map(({ value }) => ({ dtype: value.dtype, type: value.dims, rows: [] as Float64Array[], dims: [] as readonly number[] }));
    for (let i = 0; i < limit && go; i++) {
      const [again, ...results] = run(body, [
        { dtype: 'int64', dims: [], data: Float64Array.of(i) },
        { dtype: 'bool', dims: [], data: Float64Array.of(1) },
        ...last,
      ]);
      go = again!.data[0] !== 0;
      last = results.slice(0, carried);
      results.slice(carried).forEach((row, s) => {
        scans[s]!.rows.push(row.data);
        scans[s]!.dims = row.dims;
      });
    }
    return [
      ...last,
      ...scans.map(({ dtype, type, rows, dims }) => {
        if (rows.length === 0) return { dtype, dims: [0, ...type.map((d) => sizes.of(d))], data: new Float64Array(0) };
        const size = rows[0]!.length;
        const data = new Float64Array(size * rows.length);
        rows.forEach((row, i) => data.set(row, i * size));
        return { dtype, dims: [rows.length, ...dims], data };
      }),
    ];
  },
});

/** The results of one step of a loop: the carried values, values collected over the steps (scan outputs), and whether to continue. */
export interface LoopStep {
  readonly carried: readonly Value[];
  readonly scans?: readonly Value[];
  readonly goOn?: Value;
}

/**
 * Repeats a body. Nodes that do not depend on the step are computed once, outside the loop; random draws differ in each step.
 *
 * Shapes   trips int64 [] · starts bool [] · carried: any, of the same type in every step → the last carried values; scans [trips, …]
 * Throws   ShapeError when a carried value changes its type
 * Lowers   everywhere: Loop
 */
export function loop(
  g: GraphBuilder,
  o: {
    readonly trips: Value;
    readonly count: Dim;
    /** Whether the first step runs; default: if trips is not 0. */
    readonly starts?: Value;
    readonly carried: readonly Value[];
    readonly body: (step: Value, ...carried: Value[]) => LoopStep;
  },
): { readonly carried: readonly Value[]; readonly scans: readonly Value[] } {
  given(
    'loop',
    { source: g, options: o, 'options.trips': o?.trips, 'options.carried': o?.carried, 'options.body': o?.body },
    { source: graphOrValue, options: anObject, 'options.carried': aList, 'options.body': aFunction },
  );
  const { root } = g;
  const scalar = (dtype: 'int64' | 'bool'): TensorType => ({ dtype, dims: [] });
  const limit = o.trips.leaf?.kind === 'constant' ? toArray(o.trips.leaf.tensor).data[0]! : o.count;
  const steps = (step: Value, again: Value, ...carried: Value[]): readonly Value[] => {
    const result = o.body(step, ...carried);
    return [result.goOn ?? again, ...result.carried, ...(result.scans ?? [])];
  };
  const body = root.subgraph('loop', [scalar('int64'), scalar('bool'), ...o.carried], steps, { count: limit, at: gather });
  const n = o.carried.length;
  // The schema of Loop requires two inputs.
  const starts = o.starts ?? (n === 0 ? root.number(1, 'bool') : undefined);
  const outputs = apply(Loop, [o.trips, starts, ...o.carried], { body, carried: n, trips: o.count });
  return { carried: outputs.slice(0, n), scans: outputs.slice(n) };
}
