// Reverse-mode differentiation: a walk over the nodes that calls each op's derivative.
import { checkArguments } from '../arguments';
import { ConfigError, internal, ShapeError } from '../error';
import { printType } from '../ir/define-op';
import { type Node, subgraphsOf, usedBy, Value } from '../ir/graph';
import { add } from '../ops/elementwise';
import { opaque } from '../ops/opaque';
import { fill } from '../ops/shape';
import type { Parameter } from '../parameter/parameter';
import { isFloat } from '../tensor/tensor';

/**
 * Gradients of a scalar, as values of the same graph. An op without a `vjp` is differentiated through its definition.
 *
 *     d loss / d wrt[i]
 *
 * Each gradient is total: that of `x` includes every path from `x` to the loss, whatever else is requested in the same call. Of `h = 3x` and the
 * loss `Σ h²`, `grad(loss, [h, x])` returns `2h` and `6h`. A Parameter is the tensor that is stored (or fed) under its name. Where
 * `reparametrize` computes another weight from it, `g.param(p)` is the weight that is used, and has a gradient of its own.
 *
 * Shapes   loss [] or one element → for each of `wrt` (parameters, inputs, intermediate values) a value of its dims; zeros where the loss
 *          does not depend on it
 * Dtypes   loss and wrt floats; each gradient has the dtype of its value
 * Throws   ShapeError when the loss is not a scalar, or one of `wrt` is not a float · ConfigError naming an op on the path that has no
 *          derivative, a parameter that `reparametrize` replaced, or a value that a simplification skipped (`transpose(transpose(x))` is `x`)
 * Source   Griewank & Walther 2008, Evaluating Derivatives
 * Lowers   everywhere: the lowered derivatives of the ops on the path
 * Example  const [dw, dx] = grad(loss, [weight, x]);
 */
export function grad(loss: Value, wrt: readonly (Value | Parameter)[]): readonly Value[] {
  checkArguments('grad', { loss, wrt });
  const g = loss.graph.root;
  if (loss.dims.some((d) => d !== 1) || !isFloat(loss.dtype))
    throw new ShapeError({
      path: g.where,
      problem: 'only a scalar has a gradient',
      expected: 'a float of one element',
      got: printType(loss),
    });
  const values = wrt.map((x) => (x instanceof Value ? x : storedOf(x, loss)));
  for (const v of values) checkAsked(v);
  const seed = fill(g, loss.dims, 1, loss.dtype);
  return walk([loss], [seed], values, 'total').map((v, i) => v ?? fill(g, values[i]!.dims, 0, values[i]!.dtype));
}

/**
 * Gradients of `outputs`, weighted by `seeds`, with respect to `wrt` (vector-Jacobian product); undefined where they do not depend
 * on it. The values of `wrt` are treated as independent variables, even where the graph computes one from another: the caller applies
 * the chain rule between them.
 *
 *     Σ seeds[i] · ∂outputs[i] / ∂wrt[j]
 *
 * Shapes   seeds like outputs, or undefined for zeros → like wrt
 * Throws   ConfigError naming an op on the path that has no derivative
 * Lowers   everywhere: the lowered derivatives of the ops on the path
 */
export const backward = (
  outputs: readonly Value[],
  seeds: readonly (Value | undefined)[],
  wrt: readonly Value[],
): readonly (Value | undefined)[] => {
  checkArguments('backward', { outputs, seeds, wrt });
  return walk(outputs, seeds, wrt, 'partial');
};

// ---- Requested values -----------------------------------------------------------------------------------------------

function storedOf(p: Parameter, { graph: { root } }: Value): Value {
  if (!root.overrides.get(p)?.replaces) return root.storedParam(p);
  throw new ConfigError({
    path: root.where || 'grad',
    problem: 'a parameter that reparametrize replaced is not in the graph',
    got: `a parameter [${p.dims.join(', ')}]`,
    hint: 'Ask for the gradients of the parameters that it is computed from, or of g.param(p), the weight that replaces it',
  });
}

function checkAsked(v: Value): void {
  const path = v.producer?.scope || v.graph.root.where || 'grad';
  if (!isFloat(v.dtype))
    throw new ShapeError({ path, problem: 'only floats have a gradient', expected: 'a float', got: printType(v) });
  if (!v.producer || !v.graph.root.bypassed.has(v)) return;
  throw new ConfigError({
    path,
    problem: `the gradient of this ${v.producer.op.key} is not known: the graph was simplified, and the result is computed from its operands instead`,
    got: printType(v),
    hint: 'Ask for the gradient of the values that it is computed from, and ask for all gradients in one call',
  });
}

// ---- The walk backwards ---------------------------------------------------------------------------------------------

