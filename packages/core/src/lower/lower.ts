// From meanings to what a target can run: matches of rules, the target's table, definitions as the last resort.
import { internal, LoweringError } from '../error';
import { domainOf, type Op, printType } from '../ir/define-op';
import { apply, builderLike, type Graph, type GraphBuilder, type Node, subgraphsOf, type Value } from '../ir/graph';
import { cast } from '../ops/cast';
import { isFloat } from '../tensor/tensor';
import { withConstants } from './constants';
import { Cycle, type Found, replay } from './rewrite';
import type { Match, MatchContext, Refusal, Rule } from './rule';
import { accepts, dtypeOf, kernelOf, type Machine, type Target } from './target';

/** What was decided for one node, and why nothing else. */
export interface Decision {
  readonly path: string;
  /** The meaning: `onnxformers.Attend`. */
  readonly op: string;
  /** The rule taken, `kept`, `decomposed`, or `float32` when the kernel lacks the dtype. */
  readonly chosen: string;
  /** The ops that stand there now. */
  readonly kernels: readonly string[];
  readonly refused: readonly { readonly rule: string; readonly reason: string }[];
}

/** Options of {@link lower}. */
export interface LowerOptions {
  readonly machine?: Machine;
  readonly rules?: readonly Rule[];
  /** What the caller assumptions about the data; rules ask for them by name. */
  readonly assumptions?: readonly string[];
}

/** What {@link lower} gives. */
export interface Lowered {
  readonly graph: Graph;
  readonly decisions: readonly Decision[];
}

/**
 * Rewrites a graph until the target runs every node of it.
 *
 * Throws   LoweringError naming op, dtype, target and path for a node that is neither accepted nor definable by accepted ones
 */
export function lower(graph: Graph, target: Target, options: LowerOptions = {}): Lowered {
  const lowering = new Lowering(target, options.machine ?? {}, options.rules ?? [], new Set(options.assumptions));
  const lowered = lowering.run(graph);
  return { graph: withConstants(lowered, nodesWithin(lowered)), decisions: [...lowering.decisions.values()] };
}

interface Candidate extends Found {
  readonly order: number;
  readonly covered: number;
  readonly absorbed: number;
  readonly cost: number;
  readonly kernels: readonly string[];
}

class Lowering {
  readonly decisions = new Map<string, Decision>();
  private readonly banned = new Set<string>();
  private readonly rulesByOp = new Map<string, { rule: Rule; order: number }[]>();
  private readonly fitting = new Map<string, true | string>();

  constructor(
    private readonly target: Target,
    private readonly machine: Machine,
    rules: readonly Rule[],
    private readonly assumptions: ReadonlySet<string>,
  ) {
    rules.forEach((rule, order) => {
      const list = this.rulesByOp.get(rule.op) ?? [];
      this.rulesByOp.set(rule.op, [...list, { rule, order }]);
    });
  }

  run(graph: Graph): Graph {
    for (let round = 0; round < 200; round++) {
      const nodes = nodesWithin(graph);
      const chosen = choose(this.candidates(graph, nodes));
      const found = chosen.length ? chosen : nodes.flatMap((node) => this.fallback(node));
      if (!found.length) return graph;
      try {
        graph = replay(graph, new Map(found.flatMap((f) => f.match.covers.map((v) => [v, f] as const))));
        for (const f of chosen) this.record(f.node, f.rule, f.kernels);
      } catch (error) {
        if (!(error instanceof Cycle) || !chosen.includes(error.found as Candidate)) throw error;
        this.banned.add(banKey(error.found.rule, error.found.node));
        this.refuse(error.found.node, error.found.rule, 'its operands depend on its own result');
      }
    }
    throw internal('lowering did not come to an end; two rules undo each other');
  }

  private candidates(graph: Graph, nodes: readonly Node[]): Candidate[] {
    const around = surroundings(graph, nodes, this.assumptions);
    const found: Candidate[] = [];
    for (const node of nodes)
      for (const { rule, order } of this.rulesByOp.get(node.op.key) ?? []) {
        if (this.banned.has(banKey(rule.name, node))) continue;
        if (rule.remedy && accepts(this.target, this.machine, node) === true) continue;
        const match = rule.match(node, around);
        if (!match) continue;
        const result = 'refused' in match ? match : this.tryOut(node, rule, match);
        if ('refused' in result) this.refuse(node, rule.name, result.refused);
        else found.push({ ...result, rule: rule.name, node, match: match as Match, order });
      }
    return found;
  }

