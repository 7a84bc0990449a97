// The sizes up to which a target's kernels count the elements of every tensor of a graph: limits of the feeds, where sizes are known only in a run.
import { type Dim, mulDims, subDims, termsOf } from '../dim/dim';
import type { Graph, Limit } from '../ir/graph';
import { subgraphsOf } from '../ir/graph';

/**
 * One limit for each number of elements that no other one is at least as large as. The branches of an If are not counted: which of them runs depends on the sizes,
 * so what one of them cannot count says nothing about a run that takes the other.
 */
export function elementLimits(graph: Graph, most: number, target: string): readonly Limit[] {
  const counts = new Map<string, Dim>();
  const visit = ({ nodes }: Graph): void => {
    for (const node of nodes) {
      for (const { dims } of node.outputs) {
        const key = dims.join();
        if (dims.some((d) => typeof d === 'string') && !counts.has(key)) counts.set(key, mulDims(...dims));
      }
      if (node.op.key !== 'If') for (const [, inner] of subgraphsOf(node)) visit(inner);
    }
  };
  visit(graph);
  let largest: readonly Dim[] = [];
  for (const count of new Set(counts.values())) {
    if (largest.some((other) => isAtLeast(other, count))) continue;
    largest = [...largest.filter((other) => !isAtLeast(count, other)), count];
  }
  return largest.map((size) => ({
    size,
    max: most,
    problem: `a tensor has more elements than the kernels of ${target} count`,
    hint: 'Run fewer or shorter sequences at once',
  }));
}

/** True if a is certainly not less than b, whatever the sizes. */
const isAtLeast = (a: Dim, b: Dim): boolean => termsOf(subDims(a, b)).every(({ coefficient }) => coefficient >= 0);
