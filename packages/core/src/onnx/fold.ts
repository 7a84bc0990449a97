// Constant folding: values that depend only on weights are computed once, when the model is written.

import type { Model } from '../compile/compile';
import { internal, WeightError } from '../error';
import { printType } from '../ir/define-op';
import { type Graph, subgraphsOf, usedBy, type Value } from '../ir/graph';
import type { Parameter } from '../parameter/parameter';
import { castTensor } from '../tensor/convert';
import { Scratch, sharedBytes } from '../tensor/scratch';
import { bytesOf, countOf, isFloat, type Tensor } from '../tensor/tensor';
import { expressionOf } from '../weights/compute';
import type { LazyTensor } from '../weights/lazy';
import { movesElements } from '../weights/move-tensor';
import type { OnnxInitializer } from './model';

/** One value that depends only on weights. */
export interface Folded {
  /** A name derived from the weights' names: `layers.0.q_proj.weight/Transpose`. */
  label(names: ReadonlyMap<Parameter, string>): string;
}
export type Folding = ReadonlyMap<Value, Folded>;

/** Weights below this size may be stored in several layouts. */
const small = 1 << 20;

/**
 * Values that depend only on stored weights and constants. Excluded, and computed at run time, are values that would make the file larger (a wider dtype, an
 * expansion), several layouts of a large weight that together are larger than it (a tied embedding, as it is and transposed), and arithmetic on 64-bit integers,
 * which float64 may not represent exactly.
 */
export function foldable(graph: Graph, parameterInputs: ReadonlySet<Parameter>): Folding {
  const { folding, read, stored } = foldAll(graph, (v) => v.leaf?.kind === 'parameter' && !parameterInputs.has(v.leaf.parameter));
  const forms = new Map<Value, Set<Value>>();
  for (const form of read)
    for (const weight of folding.has(form) ? stored.get(form)! : [form])
      if (weight.leaf?.kind === 'parameter' && sizeOf(weight) > small)
        forms.set(weight, (forms.get(weight) ?? new Set()).add(form));
  const copied = new Set([...forms].filter(([weight, of]) => of.size > 1 && total(of) > sizeOf(weight) + small).map(([v]) => v));
  if (!copied.size) return folding;
  return foldAll(graph, (v) => v.leaf?.kind === 'parameter' && !parameterInputs.has(v.leaf.parameter) && !copied.has(v)).folding;
}

interface Folds {
  readonly folding: Folding;
  /** Values that are read when the model runs. */
  readonly read: ReadonlySet<Value>;
  /** The weights and constants that each folded value depends on. */
  readonly stored: ReadonlyMap<Value, ReadonlySet<Value>>;
}

function foldAll(graph: Graph, isStored: (v: Value) => boolean): Folds {
  const folding = new Map<Value, Folded>();
  const stored = new Map<Value, ReadonlySet<Value>>();
  const isWeight = (v: Value): boolean => isStored(v) || folding.has(v);
  for (const node of graph.nodes) {
    const leaves = node.operands.filter((v): v is Value => v !== undefined);
    if (node.op.writes || node.op.impure || subgraphsOf(node).length) continue;
    if (!node.op.evaluate || !leaves.some(isWeight)) continue;
    if (!leaves.every((v) => v.leaf?.kind === 'constant' || isWeight(v))) continue;
    // Weights are computed in float64, and their numbers are not known yet.
    if (!movesElements(node.op) && [...leaves.filter(isWeight), ...node.outputs].some(isWideInteger)) continue;
    const beneath = new Set(leaves.flatMap((v) => (v.leaf ? [v] : [...(stored.get(v) ?? [])])));
    for (const output of node.outputs) {
      folding.set(output, { label: (names) => `${labelOf(leaves, folding, names)}/${node.op.key.split('.').at(-1)}` });
      stored.set(output, beneath);
    }
  }
  const read = withoutGrowth(graph, folding, stored);
  return { folding, read, stored };
}

// Only values that are read when the model runs count towards the size of the file, not intermediate values.
function withoutGrowth(
  graph: Graph,
  folding: Map<Value, Folded>,
  stored: ReadonlyMap<Value, ReadonlySet<Value>>,
): ReadonlySet<Value> {
  const read = new Set<Value>(graph.outputs.map(({ value }) => value));
  for (const node of graph.nodes.toReversed()) {
    const weights = stored.get(node.outputs[0]!);
    const kept = weights ? node.outputs.filter((v) => read.has(v)) : [];
    if (weights && total(kept) <= total(weights) + 4096) continue;
    for (const v of node.outputs) folding.delete(v);
    for (const v of usedBy(node)) read.add(v);
  }
  return read;
}

const isWideInteger = ({ dtype }: Value): boolean => dtype === 'int64' || dtype === 'uint64';

const total = (values: Iterable<Value>): number => [...values].reduce((n, v) => n + sizeOf(v), 0);
const sizeOf = (v: Value): number => bytesOf(v.dtype, countOf(v.dims as number[]));

