// The nodes of a graph with those of its subgraphs, and how often they use a value.
import { type Graph, type Node, subgraphsOf, type Value } from '../ir/graph';
import type { MatchContext } from './rule';

/** All nodes, those of subgraphs before the node that has them. */
export function nodesWithin(graph: Graph): Node[] {
  const found: Node[] = [];
  const visit = (g: Graph) => {
    for (const node of g.nodes) {
      for (const [, sub] of subgraphsOf(node)) visit(sub);
      found.push(node);
    }
  };
  visit(graph);
  return found;
}

/** How often nodes, subgraphs and outputs use a value. */
export function usesIn(graph: Graph, nodes: readonly Node[]): Pick<MatchContext, 'uses'> {
  const uses = new Map<Value, number>();
  const use = (v: Value | undefined) => v && uses.set(v, (uses.get(v) ?? 0) + 1);
  const outputs = (g: Graph) => {
    for (const { value } of g.outputs) use(value);
  };
  outputs(graph);
  for (const node of nodes) {
    for (const v of node.operands) use(v);
    for (const [, sub] of subgraphsOf(node)) outputs(sub);
  }
  return { uses: (v) => uses.get(v) ?? 0 };
}
