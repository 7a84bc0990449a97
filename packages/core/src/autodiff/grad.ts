// Reverse-mode differentiation: a walk over the nodes that asks each op for its rule.
import { ConfigError, internal, ShapeError } from '../error';
import { printType } from '../ir/define-op';
import { type Node, subgraphsOf, usedBy, type Value } from '../ir/graph';
import { add } from '../ops/elementwise';
import { fill } from '../ops/shape';
import { isFloat } from '../tensor/tensor';

/**
 * Gradients of a scalar, as values of the same graph. An op without a rule of its own is differentiated through its definition.
 *
 * Shapes   loss [] or one element → for each of `wrt` (parameters, inputs) a value of its dims; zeros where the loss does not depend on it
 * Throws   ShapeError when the loss is no scalar · ConfigError naming an op that has no derivative on the way
 * Source   Griewank & Walther 2008, Evaluating Derivatives
 * Lowers   everywhere: what the derivatives of the ops on the way become
 * Example  const [dw] = grad(loss, [g.param(weight)]);
 */
export function grad(loss: Value, wrt: readonly Value[]): readonly Value[] {
  if (loss.dims.some((d) => d !== 1) || !isFloat(loss.dtype))
    throw new ShapeError({
      path: loss.graph.where,
      problem: 'only a scalar has a gradient',
      expected: 'a float of one element',
      got: printType(loss),
    });
  const g = loss.graph.root;
  const seed = fill(g, loss.dims, 1, loss.dtype);
  return backward([loss], [seed], wrt).map((v, i) => v ?? fill(g, wrt[i]!.dims, 0, wrt[i]!.dtype));
}

/**
 * What `outputs`, weighted by `seeds`, change with each of `wrt`; undefined where they do not.
 *
 *     Σ seeds[i] · ∂outputs[i] / ∂wrt[j]
 *
 * Shapes   seeds like outputs, or undefined for zeros → like wrt
 * Throws   ConfigError naming an op that has no derivative on the way
 * Lowers   everywhere: what the derivatives of the ops on the way become
 */
export function backward(
  outputs: readonly Value[],
  seeds: readonly (Value | undefined)[],
  wrt: readonly Value[],
): readonly (Value | undefined)[] {
  const stops = new Set(wrt);
  const { nodes, moving, defined } = expand(outputs, stops);
  const grads = new Map<Value, Value>();
  const receive = (to: Value | undefined, by: Value | undefined) => {
    const v = to && defined(to);
    if (!v || !by || !moving.has(v)) return;
    const before = grads.get(v);
    grads.set(v, before ? add(before, by) : by);
  };
  outputs.forEach((v, i) => receive(v, seeds[i]));
  for (const node of nodes.reverse()) {
    const given = node.outputs.map((v) => (stops.has(v) ? undefined : grads.get(v)));
    if (given.every((v) => v === undefined)) continue;
    const { op } = node;
    const wanted = op.vjpWith && [...new Set(usedBy(node))].filter((v) => isFloat(v.dtype) && moving.has(v));
    const results = node.graph.root.at(node.scope, () =>
      wanted ? op.vjpWith!(node, given, wanted, backward) : pull(node, given),
    );
    (wanted ?? node.operands).forEach((v, i) => {
      receive(v, results[i]);
    });
  }
  return wrt.map((v) => grads.get(v));
}

function pull(node: Node, given: readonly (Value | undefined)[]): readonly (Value | undefined)[] {
  const { op } = node;
  if (typeof op.vjp === 'function') return op.vjp(node, given);
  if (op.vjp !== 'nonDifferentiable') throw internal(`${op.key} has neither vjp nor decompose`);
  if (subgraphsOf(node).length === 0 && node.outputs.every((v) => !isFloat(v.dtype))) return [];
  throw new ConfigError({
    path: node.scope || op.key,
    problem: `${op.key} has no derivative`,
    hint: op.key === 'Loop' ? loopHint : 'Take the gradient of something that does not pass through it',
  });
}

const loopHint =
  'Write the steps one after another, as a fixed number of calls, or take the gradient of something that does not pass through it';

interface Expansion {
  /** Nodes with a rule of their own on the way from `stops` to the outputs, in an order in which they can run. */
  readonly nodes: Node[];
  /** What changes with `stops`. */
  readonly moving: ReadonlySet<Value>;
  /** The value that stands for one whose op is differentiated through its definition. */
  defined(v: Value): Value;
}

// Definitions are spliced in, not differentiated one by one: what they are made of may reach behind their operands (the transpose of a
// transposed operand is what lies before both).
function expand(outputs: readonly Value[], stops: ReadonlySet<Value>): Expansion {
  const moving = new Set<Value>(stops);
  const stand = new Map<Value, Value>();
  const defined = (v: Value): Value => {
    let last = v;
    for (let next = stand.get(last); next; next = stand.get(last)) last = next;
    return last;
  };
  const entered = new Set<Node>();
  const nodes: Node[] = [];
  const stack: { readonly node: Node; readonly leaving: boolean }[] = [];
  const enter = (v: Value | undefined) => {
    if (v?.producer && !stops.has(v) && !entered.has(v.producer)) stack.push({ node: v.producer, leaving: false });
  };
  const leave = (node: Node) => {
    if (!usedBy(node).some((v) => moving.has(v))) return;
    for (const v of node.outputs) moving.add(v);
    const { op } = node;
    if (op.vjp || !op.decompose) {
      nodes.push(node);
      return;
    }
    const made = node.graph.root.at(node.scope, () => op.decompose!(node.operands, node.attrs));
    node.outputs.forEach((v, i) => {
      if (made[i] !== v && !stops.has(v)) stand.set(v, made[i]!);
    });
    for (const v of made) enter(v);
  };
  for (const v of outputs) enter(v);
  for (let top = stack.pop(); top; top = stack.pop()) {
    if (top.leaving) leave(top.node);
    else if (!entered.has(top.node)) {
      entered.add(top.node);
      stack.push({ node: top.node, leaving: true });
      for (const v of usedBy(top.node)) enter(v);
    }
  }
  return { nodes, moving, defined };
}
