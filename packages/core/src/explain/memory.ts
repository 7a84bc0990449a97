// Bytes that a graph's values take while it runs.

import { type Graph, type Node, subgraphsOf, usedBy, type Value } from '../ir/graph';
import { bytesOf } from '../tensor/tensor';
import type { SizeOf } from './flops';

/** Bytes of a value. */
export const bytesOfValue = (v: Value, size: SizeOf): number =>
  bytesOf(
    v.dtype,
    v.dims.reduce<number>((n, d) => n * size(d), 1),
  );

/**
 * The most bytes that results take at one time, when the nodes run in their order and each result is freed after its last use. `free` are
 * values that need no memory (those folded into weights).
 */
export function peakOf(graph: Graph, size: SizeOf, free: (v: Value) => boolean): number {
  const home = new Map<Value, Value>(); // where a view is stored
  const place = (v: Value): Value => home.get(v) ?? v;
  const lastUse = new Map<Value, number>();
  graph.nodes.forEach((node, i) => {
    const [x] = node.operands;
    if (x && node.op.view) home.set(node.outputs[0]!, place(x));
    for (const v of usedBy(node)) lastUse.set(place(v), i);
  });
  for (const { value } of graph.outputs) lastUse.set(place(value), graph.nodes.length);
  const dying = new Map<number, Value[]>();
  for (const [v, i] of lastUse) dying.set(i, [...(dying.get(i) ?? []), v]);
  const made = new Set<Value>();
  let [live, peak] = [0, 0];
  graph.nodes.forEach((node, i) => {
    const fresh = node.outputs.filter((v) => !home.has(v) && !free(v));
    for (const v of fresh) {
      made.add(v);
      live += bytesOfValue(v, size);
    }
    peak = Math.max(peak, live + insideOf(node, size, free));
    const dead = [...(dying.get(i) ?? []), ...fresh.filter((v) => !lastUse.has(v))];
    for (const v of dead) if (made.delete(v)) live -= bytesOfValue(v, size);
  });
  return peak;
}

const insideOf = (node: Node, size: SizeOf, free: (v: Value) => boolean): number =>
  Math.max(0, ...subgraphsOf(node).map(([, graph]) => peakOf(graph, size, free)));