function labelOf(leaves: readonly Value[], folding: Folding, names: ReadonlyMap<Parameter, string>): string {
  const first = leaves.find((v) => v.leaf?.kind === 'parameter' || folding.has(v))!;
  return first.leaf?.kind === 'parameter' ? (names.get(first.leaf.parameter) ?? 'parameter') : folding.get(first)!.label(names);
}

/** Size of the pieces in which a computed value is written; while one is written, the next is computed. */
const pieceBytes = sharedBytes / 2;

/** The initializer of a weight, or of a value folded from weights. It loads when it is written. */
export function foldedInitializer(name: string, v: Value, reader: WeightReader): OnnxInitializer {
  const expression = expressionOf(v);
  async function* data(): AsyncGenerator<Uint8Array> {
    const leaves = new Map<Value, Tensor>();
    for (const leaf of expression.leaves) leaves.set(leaf, await reader.read(leaf, v));
    const read = [...leaves.values()];
    const { scratch } = reader;
    const room = scratch.take(pieceBytes);
    for (const piece of expression.computePieces(leaves, room)) {
      // A part of a weight is still being written when the next one is read.
      if (piece.buffer !== room.buffer) scratch.keep(piece);
      yield new Uint8Array(piece.buffer, piece.byteOffset, piece.byteLength);
    }
    scratch.give(room);
    for (const tensor of read) reader.done(tensor);
  }
  for (const leaf of expression.leaves) reader.expect(leaf, v);
  return { name, dtype: v.dtype, dims: v.dims as readonly number[], data };
}

/**
 * Reads weights while a model is written. A weight from which several consecutive values are computed (queries, keys and values that are stored
 * as one) is kept in memory in between; of weights above 1 MiB only the last one.
 */
export class WeightReader {
  /** The last value, in the order of the file, that each weight is read for. */
  private readonly last = new Map<Value, Value>();
  private kept: { readonly leaf: Value; readonly tensor: Tensor } | undefined;
  /** The number of values that are being computed from each weight; one more for the kept weight. */
  private readonly readers = new Map<Tensor, number>();
  /** Keeps weights in memory while values are computed from them. */
  readonly scratch = new Scratch();

  constructor(private readonly model: Pick<Model, 'weights' | 'names'>) {}

  /** Announces that a weight will be read for a value, in the order in which values are computed. */
  expect(leaf: Value, by: Value): void {
    this.last.set(leaf, by);
  }

  /** A weight for a value, kept until {@link done} is called for it. */
  async read(v: Value, by: Value): Promise<Tensor> {
    const large = sizeOf(v) > small;
    const known = this.kept?.leaf === v ? this.kept.tensor : undefined;
    if (large && !known) this.forget();
    const tensor = known ?? (await this.load(v));
    this.hold(tensor);
    const keep = large && this.last.get(v) !== by;
    if (known && !keep) this.forget();
    if (!known && keep) {
      this.hold(tensor);
      this.kept = { leaf: v, tensor };
    }
    return tensor;
  }

  /** Announces that a value is computed from a weight. */
  done(tensor: Tensor): void {
    const left = this.readers.get(tensor)! - 1;
    if (left > 0) this.readers.set(tensor, left);
    else {
      this.readers.delete(tensor);
      this.scratch.give(tensor.data);
    }
  }

  private hold(tensor: Tensor): void {
    this.readers.set(tensor, (this.readers.get(tensor) ?? 0) + 1);
  }

  private forget(): void {
    const { kept } = this;
    this.kept = undefined;
    if (kept) this.done(kept.tensor);
  }

  private async load({ leaf, dtype }: Value): Promise<Tensor> {
    if (leaf?.kind !== 'parameter') throw internal(`a ${leaf?.kind} was taken for a weight`);
    const weight = weightOf(leaf.parameter, this.model);
    const tensor = await weight.load(this.scratch);
    const [declared, got] = [printType(weight), printType(tensor)];
    if (declared !== got)
      throw new WeightError({
        path: `weight "${this.model.names.nameOf.get(leaf.parameter)}"`,
        problem: 'the loaded tensor does not match its declaration',
        expected: declared,
        got,
      });
    if (tensor.dtype === dtype || !isFloat(dtype)) return tensor;
    const cast = castTensor(tensor, dtype);
    this.scratch.give(tensor.data);
    return cast;
  }
}

function weightOf(parameter: Parameter, { weights, names }: Pick<Model, 'weights' | 'names'>): LazyTensor {
  const name = names.nameOf.get(parameter);
  if (name === undefined)
    throw new WeightError({
      path: 'weights',
      problem: 'a parameter is used that is not in the record of any module',
      hint: 'Add it to the record of its module',
    });
  const weight = weights?.get(name);
  if (!weight)
    throw new WeightError({
      path: `weight "${name}"`,
      problem: 'the model was compiled without weights',
      hint: 'Pass weights to compile(): a checkpoint, or initialize(module)',
    });
  return weight;
}
