// Copies the nodes of a subgraph into the open graph.
import { internal } from '../error';
import { apply, type Graph, type Node, subgraphsOf, type Value } from '../ir/graph';

/** The results of a branch, computed in the open graph, with some captured values replaced. */
export const inlined = (branch: Graph, others: ReadonlyMap<Value, Value> = new Map()): readonly Value[] =>
  again(branch, new Map(others));

function again(graph: Graph, made: Map<Value, Value>): readonly Value[] {
  const get = (v: Value): Value => made.get(v) ?? v;
  for (const node of graph.nodes) {
    const outputs = node.graph.root.at(node.scope, () => emitted(node, get, made), node);
    node.outputs.forEach((v, i) => {
      made.set(v, outputs[i]!);
    });
  }
  return graph.outputs.map(({ value }) => get(value));
}

function emitted(node: Node, get: (v: Value) => Value, made: Map<Value, Value>): readonly Value[] {
  const { op } = node;
  if (op.writes) throw internal(`${op.key} writes a state and cannot be made a second time`);
  const g = node.graph.root;
  const within = ([name, sub]: readonly [string, Graph]) => {
    const body = (...args: Value[]) => {
      sub.inputs.forEach((v, i) => {
        made.set(v, args[i]!);
      });
      return again(sub, made);
    };
    return [name, g.subgraph(sub.builder.kind === 'loop' ? 'loop' : 'branch', sub.inputs, body)] as const;
  };
  const subgraphs = subgraphsOf(node);
  const attrs = subgraphs.length ? { ...node.attrs, ...Object.fromEntries(subgraphs.map(within)) } : node.attrs;
  const operands = node.operands.map((v) => v && get(v));
  return operands.some((v) => v !== undefined) ? apply(op, operands, attrs) : g.emit(op, operands, attrs, op.infer([], attrs));
}
