// Reverse differentiation of a few nodes, for checking the gradients of ops one at a time.
import type { Node, Value } from '../graph';
import { add } from '../ops/elementwise';

/**
 * The gradients of values with respect to some of the values they were computed from, given the gradients of the former. Undefined
 * where nothing differentiable leads from one to the other. An op without `vjp` is taken apart by its definition.
 */
export function backpropagate(
  outputs: readonly Value[],
  grads: readonly (Value | undefined)[],
  wrt: readonly Value[],
): readonly (Value | undefined)[] {
  const total = new Map<Value, Value>();
  const accumulate = (value: Value | undefined, grad: Value | undefined) => {
    if (!value || !grad) return;
    const before = total.get(value);
    total.set(value, before ? add(before, grad) : grad);
  };
  outputs.forEach((value, i) => {
    accumulate(value, grads[i]);
  });
  for (const node of nodesBetween(outputs, wrt)) {
    const arriving = node.outputs.map((v) => total.get(v));
    if (arriving.every((g) => g === undefined)) continue;
    gradientsOf(node, arriving).forEach((g, i) => {
      accumulate(node.operands[i], g);
    });
  }
  return wrt.map((v) => total.get(v));
}

function gradientsOf(node: Node, grads: readonly (Value | undefined)[]): readonly (Value | undefined)[] {
  const { op, operands, attrs } = node;
  if (op.vjp === 'nonDifferentiable') return [];
  if (op.vjp) return op.vjp(node, grads);
  if (!op.decompose) throw new Error(`${op.key} has neither vjp nor decompose`);
  const sources = [...new Set(operands.filter((v) => v !== undefined))];
  const found = backpropagate(op.decompose(operands, attrs), grads, sources);
  // An operand that stands in two places gets its gradient once.
  return operands.map((v, i) => (v && operands.indexOf(v) === i ? found[sources.indexOf(v)] : undefined));
}

/** The nodes that lead to the outputs, last first; the search stops at `wrt`. */
function nodesBetween(outputs: readonly Value[], wrt: readonly Value[]): readonly Node[] {
  const found = new Map<Node, number>();
  const stack = [...outputs];
  for (let value = stack.pop(); value; value = stack.pop()) {
    const node = wrt.includes(value) ? undefined : value.producer;
    if (!node || found.has(node)) continue;
    found.set(node, node.outputs[0]!.id);
    for (const v of node.operands) if (v) stack.push(v);
  }
  return [...found].sort(([, a], [, b]) => b - a).map(([node]) => node);
}
