// Scores that are −∞ at some places: where they are finite, and the finite score.
import { ConfigError } from '../error';
import type { Tree } from './term';

/** A score without −∞, and where it is not hidden. */
export interface Visible<V> {
  readonly keep: Tree<V> | boolean;
  readonly value: Tree<V>;
}

const not = <V>(of: Tree<V>): Tree<V> => ({ op: 'not', type: 'bool', of: [of] });
function both<V>(a: Tree<V> | boolean, b: Tree<V> | boolean): Tree<V> | boolean {
  if (a === true || b === false) return b;
  if (b === true || a === false) return a;
  return { op: 'and', type: 'bool', of: [a, b] };
}
function either<V>(a: Tree<V> | boolean, b: Tree<V> | boolean): Tree<V> | boolean {
  if (a === false || b === true) return b;
  if (b === false || a === true) return a;
  return { op: 'or', type: 'bool', of: [a, b] };
}

/** @throws ConfigError where −∞ is not a branch of select or a term of a sum */
export function splitHidden<V>(name: string, root: Tree<V>, allowed: boolean): Visible<V> {
  const known = new Map<Tree<V>, Visible<V>>();
  const split = (tree: Tree<V>): Visible<V> => {
    const before = known.get(tree);
    if (before) return before;
    const found = visible(tree);
    known.set(tree, found);
    return found;
  };
  function visible(tree: Tree<V>): Visible<V> {
    if (tree.op === 'number') return tree.value === Number.NEGATIVE_INFINITY ? hidden() : { keep: true, value: tree };
    if (!('of' in tree)) return { keep: true, value: tree };
    if (tree.op === 'select') {
      const [condition, a, b] = tree.of as readonly [Tree<V>, Tree<V>, Tree<V>];
      const [yes, no] = [split(a), split(b)];
      const keep = either(both(condition, yes.keep), both(not(condition), no.keep));
      if (yes.keep === true && no.keep === true) return { keep: true, value: tree };
      if (yes.keep === false) return { keep, value: no.value };
      if (no.keep === false) return { keep, value: yes.value };
      return { keep, value: { op: 'select', type: 'float', of: [condition, yes.value, no.value] } };
    }
    const operands = tree.of.map(split);
    if (operands.every(({ keep }) => keep === true)) return { keep: true, value: tree };
    const [a, b] = operands as [Visible<V>, Visible<V>];
    if (tree.op === 'add' || (tree.op === 'sub' && b.keep === true))
      return { keep: both(a.keep, b.keep), value: { ...tree, of: [a.value, b.value] } };
    throw misplaced(tree.op);
  }
  const hidden = (): Visible<V> => {
    if (!allowed) throw misplaced('select');
    return { keep: false, value: { op: 'number', type: 'float', value: 0 } };
  };
  const misplaced = (got: string): ConfigError =>
    new ConfigError({
      path: name,
      problem: '−∞ has no meaning here',
      expected: allowed ? 'a branch of select, which may be added to a score' : 'finite weights',
      got: `an operand of ${got}`,
    });
  return split(root);
}
