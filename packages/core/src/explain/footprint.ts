// The memory and the operations of a graph, computed without running it: the constants in its file, what a runtime computes from them when it opens the
// file, the largest value at given sizes, and how values grow with each size.
import { checkArguments } from '../arguments';
import { type Dim, evaluateDim, mulDims, termsOf } from '../dim/dim';
import { atMost, type Graph, madeBy, type Node, subgraphsOf, usedBy, type Value } from '../ir/graph';
import { kernelOf, type Machine, type Target } from '../lower/target';
import { If } from '../ops/control';
import { knownFrom } from '../ops/known';
import { bytesOf, countOf } from '../tensor/tensor';
import { flopsOf } from './flops';

/** Constants and intermediate values of a graph, including loop bodies and branches, except branches that do not run at the given sizes. */
export interface Footprint {
  /** Bytes of all constants together. */
  readonly constants: number;
  /** Bytes of all values that depend on nothing but constants and weights, in every branch: a runtime computes them when it opens the model. */
  readonly folded: number;
  /** Elements of the largest value that a node makes, or of the workspace of a kernel on a given target, as a size and at the given sizes. */
  readonly largest: { readonly count: Dim; readonly at: number };
  /** Bytes of that value; those of a workspace, of which only the number of elements is known, as float32. */
  readonly largestBytes: number;
  /**
   * The highest power of each named size among the counts of all values and workspaces: 1 where memory grows linearly with it, 2 with a value for every pair
   * of positions.
   */
  readonly degrees: Readonly<Record<string, number>>;
  /** Floating-point operations of one run, a multiply-add being two. Of a kernel those of its definition, so with every pair of queries and keys. */
  readonly flops: number;
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
export function footprint(graph: Graph, sizes: Readonly<Record<string, number>>, options: FootprintOptions = {}): Footprint {
  checkArguments('footprint', { graph, sizes, 'options?': options });
  const { target, machine = {} } = options;
  const constants = new Set<Value>();
  let largest: Footprint['largest'] = { count: 0, at: 0 };
  let largestBytes = 0;
  const degrees = new Map<string, number>();
  const visit = ({ nodes, outputs }: Graph): void => {
    const used = [...nodes.flatMap((node) => usedBy(node)), ...outputs.map(({ value }) => value)];
    for (const v of used) if (v.leaf?.kind === 'constant') constants.add(v);
    for (const node of nodes) {
      const values = node.outputs.map(({ dtype, dims }) => ({ dtype, count: mulDims(1, ...dims) }));
      const workspace = target && kernelOf(target, node)?.workspace?.(node, machine);
      for (const { dtype, count: own } of [
        ...values,
        ...(workspace === undefined ? [] : [{ dtype: 'float32' as const, count: workspace }]),
      ]) {
        const count = atMost(own, node.graph);
        for (const [name, power] of degreesOf(count)) degrees.set(name, Math.max(power, degrees.get(name) ?? 0));
        const at = evaluateDim(count, sizes);
        if (at <= largest.at) continue;
        largest = { count, at };
        largestBytes = bytesOf(dtype, at);
      }
      for (const inner of running(node, sizes)) visit(inner);
    }
  };
  visit(graph);
  const flops = graph.nodes.reduce((n, node) => n + flopsOf(node, (d) => evaluateDim(atMost(d, node.graph), sizes)), 0);
  return {
    constants: bytesOfAll(constants),
    folded: bytesOfAll(foldedIn(graph)),
    largest,
    largestBytes,
    degrees: Object.fromEntries(degrees),
    flops,
  };
}

/** The highest power of each name in a size. A floor division by a number has the powers of its numerator. */
function degreesOf(d: Dim): ReadonlyMap<string, number> {
  const highest = new Map<string, number>();
  for (const { atoms } of termsOf(d)) {
    const term = new Map<string, number>();
    const raise = (name: string, by: number): void => void term.set(name, (term.get(name) ?? 0) + by);
    for (const atom of atoms) {
      if (atom.kind === 'name') raise(atom.name, 1);
      else for (const [name, power] of degreesOf(atom.numerator)) raise(name, power);
    }
    for (const [name, power] of term) highest.set(name, Math.max(power, highest.get(name) ?? 0));
  }
  return highest;
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
