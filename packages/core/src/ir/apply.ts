// Applying an op: the graph of its operands does it.
import { describe, ShapeError } from '../error';
import { inOrder, type NamedOperands, type OperandNames } from './operands';
import { type Attrs, type Op, type Operand, Value } from './types';

/**
 * Applies an op: converts the operands, calls `simplify`, infers the types, folds small constants, and adds the node. Operands are a list in the op's
 * order, or a record by the op's names for them.
 *
 * Throws   ShapeError when the operands do not fit, with the path, the op and the operands' names and types
 */
export function apply<A extends Attrs, N extends OperandNames = OperandNames>(
  op: Op<A, N>,
  given: readonly Operand[] | NamedOperands<N, Operand>,
  attrs: A,
): readonly Value[] {
  const operands = isList(given) ? given : inOrder(op, given);
  const anchor = operands.find((o): o is Value => o instanceof Value);
  if (anchor) return anchor.graph.root.apply(op as unknown as Op<A>, operands, attrs);
  throw new ShapeError({
    path: op.key,
    problem: 'no operand is a value of a graph',
    expected: 'at least one',
    got: describe(operands),
    hint: 'Numbers and parameters take the graph of the values beside them; use g.number(1, dtype) to make a value from a number',
  });
}

const isList = (given: object): given is readonly Operand[] => Array.isArray(given);

/** For `infer`: operands that do not fit. The graph adds op, path and operand types. */
export function mismatch(problem: string, expected?: string, got?: string): ShapeError {
  return new ShapeError({ path: '', problem, ...(expected !== undefined && { expected }), ...(got !== undefined && { got }) });
}
