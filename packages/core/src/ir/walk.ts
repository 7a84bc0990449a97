// Queries on a graph: what a node reads, which node made a value.
import { type Attribute, type Attrs, type Graph, type GraphBuilder, type Leaf, type Node, type Op, Value } from './types';

/** True for a subgraph in an attribute. */
export const isGraph = (a: Attribute): a is Graph => typeof a === 'object' && a !== null && 'nodes' in a && 'builder' in a;

/** The subgraphs of a node, by attribute name. */
export function subgraphsOf(node: { readonly attrs: Attrs }): readonly (readonly [name: string, graph: Graph])[] {
  const found: [string, Graph][] = [];
  for (const name in node.attrs) if (isGraph(node.attrs[name])) found.push([name, node.attrs[name] as Graph]);
  return found;
}

/** Values of enclosing graphs that a subgraph reads. */
export function capturedBy(graph: Graph): readonly Value[] {
  const found = new Set<Value>();
  const inside = (g: GraphBuilder): boolean =>
    g === graph.builder || (g.parent !== undefined && g.depth > graph.builder.depth && inside(g.parent));
  for (const node of graph.nodes) for (const v of usedBy(node)) if (!inside(v.graph)) found.add(v);
  for (const { value } of graph.outputs) if (!inside(value.graph)) found.add(value);
  return [...found];
}

/** The node that made a value, if it is of this op. */
export function madeBy<A extends Attrs>(value: Value | undefined, op: Op<A>): Node<A> | undefined {
  return value?.producer && value.producer.op.key === op.key ? (value.producer as unknown as Node<A>) : undefined;
}

/** Everything a node reads: its operands and what its subgraphs capture. */
export function usedBy(node: Node): readonly Value[] {
  const used = node.operands.filter((v): v is Value => v !== undefined);
  const subgraphs = subgraphsOf(node);
  return subgraphs.length ? [...used, ...subgraphs.flatMap(([, g]) => capturedBy(g))] : used;
}

/** The name of an input, derived input, draw or state. */
export function nameOf(value: Value): string | undefined {
  return value.leaf && 'name' in value.leaf ? value.leaf.name : undefined;
}

/** The input that a value is, directly or after a cast. */
export function inputOf(value: Value): Extract<Leaf, { kind: 'input' }> | undefined {
  let v: Value | undefined = value;
  while (v?.producer?.op.key === 'Cast') v = v.producer.operands[0];
  return v?.leaf?.kind === 'input' ? v.leaf : undefined;
}

/** True if all values in this (one, a list, a record) may be used now: none is in a subgraph that is closed. */
export function usable(made: unknown): boolean {
  if (made instanceof Value) return made.graph.reaches(made);
  return typeof made !== 'object' || made === null || Object.values(made).every(usable);
}
