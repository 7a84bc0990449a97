// Logic on bool tensors and on constants that apply to all pairs.
import type { Truth } from './mask';

export function both(a: Truth, b: Truth): Truth {
  if (a === true || b === false || a === b) return b;
  if (b === true || a === false) return a;
  return a.graph.ops.logicalAnd(a, b);
}
export function either(a: Truth, b: Truth): Truth {
  if (a === false || b === true || a === b) return b;
  if (b === false || a === true) return a;
  return a.graph.ops.logicalOr(a, b);
}
export const negated = (a: Truth): Truth => (typeof a === 'boolean' ? !a : a.graph.ops.logicalNot(a));
