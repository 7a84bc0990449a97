// The memory of a graph, computed without running it: the constants in its file, what a runtime computes from them when it opens the file, and the
// largest value at given sizes.
import { type Dim, evaluateDim, mulDims } from '../dim/dim';
import { atMost, type Graph, madeBy, type Node, subgraphsOf, usedBy, type Value } from '../ir/graph';
import { kernelOf, type Machine, type Target } from '../lower/target';
import { If } from '../ops/control';
import { knownFrom } from '../ops/known';
import { bytesOf, countOf } from '../tensor/tensor';

/** Constants and intermediate values of a graph, including loop bodies and branches, except branches that do not run at the given sizes. */
export interface Footprint {
  /** Bytes of all constants together. */
  readonly constants: number;
  /** Bytes of all values that depend on nothing but constants and weights, in every branch: a runtime computes them when it opens the model. */
  readonly folded: number;
  /** Elements of the largest value that a node makes, or of the workspace of a kernel on a given target, as a size and at the given sizes. */
  readonly largest: { readonly count: Dim; readonly at: number };
}

/** Options of {@link footprint}. */
export interface FootprintOptions {
  /** The target whose kernels' workspaces are included; default: none. */
  readonly target?: Target;
  readonly machine?: Machine;
}

/**
 * The footprint of a graph at these sizes, from which its memory follows; tests check it without a clock.
 *
 * Throws   ShapeError when a size has no value
 * Example  const { constants, largest } = footprint(model.graph, { batch: 1, seq: 16_384 }, { target: targets.cpu });
 */
export function footprint(
  graph: Graph,
  sizes: Readonly<Record<string, number>>,
  { target, machine = {} }: FootprintOptions = {},
): Footprint {
  const constants = new Set<Value>();
  let largest: Footprint['largest'] = { count: 0, at: 0 };
  const visit = ({ nodes, outputs }: Graph): void => {
    const used = [...nodes.flatMap((node) => usedBy(node)), ...outputs.map(({ value }) => value)];
    for (const v of used) if (v.leaf?.kind === 'constant') constants.add(v);
    for (const node of nodes) {
      const counts = node.outputs.map(({ dims }) => dims.reduce<Dim>((product, d) => mulDims(product, d), 1));
      const workspace = target && kernelOf(target, node)?.workspace?.(node, machine);
      for (const d of [...counts, ...(workspace === undefined ? [] : [workspace])]) {
        const count = atMost(d, node.graph);
        const at = evaluateDim(count, sizes);
        if (at > largest.at) largest = { count, at };
      }
      for (const inner of running(node, sizes)) visit(inner);
    }
  };
  visit(graph);
  return { constants: bytesOfAll(constants), folded: bytesOfAll(foldedIn(graph)), largest };
}

const bytesOfAll = (values: Iterable<Value>): number =>
  [...values].reduce((n, v) => n + bytesOf(v.dtype, countOf(v.dims as readonly number[])), 0);

// All branches: a runtime folds also those that will not run.
function foldedIn(graph: Graph): ReadonlySet<Value> {
  const folded = new Set<Value>();
  const known = (v: Value | undefined): boolean =>
    v === undefined || v.leaf?.kind === 'constant' || v.leaf?.kind === 'parameter' || folded.has(v);
  const visit = ({ nodes }: Graph): void => {
    for (const node of nodes) {
      const inner = subgraphsOf(node);
      for (const [, g] of inner) visit(g);
      const fixed = !inner.length && !node.op.impure && !node.op.writes && node.operands.every(known);
      if (fixed) for (const v of node.outputs) folded.add(v);
    }
  };
  visit(graph);
  return folded;
}

function running(node: Node, sizes: Readonly<Record<string, number>>): readonly Graph[] {
  const branching = madeBy(node.outputs[0], If);
  const condition = branching && knownFrom(branching.operands[0]!, { of: (d) => evaluateDim(d, sizes) });
  if (!condition) return subgraphsOf(node).map(([, inner]) => inner);
  const { then_branch, else_branch } = branching.attrs;
  return [condition.data[0] ? then_branch : else_branch];
}
