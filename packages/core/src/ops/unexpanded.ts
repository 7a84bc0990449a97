// Values before Expand.
import { madeBy, type Value } from '../ir/graph';

/**
 * x before `expand` repeated it, or x itself: for functions that compute row by row, if later ops broadcast their result.
 *
 * Shapes   x any → the dims that it had before
 * Throws   nothing
 * Lowers   everywhere: nothing, it removes an Expand
 */
export const unexpanded = (x: Value): Value => madeBy(x, x.graph.ops.Expand)?.operands[0] ?? x;
