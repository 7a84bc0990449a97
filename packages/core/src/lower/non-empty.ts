// Sizes of 0 for kernels that need at least 1: nodes for which a size may be 0 run in a branch, or the runner refuses the feeds.
import { mulDims } from '../dim/dim';
import { apply, type Graph, type GraphBuilder, isFilled, type Node, type Value } from '../ir/graph';
import { isReadable } from './no-elements';
import type { Reason } from './reason';
import { reasons } from './reasons';
import { type Found, rewrite } from './rewrite';
import { kernelOf, type NonEmptySize, type Target } from './target';

/** A node that runs only where its sizes are not 0, and the note about it. */
export interface Guarded {
  readonly node: Node;
  readonly note: Reason;
}

/**
 * The same graph, in which a kernel that needs sizes of at least 1 is not reached with a size of 0. A size that is never 0 in a run (see `filledSizes`) costs
 * nothing. Otherwise the node runs in an If on its sizes, or a limit makes the runner refuse such feeds, whichever the target states.
 */
export function withoutEmpty(
  graph: Graph,
  nodes: readonly Node[],
  target: Target,
): { readonly graph: Graph; readonly guarded: readonly Guarded[] } {
  const found: (Found & Guarded)[] = [];
  for (const node of nodes) {
    const needs = kernelOf(target, node)?.nonEmpty;
    const open = needs?.sizes(node).filter(({ size }) => !isFilled(size, node.graph.filled)) ?? [];
    if (!needs || !open.length) continue;
    const refused = needs.otherwise === 'refused' || (needs.otherwise !== 'branch' && !isInBranch(node));
    if (refused) for (const one of open) limit(graph, one);
    else if (isReadable([...node.outputs, { dims: open.map(({ size }) => size) }], node)) found.push(branch(node, open));
  }
  if (!found.length) return { graph, guarded: [] };
  const taken = new Map(found.flatMap((f) => f.node.outputs.map((v) => [v, f] as const)));
  return { graph: rewrite(graph, taken), guarded: found };
}

function isInBranch({ graph }: Node): boolean {
  for (let at: GraphBuilder | undefined = graph; at; at = at.parent) if (at.kind === 'branch') return true;
  return false;
}

function limit(graph: Graph, { size, problem }: NonEmptySize): void {
  graph.builder.limit({ size, min: 1, problem });
}

function branch(node: Node, open: readonly NonEmptySize[]): Found & Guarded {
  const sizes = [...new Set(open.map(({ size }) => size))];
  const product = mulDims(...sizes);
  const emit = (get: (v: Value) => Value): readonly Value[] => {
    const operands = node.operands.map((v) => v && get(v));
    const { cond, equal, size } = node.graph.ops;
    const near = operands.filter((v) => v !== undefined);
    const nothing = () => resultsOfNothing(node, operands, near);
    if (product === 0) return nothing();
    const isEmpty = equal(size(near[0]!, product, near), 0);
    return cond(isEmpty, nothing, () => apply(node.op, operands, node.attrs));
  };
  const note = reasons.zerosOfNothing({ size: String(product) });
  return { rule: `${node.op.key} of nothing`, node, match: { covers: node.outputs, emit }, note };
}

function resultsOfNothing(
  { op, attrs, outputs, graph: { ops } }: Node,
  operands: readonly (Value | undefined)[],
  near: readonly Value[],
): readonly Value[] {
  const zeros = ({ dims, dtype }: Value): Value => {
    const { graph } = near[0]!;
    return apply(ops.OnnxExpand, [graph.number(0, dtype), ops.sizes(graph, dims, near)], { dims })[0]!;
  };
  return op.ofNothing?.(operands, attrs, ops) ?? outputs.map(zeros);
}
