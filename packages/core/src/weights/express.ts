// Weights computed from those of a checkpoint in another layout.
import { checkArguments } from '../arguments';
import { describe, WeightError } from '../error';
import { printType } from '../ir/define-op';
import { Value } from '../ir/graph';
import { GraphBuilder } from '../ops/vocabulary';
import type { Scratch } from '../tensor/scratch';
import { bytesOf, countOf, type Tensor } from '../tensor/tensor';
import { expressionOf } from './compute';
import { isLazy, type LazyTensor } from './lazy';

/**
 * A weight computed from others by an expression in ops: concatenated, split, transposed, permuted, scaled.
 *
 * Its dtype and dims are known immediately. The operands are read when it is loaded, and are not kept; those that the expression does not use are never
 * read. Ops that only move elements move them as they are stored; all others are computed in float64 and rounded after each op.
 *
 * Shapes   operands any → any; all sizes are numbers
 * Dtypes   any
 * Throws   ShapeError where the operands do not fit · WeightError for an expression that needs more than its operands; when loaded, for an
 *          operand that does not match its declaration
 *
 * Example  const [a, b] = [await openWeights('a.safetensors'), await openWeights('b.safetensors')].map((w) => w.get('weight')!);
 *            const joined = expressWeight([a!, b!], (a, b) => ops.concat([a, b], 0));
 */
export function expressWeight(
  operands: readonly (Tensor | LazyTensor)[],
  expression: (...operands: Value[]) => Value,
): LazyTensor {
  checkArguments('expressWeight', { operands, expression });
  const g = new GraphBuilder({ dtype: operands[0]?.dtype ?? 'float32' });
  const inputs = operands.map(({ dtype, dims }, i) => g.input(`operand ${i}`, dtype, dims));
  const result: unknown = expression(...inputs);
  if (!(result instanceof Value) || result.graph !== g)
    throw refused('the expression did not return a value computed from its operands', 'a value', describe(result));
  const { leaves, compute } = expressionOf(result);
  const given = leaves.map((leaf) => {
    const operand = operands[inputs.indexOf(leaf)];
    if (!operand)
      throw refused('the expression depends on values other than its operands', inputs.join(', ') || 'no operands', String(leaf));
    return [leaf, operand] as const;
  });
  const lazies = given.flatMap(([, operand]) => (isLazy(operand) ? [operand] : []));
  const { dtype } = result;
  const dims = result.dims as readonly number[];
  const whole = { dtype, dims, byteLength: bytesOf(dtype, countOf(dims)) };
  const load = async (scratch?: Scratch): Promise<Tensor> => {
    const tensors = new Map<Value, Tensor>();
    for (const [leaf, operand] of given)
      tensors.set(leaf, checked(leaf, isLazy(operand) ? await operand.load(scratch) : operand));
    const operands = [...tensors.values()];
    const made = compute(tensors, scratch);
    for (const { data } of operands) if (data.buffer !== made.data.buffer) scratch?.give(data);
    return made;
  };
  if (!lazies.every(({ loadSync }) => loadSync)) return { ...whole, load };
  const loadSync = (): Tensor =>
    compute(new Map(given.map(([leaf, operand]) => [leaf, checked(leaf, isLazy(operand) ? operand.loadSync!() : operand)])));
  return { ...whole, load, loadSync };
}

const refused = (problem: string, expected: string, got: string): WeightError =>
  new WeightError({ path: 'expressWeight', problem, expected, got });

function checked(declared: Value, t: Tensor): Tensor {
  if (printType(t) === printType(declared)) return t;
  throw refused(`${declared} does not match its declaration`, printType(declared), printType(t));
}