  // Emits a match where nobody sees it, to learn whether the target runs what it makes and at what cost.
  private tryOut(node: Node, rule: Rule, match: Match): Pick<Candidate, 'covered' | 'absorbed' | 'cost' | 'kernels'> | Refusal {
    const { g, stand } = scratch(node);
    const outputs = g.at(node.scope, () => match.emit((old) => standIn(g, stand, old)));
    outputs.forEach((v, i) => g.output(String(i), v));
    let cost = match.cost ?? 0;
    const kernels: string[] = [];
    const { nodes } = g.finish();
    for (const n of nodes) {
      const fit = this.stands(n);
      if (fit !== true) return { refused: fit };
      cost += kernelOf(this.target, n.op)?.cost?.(n, this.machine) ?? 0;
      kernels.push(n.op.key);
    }
    if (nodes.length === 1 && nodes[0]!.op.key === node.op.key && sameAttrs(nodes[0]!, node))
      throw internal(`${rule.name} makes the node it matched`);
    const kept =
      accepts(this.target, this.machine, node) === true ? kernelOf(this.target, node.op)?.cost?.(node, this.machine) : undefined;
    if (kept !== undefined && match.covers.length === node.outputs.length && cost > kept)
      return { refused: `${node.op.key} itself is cheaper here` };
    return { covered: match.covers.length, absorbed: match.absorbs?.length ?? 0, cost, kernels };
  }

  // What a rule makes has to be there: only meanings may still be defined, or a kernel that is missing would come back as what it stood for.
  private stands(node: Node): true | string {
    if (domainOf(node.op.key)[0] === 'onnxformers') return this.fits(node);
    const direct = accepts(this.target, this.machine, node);
    return direct === true || this.promotable(node) ? true : direct;
  }

  // Accepted as it is, or definable by nodes that fit.
  private fits(node: Node): true | string {
    const direct = accepts(this.target, this.machine, node);
    if (direct === true || !node.op.decompose || subgraphsOf(node).length)
      return direct === true || this.promotable(node) ? true : direct;
    const key = fitKey(node);
    const known = this.fitting.get(key);
    if (known !== undefined) return known;
    this.fitting.set(key, direct); // a definition that needs itself does not fit
    const { g, stand } = scratch(node);
    node.op
      .decompose(
        node.operands.map((v) => v && standIn(g, stand, v)),
        node.attrs,
      )
      .forEach((v, i) => g.output(String(i), v));
    let fit: true | string = true;
    for (const n of g.finish().nodes) {
      const part = this.fits(n);
      if (part !== true) fit = part;
    }
    if (fit !== true && this.promotable(node)) fit = true;
    this.fitting.set(key, fit);
    return fit;
  }

  // A kernel that lacks the dtype but has float32: computed there, between casts.
  private promotable(node: Node): boolean {
    const dtype = dtypeOf(node);
    if ((dtype !== 'float16' && dtype !== 'bfloat16') || node.op.key === 'Cast') return false;
    const kernel = kernelOf(this.target, node.op);
    if (!kernel || kernel.dtypes.includes(dtype) || !kernel.dtypes.includes('float32') || node.op.writes) return false;
    return (kernel.accepts?.(node, this.machine) ?? true) === true;
  }

  private fallback(node: Node): Found[] {
    const direct = accepts(this.target, this.machine, node);
    if (direct === true) {
      this.record(node, 'kept', [node.op.key], true);
      return [];
    }
    const { op } = node;
    // A kernel's definition is for the interpreter; taken here it would come back as what the kernel stood for.
    const definable = op.decompose && !isKernel(op.key);
    if (definable && (this.fits(node) === true || !this.promotable(node))) {
      this.record(node, 'decomposed', []);
      return [
        {
          rule: `define ${op.key}`,
          node,
          match: {
            covers: node.outputs,
            emit: (get) =>
              op.decompose!(
                node.operands.map((v) => v && get(v)),
                node.attrs,
              ),
          },
        },
      ];
    }
    if (this.promotable(node)) {
      this.record(node, 'float32', [op.key]);
      return [{ rule: `float32 ${op.key}`, node, match: { covers: node.outputs, emit: (get) => inFloat32(node, get) } }];
    }
    const dtype = dtypeOf(node);
    throw new LoweringError({
      path: node.scope || 'graph',
      problem: `${op.key} of ${dtype} cannot run on ${this.target.name}: ${direct}`,
      ...this.expectedOf(op),
      got: `operands ${node.operands.map(printType).join(', ')}`,
      hint: `Choose another target or dtype, or give ${op.key} a definition by ops that ${this.target.name} has${this.refusedAround(node)}`,
    });
  }

  private expectedOf(op: Op): { readonly expected?: string } {
    const dtypes = kernelOf(this.target, op)?.dtypes;
    return dtypes?.length ? { expected: `one of ${dtypes.join(', ')}` } : {};
  }

  // A kernel that would have taken the node was refused at its place, or at what reads it there.
  private refusedAround({ scope }: Node): string {
    const near = [...this.decisions.values()].filter((d) => d.path === scope || d.path.startsWith(`${scope}.`));
    const reasons = near.flatMap((d) => d.refused.map((r) => `${r.rule}: ${r.reason}`));
    return reasons.length ? `. Refused there: ${[...new Set(reasons)].join('; ')}` : '';
  }

