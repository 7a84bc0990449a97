// Values before they were expanded.
import { madeBy, type Value } from '../ir/graph';

/**
 * x as it was before `expand` repeated it, or x itself: for what computes row by row, and is repeated by the arithmetic behind it.
 *
 * Shapes   x any → the dims that it had before
 * Throws   nothing
 * Lowers   everywhere: nothing, it takes an Expand away
 */
export const unexpanded = (x: Value): Value => madeBy(x, x.graph.ops.Expand)?.operands[0] ?? x;
