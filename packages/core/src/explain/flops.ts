// Floating-point operations of a node of the traced graph: a multiplication and an addition are two.
import { type Dim, namesOfDim } from '../dim/dim';
import { definitionOf } from '../interpret/interpret';
import { countIn } from '../ir/define-op';
import { type Graph, type Node, subgraphsOf } from '../ir/graph';
import { isFloat } from '../tensor/tensor';

/** The value of a size. */
export type SizeOf = (d: Dim) => number;

/** Operations of a node at these sizes: as its op counts them, else those of its definition, else one for each float of its results. */
export function flopsOf(node: Node, size: SizeOf): number {
  const { op, operands, attrs, outputs } = node;
  const inside = (graph: Graph): number => graph.nodes.reduce((n, inner) => n + flopsOf(inner, size), 0);
  if (op.flops) return op.flops(node, { of: size }, inside);
  if (op.decompose && !subgraphsOf(node).length) return inside(definitionOf(op, operands, attrs, namesIn(node, size)).graph);
  return outputs.reduce((n, v) => n + (isFloat(v.dtype) ? countIn(v, { of: size }) : 0), 0);
}

// The sizes of its results, which a definition may need although no operand has them.
const namesIn = ({ outputs }: Node, size: SizeOf): ReadonlyMap<string, number> =>
  new Map(outputs.flatMap((v) => v.dims.flatMap(namesOfDim)).map((name) => [name, size(name)]));
