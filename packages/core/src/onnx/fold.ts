// What depends on weights alone is computed once, when the model is written.

import type { Model } from '../compile';
import { WeightError } from '../error';
import { capturedBy, type Graph, subgraphsOf, usedBy, type Value } from '../graph';
import type { Parameter } from '../parameter';
import { bytesOf, countOf, isFloat, type Tensor } from '../tensor';
import { castTensor, toArray, toTensor } from '../tensor-convert';
import type { LazyTensor } from '../weights/lazy';
import type { OnnxInitializer } from './model';
import { moveTensor } from './move-tensor';

/** One value made of weights alone. */
export interface Folded {
  /** A name made of the weights' names: `layers.0.q_proj.weight/Transpose`. */
  label(names: ReadonlyMap<Parameter, string>): string;
}
export type Folding = ReadonlyMap<Value, Folded>;

/** Weights below this size may stand in a file in several forms. */
const small = 1 << 20;

/**
 * Values that depend on stored weights and constants only. Left out: what would grow the file (a widened dtype, an expansion), and a
 * second form of a large weight that is also used as it is (a tied embedding): that is done at run time.
 */
export function foldable(graph: Graph, parameterInputs: ReadonlySet<Parameter>): Folding {
  const folding = new Map<Value, Folded>();
  const stored = new Map<Value, ReadonlySet<Value>>();
  const rawUses = countRawUses(graph);
  for (const node of graph.nodes) {
    const leaves = node.operands.filter((v): v is Value => v !== undefined);
    if (node.op.writes || node.op.impure || subgraphsOf(node).length) continue;
    if (!node.op.evaluate || !leaves.some((v) => isWeight(v, folding, parameterInputs))) continue;
    if (!leaves.every((v) => v.leaf?.kind === 'constant' || isWeight(v, folding, parameterInputs))) continue;
    const beneath = new Set(leaves.flatMap((v) => (v.leaf ? [v] : [...(stored.get(v) ?? [])])));
    const large = leaves.some((v) => v.leaf?.kind === 'parameter' && sizeOf(v) > small && (rawUses.get(v) ?? 0) > 1);
    if (large) continue;
    for (const output of node.outputs) {
      folding.set(output, { label: (names) => `${labelOf(leaves, folding, names)}/${node.op.key.split('.').at(-1)}` });
      stored.set(output, beneath);
    }
  }
  withoutGrowth(graph, folding, stored);
  return folding;
}

// What the file would hold of a value counts, not what stands between it and the weights: only values that are read when the model runs.
function withoutGrowth(graph: Graph, folding: Map<Value, Folded>, stored: ReadonlyMap<Value, ReadonlySet<Value>>): void {
  const read = new Set<Value>(graph.outputs.map(({ value }) => value));
  for (const node of graph.nodes.toReversed()) {
    const weights = stored.get(node.outputs[0]!);
    const kept = weights ? node.outputs.filter((v) => read.has(v)) : [];
    if (weights && total(kept) <= total(weights) + 4096) continue;
    for (const v of node.outputs) folding.delete(v);
    for (const v of usedBy(node)) read.add(v);
  }
}

const isWeight = (v: Value, folding: Folding, inputs: ReadonlySet<Parameter>): boolean =>
  (v.leaf?.kind === 'parameter' && !inputs.has(v.leaf.parameter)) || folding.has(v);

const total = (values: Iterable<Value>): number => [...values].reduce((n, v) => n + sizeOf(v), 0);
const sizeOf = (v: Value): number => bytesOf(v.dtype, countOf(v.dims as number[]));

// In how many different ways each weight is used.
function countRawUses(graph: Graph): ReadonlyMap<Value, number> {
  const uses = new Map<Value, number>();
  const use = (v: Value | undefined) => v?.leaf?.kind === 'parameter' && uses.set(v, (uses.get(v) ?? 0) + 1);
  const visit = (g: Graph) => {
    for (const node of g.nodes) {
      for (const v of new Set(node.operands)) use(v);
      for (const [, sub] of subgraphsOf(node)) {
        for (const v of capturedBy(sub)) use(v);
      }
    }
    for (const { value } of g.outputs) use(value);
  };
  visit(graph);
  return uses;
}

function labelOf(leaves: readonly Value[], folding: Folding, names: ReadonlyMap<Parameter, string>): string {
  const first = leaves.find((v) => v.leaf?.kind === 'parameter' || folding.has(v))!;
  return first.leaf?.kind === 'parameter' ? (names.get(first.leaf.parameter) ?? 'parameter') : folding.get(first)!.label(names);
}

/** The initializer of a weight, or of what is folded from weights; loads when its turn comes. */
export function foldedInitializer(name: string, v: Value, model: Pick<Model, 'weights' | 'names'>): OnnxInitializer {
  const dims = v.dims as readonly number[];
  return { name, dtype: v.dtype, dims, data: () => compute(v, model) };
}

async function compute(v: Value, model: Pick<Model, 'weights' | 'names'>): Promise<Tensor> {
  const { leaf, producer } = v;
  if (leaf?.kind === 'constant') return leaf.tensor;
  if (leaf?.kind === 'parameter') {
    const weight = weightOf(leaf.parameter, model);
    const tensor = await weight.load();
    return tensor.dtype === v.dtype || !isFloat(v.dtype) ? tensor : castTensor(tensor, v.dtype);
  }
  const operands: (Tensor | undefined)[] = [];
  for (const o of producer!.operands) operands.push(o && (await compute(o, model)));
  const moved = moveTensor(producer!, operands);
  if (moved) return moved;
  const arrays = producer!.op.evaluate!(
    operands.map((t) => t && toArray(t)),
    producer!.attrs,
    { of: (d) => d as number },
  );
  return toTensor(arrays[v.index]!);
}

function weightOf(parameter: Parameter, { weights, names }: Pick<Model, 'weights' | 'names'>): LazyTensor {
  const name = names.nameOf.get(parameter);
  if (name === undefined)
    throw new WeightError({
      path: 'weights',
      problem: 'a parameter is used that no module names',
      hint: 'Put it into the record of its module',
    });
  const weight = weights?.get(name);
  if (!weight)
    throw new WeightError({
      path: `weight "${name}"`,
      problem: 'the model was compiled without weights',
      hint: 'Give compile() the weights, or initialize(module)',
    });
  return weight;
}
