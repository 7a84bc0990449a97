// Calls a function of the user once, on the place of any query and key, and keeps what it computes as an expression.

import { ConfigError, describe } from '../error';
import { fitsInt64, rangesOf } from './functions';
import type { Place, Step, Traced } from './step';
import { type Call, Condition, placeIn, type Table, Term, type Tree } from './term';

/** A function from places to a condition or a number. */
export type PlaceFunction<R> = (...places: Term[]) => R;

/** @throws ConfigError when the function returns something else, or forgets a condition that it made */
export function traceCondition<V>(name: string, places: readonly Place[], f: PlaceFunction<Condition<V>>): Tree<V> {
  return traced(name, places, f, Condition, 'a condition');
}
/** @throws ConfigError when the function returns something else, or forgets a condition that it made */
export function traceTerm<V>(name: string, places: readonly Place[], f: PlaceFunction<Term<V>>): Tree<V> {
  return traced(name, places, f, Term, 'an expression of numbers');
}

function traced<V, R extends Term<V> | Condition<V>>(
  name: string,
  places: readonly Place[],
  f: PlaceFunction<R>,
  kind: typeof Condition | typeof Term,
  expected: string,
): Tree<V> {
  const call: Call = { name, conditions: [] };
  const result: unknown = f(...places.map((place) => placeIn(call, place)));
  if (!(result instanceof kind))
    throw new ConfigError({
      path: name,
      problem: 'the function returns something else',
      expected,
      got: result instanceof Term ? 'a number' : result instanceof Condition ? 'a condition' : describe(result),
      hint: 'Compare with methods: q.ge(k) instead of q >= k, a.and(b) instead of a && b, a.not() instead of !a',
    });
  const { tree, call: own } = result as R;
  if (own !== call)
    throw new ConfigError({ path: name, problem: 'the result does not depend on the arguments of the function', expected });
  const reached = new Set<Tree<V>>();
  const visit = (node: Tree<V>): void => {
    if (reached.has(node)) return;
    reached.add(node);
    if ('of' in node) node.of.forEach(visit);
  };
  visit(tree);
  if (call.conditions.some((c) => !reached.has(c.tree as Tree<V>)))
    throw new ConfigError({
      path: name,
      problem: 'a condition is not a part of the result',
      expected: 'a.and(b) and a.or(b) instead of a && b and a || b, a.select(x, y) instead of a ? x : y',
    });
  return tree;
}

/** A tree as steps, with equal ones once. */
export function flattened<V>(name: string, tree: Tree<V>): Traced<V> {
  const steps: Step[] = [];
  const tables: V[] = [];
  const known = new Map<Tree<V>, number>();
  const byText = new Map<string, number>();
  const add = (step: Step): number => {
    const text = JSON.stringify([
      step.op,
      step.type,
      'value' in step && String(step.value),
      'table' in step && step.table,
      'of' in step && step.of,
    ]);
    const before = byText.get(text);
    if (before !== undefined) return before;
    byText.set(text, steps.length);
    return steps.push(step) - 1;
  };
  const place = (node: Tree<V>): number => {
    const before = known.get(node);
    if (before !== undefined) return before;
    const at = add(stepOf(node));
    known.set(node, at);
    return at;
  };
  const stepOf = (node: Tree<V>): Step => {
    if (!('of' in node)) return node;
    const of = node.of.map(place);
    if (node.op !== 'lookup') return { op: node.op, type: node.type, of };
    const found = tables.indexOf(node.table);
    return { op: 'lookup', type: node.type, table: found < 0 ? tables.push(node.table) - 1 : found, of };
  };
  place(tree);
  const expression = { steps, tables };
  const wide = rangesOf(expression, tables as readonly (V & Table)[]).findIndex(
    (range, i) => steps[i]!.type === 'int' && !fitsInt64(range),
  );
  if (wide >= 0)
    throw new ConfigError({
      path: name,
      problem: 'an integer may not fit in 64 bits',
      expected: 'a float: divide first',
      got: steps[wide]!.op,
    });
  return expression;
}