  private record(node: Node, chosen: string, kernels: readonly string[], quiet = false): void {
    const key = decisionKey(node);
    const before = this.decisions.get(key);
    if (quiet && !before?.refused.length) return;
    if (before && before.chosen !== '' && chosen === 'kept') return;
    this.decisions.set(key, { path: node.scope, op: node.op.key, chosen, kernels, refused: before?.refused ?? [] });
  }
  private refuse(node: Node, rule: string, reason: string): void {
    const key = decisionKey(node);
    const before = this.decisions.get(key) ?? { path: node.scope, op: node.op.key, chosen: '', kernels: [], refused: [] };
    if (before.refused.some((r) => r.rule === rule && r.reason === reason)) return;
    this.decisions.set(key, { ...before, refused: [...before.refused, { rule, reason }] });
  }
}

// Ops of other domains than the standard's and ours exist only as kernels.
const isKernel = (key: string): boolean => !['', 'onnxformers'].includes(domainOf(key)[0]);

// Of overlapping matches the one that covers most, then the cheapest, then the one that makes most superfluous, then the first in the list.
function choose(candidates: readonly Candidate[]): Candidate[] {
  const ordered = [...candidates].sort(
    (a, b) => b.covered - a.covered || a.cost - b.cost || b.absorbed - a.absorbed || a.order - b.order,
  );
  const taken = new Set<Value>();
  const chosen: Candidate[] = [];
  for (const c of ordered) {
    if (c.match.covers.some((v) => taken.has(v))) continue;
    for (const v of c.match.covers) taken.add(v);
    chosen.push(c);
  }
  return chosen;
}

function inFloat32(node: Node, get: (old: Value) => Value): readonly Value[] {
  const wide = node.operands.map((v) => v && (isFloat(v.dtype) ? cast(get(v), 'float32') : get(v)));
  const attrs = 'to' in node.attrs ? { ...node.attrs, to: 'float32' } : node.attrs;
  return apply(node.op, wide, attrs).map((v, i) => cast(v, node.outputs[i]!.dtype));
}

function nodesWithin(graph: Graph): Node[] {
  const found: Node[] = [];
  const visit = (g: Graph) => {
    for (const node of g.nodes) {
      for (const [, sub] of subgraphsOf(node)) visit(sub);
      found.push(node);
    }
  };
  visit(graph);
  return found;
}

function surroundings(graph: Graph, nodes: readonly Node[], assumptions: ReadonlySet<string>): MatchContext {
  const uses = new Map<Value, number>();
  const use = (v: Value | undefined) => v && uses.set(v, (uses.get(v) ?? 0) + 1);
  const outputs = (g: Graph) => {
    for (const { value } of g.outputs) use(value);
  };
  outputs(graph);
  for (const node of nodes) {
    for (const v of node.operands) use(v);
    for (const [, sub] of subgraphsOf(node)) outputs(sub);
  }
  return { uses: (v) => uses.get(v) ?? 0, assumes: (p) => assumptions.has(p) };
}

// A graph to try things out in; it has the inputs of the real one, where sizes are bound.
function scratch(node: Node): { g: GraphBuilder; stand: Map<Value, Value> } {
  const g = builderLike(node.graph);
  const stand = new Map<Value, Value>();
  for (const input of node.graph.root.inputs) standIn(g, stand, input);
  return { g, stand };
}

// A value of the same type in a scratch graph; constants and parameters stay what they are.
function standIn(g: GraphBuilder, stand: Map<Value, Value>, old: Value): Value {
  let v = stand.get(old);
  if (v) return v;
  if (old.leaf?.kind === 'constant') v = g.constant(old.leaf.tensor);
  else if (old.leaf?.kind === 'parameter') v = g.rawParam(old.leaf.parameter, old.dtype);
  else if (old.leaf?.kind === 'state') v = g.state(old.leaf.name, old.dtype, old.dims, old.leaf.fill);
  else v = g.input(`v${old.id}`, old.dtype, old.dims);
  stand.set(old, v);
  return v;
}

const banKey = (rule: string, node: Node): string =>
  `${rule} ${node.scope} ${node.op.key} ${node.outputs.map((v) => v.dims.join())}`;
const decisionKey = (node: Node): string => `${node.scope} ${node.op.key} ${node.operands.map(printType)}`;
const fitKey = (node: Node): string =>
  `${node.op.key} ${node.operands.map((v) => (v ? `${printType(v)}${v.leaf?.kind === 'constant' ? 'c' : ''}` : '-'))} ${JSON.stringify(node.attrs, plain)}`;
const plain = (_: string, x: unknown): unknown => (typeof x === 'bigint' ? `${x}n` : ArrayBuffer.isView(x) ? x.byteLength : x);
const sameAttrs = (a: Node, b: Node): boolean => JSON.stringify(a.attrs, plain) === JSON.stringify(b.attrs, plain);
