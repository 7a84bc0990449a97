// Reverse-mode differentiation: a walk over the nodes that asks each op for its rule.
import { ConfigError, internal, ShapeError } from '../error';
import { type Node, subgraphsOf, type Value } from '../graph';
import { add } from '../ops/elementwise';
import { fill } from '../ops/shape';
import { printType } from '../op';
import { isFloat } from '../tensor';

/**
 * Gradients of a scalar, as values of the same graph. An op without a rule of its own is differentiated through its definition.
 *
 * Shapes   loss [] or one element → for each of `wrt` a value of its dims; zeros where the loss does not depend on it
 * Throws   ShapeError when the loss is no scalar · ConfigError naming an op that has no derivative on the way
 * Source   Griewank & Walther 2008, Evaluating Derivatives
 *
 * Example  const [dw] = grad(loss, [g.param(weight)]);
 */
export function grad(loss: Value, wrt: readonly Value[]): readonly Value[] {
  if (loss.dims.some((d) => d !== 1) || !isFloat(loss.dtype)) throw new ShapeError({ path: loss.graph.where, problem: 'only a scalar has a gradient', expected: 'a float of one element', got: printType(loss) });
  const g = loss.graph.root;
  const seed = fill(g, loss.dims, 1, loss.dtype);
  return backward([loss], [seed], wrt).map((v, i) => v ?? fill(g, wrt[i]!.dims, 0, wrt[i]!.dtype));
}

/** What `outputs`, weighted by `seeds`, change with each of `wrt`; undefined where they do not. */
export function backward(outputs: readonly Value[], seeds: readonly (Value | undefined)[], wrt: readonly Value[]): readonly (Value | undefined)[] {
  const stops = new Set(wrt);
  const nodes = nodesBetween(outputs, stops);
  const moving = new Set<Value>(wrt);
  for (const node of nodes) if (node.operands.some((v) => v && moving.has(v))) for (const v of node.outputs) moving.add(v);
  const grads = new Map<Value, Value>();
  const receive = (v: Value | undefined, by: Value | undefined) => {
    if (!v || !by || !moving.has(v)) return;
    const before = grads.get(v);
    grads.set(v, before ? add(before, by) : by);
  };
  outputs.forEach((v, i) => receive(v, seeds[i]));
  for (const node of nodes.reverse()) {
    const given = node.outputs.map((v) => (stops.has(v) ? undefined : grads.get(v)));
    if (given.every((v) => v === undefined) || !node.operands.some((v) => v && moving.has(v))) continue;
    const g = node.graph.root;
    const results = g.at(node.scope, () => pull(node, given, moving));
    node.operands.forEach((v, i) => receive(v, results[i]));
  }
  return wrt.map((v) => grads.get(v));
}

function pull(node: Node, given: readonly (Value | undefined)[], moving: ReadonlySet<Value>): readonly (Value | undefined)[] {
  const { op, operands, attrs } = node;
  if (typeof op.vjp === 'function') return op.vjp(node, given);
  if (op.vjp === 'nonDifferentiable') {
    if (subgraphsOf(node).length === 0 && node.outputs.every((v) => !isFloat(v.dtype))) return [];
    throw new ConfigError({ path: node.scope || op.key, problem: `${op.key} has no derivative`, hint: 'Take the gradient of something that does not pass through it' });
  }
  if (!op.decompose) throw internal(`${op.key} has neither vjp nor decompose`);
  const inputs = operands.filter((v): v is Value => v !== undefined && moving.has(v));
  const parts = backward(op.decompose(operands, attrs), given, inputs);
  // An operand that stands in two places gets all of its gradient in the first.
  return operands.map((v, i) => (v && operands.indexOf(v) === i ? parts[inputs.indexOf(v)] : undefined));
}

// In the order in which they were made, from what `stops` give to the outputs.
function nodesBetween(outputs: readonly Value[], stops: ReadonlySet<Value>): Node[] {
  const found = new Set<Node>();
  const stack = outputs.filter((v) => !stops.has(v)).flatMap((v) => v.producer ?? []);
  for (let node = stack.pop(); node; node = stack.pop()) {
    if (found.has(node)) continue;
    found.add(node);
    for (const v of node.operands) if (v?.producer && !stops.has(v) && !found.has(v.producer)) stack.push(v.producer);
  }
  return [...found].sort((a, b) => a.outputs[0]!.id - b.outputs[0]!.id);
}
