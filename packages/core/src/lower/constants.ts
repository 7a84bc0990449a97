// Constant folding: values that depend only on constants are computed at compile time. A runtime would do so only with graph optimisation enabled.

import { evaluateKnown } from '../ir/emission';
import { type Graph, type Node, subgraphsOf, type Value } from '../ir/graph';
import { toArray, toTensor } from '../tensor/convert';
import { bytesOf, countOf, type NDArray, type Tensor } from '../tensor/tensor';
import { type Found, rewrite } from './rewrite';

/** Larger values are computed in each run: in bytes, enough for tables of angles and masks of some thousand positions. */
const largest = 1 << 20;

/** The same graph with nodes whose operands are all constant replaced by constants, except for large results. */
export function withConstants(graph: Graph, nodes: readonly Node[]): Graph {
  const known = new Map<Value, Tensor>();
  const taken = new Map<Value, Found>();
  const arrayOf = (v: Value): NDArray | undefined => {
    const tensor = known.get(v) ?? (v.leaf?.kind === 'constant' ? v.leaf.tensor : undefined);
    return tensor && toArray(tensor);
  };
  for (const node of nodes) {
    if (subgraphsOf(node).length || !node.outputs.every(isSmall)) continue;
    const source = node.operands.find((v) => v !== undefined);
    const isKnown = (v: Value | undefined) => !v || known.has(v) || v.leaf?.kind === 'constant';
    if (!source || !node.operands.every(isKnown)) continue;
    const tensors = evaluateKnown(
      node.op,
      node.operands.map((v) => v && arrayOf(v)),
      node.attrs,
    )?.map(toTensor);
    if (!tensors) continue;
    node.outputs.forEach((v, i) => {
      known.set(v, tensors[i]!);
      taken.set(v, {
        rule: 'constants',
        node,
        match: { covers: node.outputs, emit: (get) => tensors.map((tensor) => get(source).graph.root.constant(tensor)) },
      });
    });
  }
  return taken.size ? rewrite(graph, taken) : graph;
}

const isSmall = ({ dtype, dims }: Value): boolean =>
  dims.every((d) => typeof d === 'number') && bytesOf(dtype, countOf(dims as number[])) <= largest;
