// Scratch graphs, in which a match or a definition is tried before the graph is rewritten.
import { apply, builderLike, type GraphBuilder, type Node, type Value } from '../ir/graph';
import { Transpose } from '../ops/movement';
import { Reshape } from '../ops/reshape';

/** A scratch graph for trying a match; it has the inputs of the real one, which bind the sizes. */
export function scratch(node: Node): { g: GraphBuilder; stand: Map<Value, Value> } {
  const g = builderLike(node.graph);
  const stand = new Map<Value, Value>();
  for (const input of node.graph.root.inputs) standIn(g, stand, input);
  return { g, stand };
}

/** The same, including the data movement that made it, so that undoing this movement in a match costs nothing. */
export function standInMoved(g: GraphBuilder, stand: Map<Value, Value>, old: Value): Value {
  const { producer } = old;
  if (stand.has(old) || (producer?.op !== Transpose && producer?.op !== Reshape)) return standIn(g, stand, old);
  const operands = producer.operands.map((v) => v && standInMoved(g, stand, v));
  const moved = apply(producer.op, operands, producer.attrs)[old.index]!;
  stand.set(old, moved);
  return moved;
}

/** A value of the same type in a scratch graph; constants and parameters are kept. */
export function standIn(g: GraphBuilder, stand: Map<Value, Value>, old: Value): Value {
  let v = stand.get(old);
  if (v) return v;
  if (old.leaf?.kind === 'constant') v = g.constant(old.leaf.tensor);
  else if (old.leaf?.kind === 'parameter') v = g.rawParam(old.leaf.parameter, old.dtype);
  else if (old.leaf?.kind === 'state') v = g.state(old.leaf.name, old.dtype, old.dims, old.leaf.fill);
  else v = g.input(`v${old.id}`, old.dtype, old.dims);
  stand.set(old, v);
  return v;
}
