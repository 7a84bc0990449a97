// Attention that is divided from some sizes on. What the limits of the model decide is decided when it is compiled, the rest by an If on the sizes of each run.
import type { Dim } from '../dim/dim';
import type { Attrs } from '../ir/define-op';
import { apply, type Node, type Value } from '../ir/graph';
import { mostOf } from '../lower/known-sizes';
import type { Get, Match } from '../lower/rule';

/** A size up to which an attention is left whole. */
export interface WholeUpTo {
  readonly size: Dim;
  readonly most: Dim;
}

/** True if the limits of the model allow no size beyond the bound. */
export const isAlwaysWhole = ({ graph }: Pick<Node, 'graph'>, { size, most }: WholeUpTo): boolean => {
  const largest = typeof most === 'number' ? mostOf(size, graph.root) : undefined;
  return largest !== undefined && largest <= (most as number);
};

/**
 * The attention as it is where a size is within one of the bounds, and divided beyond all of them. No If is made for bounds that are certainly exceeded.
 *
 * @param near values that have the sizes, besides queries and keys
 */
export function wholeOrDivided<A extends Attrs>(
  node: Node<A>,
  bounds: readonly WholeUpTo[],
  divided: Match['emit'],
  near: (get: Get) => readonly Value[] = () => [],
): Match['emit'] {
  const open = bounds.filter(({ size, most }) => typeof size !== 'number' || typeof most !== 'number' || size <= most);
  if (!open.length) return divided;
  return (get) => {
    const { cond, lessOrEqual, logicalOr, size: sizeOf } = node.graph.ops;
    const operands = node.operands.map((operand) => operand && get(operand));
    const [query, key] = operands.slice(0, 2) as [Value, Value];
    const read = (d: Dim): Value => sizeOf(key, d, [query, key, ...near(get)]);
    const within = open.map(({ size, most }) => lessOrEqual(read(size), typeof most === 'number' ? most : read(most)));
    return cond(
      within.reduce((a, b) => logicalOr(a, b)),
      () => apply(node.op, operands, { ...node.attrs, undivided: true }),
      () => divided(get),
    );
  };
}
