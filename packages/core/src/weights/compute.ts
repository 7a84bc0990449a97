// Computes values that depend only on available tensors; shared by constant folding and by expressWeight.
import { internal, WeightError } from '../error';
import { printType } from '../ir/define-op';
import { isExact } from '../ir/emission';
import type { Node, Value } from '../ir/graph';
import { toArray, toTensor } from '../tensor/convert';
import type { Scratch } from '../tensor/scratch';
import type { Tensor, TensorData } from '../tensor/tensor';
import { movedPieces, moveTensor } from './move-tensor';

/** The node of a value, or, if its op has no `evaluate`, its definition. */
type Made = ReadonlyMap<Value, Value>;

/** A value as an expression of ops that can be evaluated, and its leaves. */
export interface Expression {
  /** Required inputs and parameters, in the order of first use. */
  readonly leaves: readonly Value[];
  /**
   * Computes it. Tensors are removed from the map after their last use, so that none stays in memory longer than needed. The result can use
   * memory of `scratch` or of a leaf.
   */
  compute(leaves: Map<Value, Tensor>, scratch?: Scratch): Tensor;
  /** The same in pieces if the last step only moves elements, each in the memory of `room`, which the pieces share; otherwise as one piece. */
  computePieces(leaves: Map<Value, Tensor>, room: Uint8Array): Iterable<TensorData>;
}

/** The expression of a value whose sizes are all known. */
export function expressionOf(root: Value): Expression {
  const made = new Map<Value, Value>();
  const uses = new Map<Value, number>();
  const leaves: Value[] = [];
  const visit = (v: Value): void => {
    const actual = definitionOf(v, made);
    const count = uses.get(actual) ?? 0;
    uses.set(actual, count + 1);
    if (count > 0) return;
    if (!actual.producer && actual.leaf?.kind !== 'constant') leaves.push(actual);
    for (const o of actual.producer?.operands ?? []) if (o) visit(o);
  };
  visit(root);
  const begin = (given: Map<Value, Tensor>, scratch?: Scratch) => new Computation(made, new Map(uses), given, scratch);
  return {
    leaves,
    compute: (given, scratch) => begin(given, scratch).take(root),
    computePieces: (given, room) => begin(given).takePieces(root, room),
  };
}

function definitionOf(v: Value, made: Map<Value, Value>): Value {
  const known = made.get(v);
  if (known) return known;
  const { producer: node } = v;
  const actual = node && !node.op.evaluate ? definitionOf(defined(node, v.index), made) : v;
  made.set(v, actual);
  return actual;
}

function defined({ op, operands, attrs, graph }: Node, index: number): Value {
  const value = op.decompose?.(operands, attrs, graph.ops)[index];
  if (value) return value;
  throw new WeightError({
    path: op.key,
    problem: 'the op can only be computed in a run of a model',
    hint: 'Compute weights with ops without subgraphs',
  });
}

class Computation {
  constructor(
    private readonly made: Made,
    /** Number of remaining uses of each value. */
    private readonly left: Map<Value, number>,
    private readonly held: Map<Value, Tensor>,
    private readonly scratch: Scratch | undefined,
  ) {}

  take(v: Value): Tensor {
    const actual = this.made.get(v)!;
    const tensor = this.held.get(actual) ?? this.make(actual);
    const left = this.left.get(actual)! - 1;
    this.left.set(actual, left);
    if (left > 0) this.held.set(actual, tensor);
    else this.held.delete(actual);
    return tensor;
  }

  takePieces(v: Value, room: Uint8Array): Iterable<TensorData> {
    const actual = this.made.get(v)!;
    if (this.held.has(actual) || !actual.producer) return [this.take(v).data];
    const operands = this.operandsOf(actual.producer);
    return movedPieces(actual, operands, room) ?? [this.computed(actual, operands).data];
  }

  private make(v: Value): Tensor {
    const { leaf, producer: node } = v;
    if (leaf?.kind === 'constant') return leaf.tensor;
    if (!node) throw internal(`${v} is missing`);
    return this.computed(v, this.operandsOf(node));
  }

  private computed(v: Value, operands: readonly (Tensor | undefined)[]): Tensor {
    const { op, operands: values } = v.producer!;
    return v.graph.located(op.key, values, () => moveTensor(v, operands, this.scratch) ?? evaluated(v, operands));
  }

  private operandsOf(node: Node): readonly (Tensor | undefined)[] {
    return node.operands.map((o) => o && this.take(o));
  }
}

function evaluated({ producer, index }: Value, operands: readonly (Tensor | undefined)[]): Tensor {
  const { op, attrs } = producer!;
  const arrays = operands.map((t) => t && toArray(t));
  if (!isExact(op, arrays))
    throw new WeightError({
      path: op.key,
      problem: 'integers beyond 2^53 would be rounded',
      expected: 'ops that move elements, or smaller integers',
      got: operands.map((t) => t && printType(t)).join(', '),
    });
  return toTensor(op.evaluate!(arrays, attrs, { of: (d) => d as number })[index]!);
}