function walk(
  outputs: readonly Value[],
  seeds: readonly (Value | undefined)[],
  wrt: readonly Value[],
  kind: 'total' | 'partial',
): readonly (Value | undefined)[] {
  const asked = new Set(wrt);
  const { steps, moving, defined } = expand(outputs, asked, kind);
  const grads = new Map<Value, Value>();
  const receive = (to: Value | undefined, by: Value | undefined) => {
    const v = to && defined(to);
    if (!v || !by || !moving.has(v)) return;
    const before = grads.get(v);
    grads.set(v, before ? add(before, by) : by);
  };
  outputs.forEach((v, i) => receive(v, seeds[i]));
  for (const step of steps.reverse()) {
    if ('definition' in step) {
      receive(step.definition, grads.get(step.of));
      continue;
    }
    const given = step.outputs.map((v) => (kind === 'partial' && asked.has(v) ? undefined : grads.get(v)));
    if (given.every((v) => v === undefined)) continue;
    const { op } = step;
    const wanted = op.vjpWith && [...new Set(usedBy(step))].filter((v) => isFloat(v.dtype) && moving.has(v));
    const pulled = () => (wanted ? op.vjpWith!(step, given, wanted, backward, step.graph.ops) : pull(step, given));
    const results = step.graph.root.at(step.scope, pulled, step);
    (wanted ?? step.operands).forEach((v, i) => {
      receive(v, results[i]);
    });
  }
  return wrt.map((v) => grads.get(v));
}

function pull(node: Node, given: readonly (Value | undefined)[]): readonly (Value | undefined)[] {
  const { op } = node;
  if (typeof op.vjp === 'function') return op.vjp(node, given, node.graph.ops);
  if (op.vjp !== 'nonDifferentiable') throw internal(`${op.key} has neither vjp nor decompose`);
  if (subgraphsOf(node).length === 0 && node.outputs.every((v) => !isFloat(v.dtype))) return [];
  throw new ConfigError({
    path: node.scope || op.key,
    problem: `${op.key} has no derivative`,
    hint: op.key === 'Loop' ? loopHint : 'Ask for a gradient that does not pass through it',
  });
}

const loopHint = 'Unroll the loop into a fixed number of calls, or ask for a gradient that does not pass through it';

// ---- Definitions in place of ops ------------------------------------------------------------------------------------

/** A requested value whose op is differentiated through its definition, and the value in the definition that corresponds to it. */
interface Defined {
  readonly of: Value;
  readonly definition: Value;
}

interface Expansion {
  /** Nodes with a `vjp` on the paths from the requested values to the outputs, in topological order. */
  readonly steps: (Node | Defined)[];
  /** Values that depend on a requested value. */
  readonly moving: ReadonlySet<Value>;
  /** The value that replaces one whose op is differentiated through its definition. */
  defined(v: Value): Value;
}

// Definitions are inlined, not differentiated one by one: their nodes may bypass their operands (the transpose of a
// transposed operand simplifies to the value before both), but not a requested value. Nor does a definition reuse a requested value because it
// computes an equal one.
function expand(outputs: readonly Value[], asked: ReadonlySet<Value>, kind: 'total' | 'partial'): Expansion {
  const nodes = new Set([...asked].flatMap(({ producer }) => (producer ? [producer] : [])));
  const moving = new Set<Value>(asked);
  const stand = new Map<Value, Value>();
  const defined = (v: Value): Value => {
    let last = v;
    for (let next = stand.get(last); next; next = stand.get(last)) last = next;
    return last;
  };
  const entered = new Set<Node>();
  const steps: (Node | Defined)[] = [];
  const stack: (Defined | { readonly node: Node; readonly leaving: boolean })[] = [];
  const enter = (v: Value | undefined) => {
    const end = kind === 'partial' && v && asked.has(v);
    if (v?.producer && !end && !entered.has(v.producer)) stack.push({ node: v.producer, leaving: false });
  };
  const leave = (node: Node) => {
    if (!usedBy(node).some((v) => moving.has(v))) return;
    for (const v of node.outputs) moving.add(v);
    const { op } = node;
    if (op.vjp || op.vjpWith || !op.decompose) {
      steps.push(node);
      return;
    }
    const operands = node.operands.map((v) => (v && asked.has(v) ? opaque(v) : v));
    const g = node.graph.root;
    const made = g.at(node.scope, () => g.apart(nodes, () => op.decompose!(operands, node.attrs, g.ops)), node);
    node.outputs.forEach((v, i) => {
      if (made[i] === v) return;
      g.defined.add(v);
      if (!asked.has(v)) stand.set(v, made[i]!);
      else if (kind === 'total') stack.push({ of: v, definition: made[i]! });
    });
    for (const v of made) enter(v);
  };
  for (const v of outputs) enter(v);
  for (let top = stack.pop(); top; top = stack.pop()) {
    if ('definition' in top) steps.push(top);
    else if (top.leaving) leave(top.node);
    else if (!entered.has(top.node)) {
      entered.add(top.node);
      stack.push({ node: top.node, leaving: true });
      for (const v of usedBy(top.node)) enter(v);
    }
  }
  return { steps, moving, defined };
}
