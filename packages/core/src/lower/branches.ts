// For which sizes a node runs: the conditions of the branches around it.
import { type Graph, madeBy, type Node, subgraphsOf } from '../ir/graph';
import { If } from '../ops/control';

/** The sizes for which each node inside branches runs, `seq <= 32`; nothing for branches that depend on data. */
export function sizesLeadingTo(graph: Graph): ReadonlyMap<Node, string> {
  const found = new Map<Node, string>();
  const visit = (g: Graph, conditions: readonly string[]) => {
    for (const node of g.nodes) {
      if (conditions.length)
        found.set(
          node,
          conditions.map((text) => (conditions.length > 1 && text.includes(' or ') ? `(${text})` : text)).join(' and '),
        );
      const sizes = madeBy(node.outputs[0], If)?.attrs.sizes;
      for (const [name, sub] of subgraphsOf(node)) {
        const condition = sizes && (name === 'then_branch' ? sizes.holds : sizes.fails);
        visit(sub, condition ? [...conditions, condition] : conditions);
      }
    }
  };
  visit(graph, []);
  return found;
}
