// Lowering, from ops without a kernel to ops that the target runs: rules, the target's table, definitions as the last resort.

import { checkArguments } from '../arguments';
import { addDims, type Dim } from '../dim/dim';
import { internal, LoweringError } from '../error';
import type { Assumption } from '../ir/assumption';
import { domainOf, type Op, printType } from '../ir/define-op';
import { apply, type Graph, type Node, type Rival, subgraphsOf, type Value } from '../ir/graph';
import { cast } from '../ops/cast';
import { isFloat } from '../tensor/tensor';
import { sizesLeadingTo } from './branches';
import { type Candidate, choose, lost } from './candidates';
import { withConstants } from './constants';
import type { Decision } from './decision';
import { dtypeOf } from './dtype-of';
import { banKey, decisionKey, fitKey, sameAttrs } from './keys';
import { withoutElements } from './no-elements';
import { withoutEmpty } from './non-empty';
import type { Reason } from './reason';
import { reasons } from './reasons';
import { Cycle, type Found, nameOf, rewrite } from './rewrite';
import { type Match, type MatchContext, outcomesOf, type Refusal, type Rule, refuse } from './rule';
import { scratch, standIn, standInMoved } from './scratch';
import { accepts, fitsKernel, kernelOf, type Machine, rowOf, type Target } from './target';
import { nodesWithin, usesIn } from './uses';

/** Options of {@link lower}. */
export interface LowerOptions {
  readonly machine?: Machine;
  /** Rules that are tried at every node, besides the node's own rules. */
  readonly rules?: readonly Rule[];
  /** The assumptions of the caller; rules query them by name. */
  readonly assumptions?: readonly Assumption[];
}

/** What {@link lower} returns. */
export interface Lowered {
  readonly graph: Graph;
  readonly decisions: readonly Decision[];
}

/**
 * Rewrites a graph until the target runs every node of it.
 *
 * Throws   LoweringError naming op, dtype, target and path for a node that the target does not run and that cannot be decomposed into nodes that it runs
 */
export function lower(graph: Graph, target: Target, options: LowerOptions = {}): Lowered {
  checkArguments('lower', { graph, target });
  const lowering = new Lowering(target, options.machine ?? {}, options.rules ?? [], new Set(options.assumptions));
  const lowered = lowering.nonEmpty(lowering.run(graph));
  return { graph: withConstants(lowered, nodesWithin(lowered)), decisions: [...lowering.decisions.values()] };
}

class Lowering {
  readonly decisions = new Map<string, Decision>();
  private where: ReadonlyMap<Node, string> = new Map();
  private readonly banned = new Set<string>();
  private readonly fitting = new Map<string, true | Reason>();
  /** What fits by its ops alone: an op that is too large by its definition may become a kernel that never makes the tensor. */
  private readonly anySize: Target;

  constructor(
    private readonly target: Target,
    private readonly machine: Machine,
    private readonly everywhere: readonly Rule[],
    private readonly assumptions: ReadonlySet<Assumption>,
  ) {
    const { mostElements: _, ...anySize } = target;
    this.anySize = anySize;
  }

  run(graph: Graph): Graph {
    for (let round = 0; round < 200; round++) {
      const nodes = nodesWithin(graph);
      this.where = sizesLeadingTo(graph);
      const around = usesIn(graph, nodes);
      const empty = withoutElements(nodes, around);
      if (empty.length) {
        graph = rewrite(graph, taking(empty));
        for (const { node } of empty) this.record(node, 'empty', []);
        continue;
      }
      const early = this.candidates(nodes, around, true);
      const candidates = early.length ? early : this.candidates(nodes, around, false);
      const chosen = choose(candidates);
      const found = chosen.length ? chosen : nodes.flatMap((node) => this.fallback(node));
      if (!found.length) return graph;
      try {
        graph = rewrite(graph, taking(found));
        const winners = new Map(chosen.flatMap((c) => c.match.covers.map((v) => [v, c] as const)));
        for (const c of candidates) {
          const winner = winners.get(c.match.covers.find((v) => winners.has(v))!)!;
          if (winner !== c) this.refuse(c.node, c.rule, refuse(lost(c, winner), c.match.variant));
        }
        for (const c of chosen) if (!c.match.unlisted) this.record(c.node, c.rule, c.kernels, c.match);
      } catch (error) {
        if (!(error instanceof Cycle) || !chosen.includes(error.found as Candidate)) throw error;
        const { node, rule, match } = error.found;
        this.banned.add(banKey(error.found));
        this.refuse(node, rule, refuse(reasons.ownResult(), match.variant));
      }
    }
    throw internal('lowering did not come to an end; two rules undo each other');
  }

  /** Keeps sizes of 0 from kernels that do not support them. */
  nonEmpty(lowered: Graph): Graph {
    const { graph, guarded } = withoutEmpty(lowered, nodesWithin(lowered), this.target);
    for (const { node, note } of guarded)
      for (const [key, decision] of this.decisions)
        if (decision.path === node.scope && decision.kernels.includes(node.op.key))
          this.decisions.set(key, { ...decision, notes: [...decision.notes, note] });
    return guarded.length ? this.run(graph) : graph;
  }

  private candidates(nodes: readonly Node[], around: Pick<MatchContext, 'uses'>, early: boolean): Candidate[] {
    const found: Candidate[] = [];
    const context: MatchContext = {
      ...around,
      assumes: (assumption) => this.assumptions.has(assumption),
      cheapest(node, fits = () => true) {
        const own = found.filter((c) => c.node === node).map((c) => ({ ...c, name: nameOf(c.rule, c.match.variant) }));
        return own.reduce<Rival | undefined>((a, b) => (fits(b) && !(a && a.cost <= b.cost) ? b : a), undefined);
      },
      waitsInLoops: this.target.waitsInLoops ?? false,
      biasTakesPass: this.target.biasTakesPass ?? false,
      headMultiple: this.target.headMultiple ?? 1,
      takesLengths: this.target.takesLengths?.(this.machine) ?? true,
      freesViews: this.target.freesViews ?? false,
    };
    for (const node of nodes)
      for (const rule of this.rulesOf(node)) {
        if ((rule.early ?? false) !== early || (rule.remedy && !this.helps(rule, node))) continue;
        outcomesOf(rule.match(node, context)).forEach((outcome, way) => {
          if ('refused' in outcome) return this.refuse(node, rule.name, outcome);
          const candidate = { rule: rule.name, node, match: outcome };
          if (this.banned.has(banKey(candidate))) return;
          const tried = this.tryOut(node, rule, outcome);
          if ('refused' in tried) this.refuse(node, rule.name, tried);
          else found.push({ ...tried, ...candidate, way });
        });
      }
    return found;
  }

  private helps({ remedy }: Rule, node: Node): boolean {
    const fit = accepts(this.target, this.machine, node);
    return fit !== true && remedy!(fit);
  }

  // Refused for a fusion, which a remedy prevents at almost no cost. Other remedies compute more, so a rule that needs one is refused.
  private remediable({ op }: Node, refused: Reason): boolean {
    const helps = (rule: Rule): boolean => rule.op === op.key && rule.remedy?.(refused) === true;
    return reasons.takenByFusion.is(refused) && this.everywhere.some(helps);
  }

  // The rules of the node's own block, and those that are tried at every node.
  private rulesOf(node: Node): readonly Rule[] {
    const fits = ({ op }: Rule): boolean => op === node.op.key;
    const rules = [...new Set([...node.rules.filter(fits), ...this.everywhere.filter(fits)])];
    return [...rules.filter(({ compares }) => !compares), ...rules.filter(({ compares }) => compares)];
  }

  // Emits a match into a scratch graph, to find out whether the target runs its nodes and at what cost.
  private tryOut(node: Node, rule: Rule, match: Match): Pick<Candidate, 'cost' | 'workspace' | 'kernels'> | Refusal {
    const { g, stand } = scratch(node);
    const outputs = g.at(node.scope, () => match.emit((old) => standInMoved(g, stand, old)));
    outputs.forEach((v, i) => g.output(String(i), v));
    let cost = match.cost ?? 0;
    let workspace: Dim = 0;
    const kernels: string[] = [];
    const { nodes } = g.finish();
    for (const n of nodes) {
      const fit = this.stands(n);
      if (fit !== true) return refuse(fit, match.variant);
      const kernel = kernelOf(this.target, n);
      workspace = addDims(workspace, kernel?.workspace?.(n, this.machine) ?? 0);
      const own = kernel?.cost?.(n, this.machine);
      if (own !== undefined) cost += own + (accepts(this.target, this.machine, n) === true ? 0 : promotion);
      kernels.push(n.op.key);
    }
    // A result that the rule does not know of: some nodes return more than others of their op.
    if (outputs.length < match.covers.length) return refuse(missing(node), match.variant);
    if (nodes.length === 1 && nodes[0]!.op.key === node.op.key && sameAttrs(nodes[0]!, node))
      throw internal(`${rule.name} makes the node it matched`);
    const kept =
      accepts(this.target, this.machine, node) === true ? kernelOf(this.target, node)?.cost?.(node, this.machine) : undefined;
    if (kept !== undefined && match.covers.length === node.outputs.length && cost > kept)
      return refuse(reasons.keptIsCheaper({ op: node.op.key }), match.variant);
    return { cost, workspace, kernels };
  }

  // The target must have the kernels that a rule emits: only high-level ops may be replaced by their definitions. Otherwise a missing
  // kernel would be replaced by the op that the rule had replaced.
  private stands(node: Node): true | Reason {
    if (domainOf(node.op.key)[0] === 'onnxformers') return this.fits(node);
    const direct = accepts(this.target, this.machine, node);
    return direct === true || this.remediable(node, direct) || this.promotable(node) ? true : direct;
  }

  // Accepted as it is, or defined by nodes that fit.
  private fits(node: Node): true | Reason {
    const direct = accepts(this.anySize, this.machine, node);
    if (direct === true || this.remediable(node, direct)) return true;
    if (!node.op.decompose || subgraphsOf(node).length) return this.promotable(node) ? true : direct;
    const key = fitKey(node);
    const known = this.fitting.get(key);
    if (known !== undefined) return known;
    this.fitting.set(key, direct); // a recursive definition does not fit
    const { g, stand } = scratch(node);
    node.op
      .decompose(
        node.operands.map((v) => v && standIn(g, stand, v)),
        node.attrs,
        g.ops,
      )
      .forEach((v, i) => g.output(String(i), v));
    let fit: true | Reason = true;
    for (const n of g.finish().nodes) {
      const part = this.fits(n);
      if (part !== true) fit = part;
    }
    if (fit !== true && this.promotable(node)) fit = true;
    this.fitting.set(key, fit);
    return fit;
  }

  // A kernel that lacks the dtype but has float32: computed in float32, between casts.
  private promotable(node: Node): boolean {
    const dtype = dtypeOf(node);
    if ((dtype !== 'float16' && dtype !== 'bfloat16') || node.op.key === 'Cast') return false;
    const kernel = kernelOf(this.target, node);
    if (!kernel || kernel.dtypes.includes(dtype) || !kernel.dtypes.includes('float32') || node.op.writes) return false;
    return fitsKernel(kernel, this.machine, node) === true;
  }

  private fallback(node: Node): Found[] {
    const direct = accepts(this.target, this.machine, node);
    if (direct === true) {
      this.record(node, 'kept', [node.op.key]);
      return [];
    }
    const { op } = node;
    // A kernel's definition is for the interpreter; used here, it would restore the op that the kernel replaced.
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
                node.graph.ops,
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
      problem: `${op.key} of ${dtype} cannot run on ${this.target.name}: ${direct.text}`,
      ...this.expectedOf(op),
      got: `operands ${node.operands.map(printType).join(', ')}`,
      hint: `Choose another target or dtype, or define ${op.key} in terms of ops that ${this.target.name} has${this.refusedAround(node)}`,
    });
  }

  private expectedOf(op: Op): { readonly expected?: string } {
    const dtypes = rowOf(this.target, op)?.dtypes;
    return dtypes?.length ? { expected: `one of ${dtypes.join(', ')}` } : {};
  }

  // Refusals of kernels at this node, or at nodes that read it.
  private refusedAround({ scope }: Node): string {
    const near = [...this.decisions.values()].filter((d) => d.path === scope || d.path.startsWith(`${scope}.`));
    const refused = near.flatMap((d) => d.refused.map(({ rule, variant, reason }) => `${nameOf(rule, variant)}: ${reason.text}`));
    return refused.length ? `. Refused there: ${[...new Set(refused)].join('; ')}` : '';
  }

  private keyOf(node: Node): string {
    return decisionKey(node, this.where.get(node));
  }
  private record(node: Node, chosen: string, kernels: readonly string[], { variant, notes = [] }: Partial<Match> = {}): void {
    const before = this.decisions.get(this.keyOf(node));
    if (chosen === 'kept' && (before ? before.chosen !== '' : true)) return;
    const early = this.everywhere.find((rule) => rule.early && rule.name === before?.chosen);
    const own = node.op.notes?.(node) ?? [];
    const earlier = early && early.name !== chosen ? before!.notes.filter((n) => !own.some((o) => o.text === n.text)) : [];
    this.decide(node, {
      chosen,
      kernels,
      notes: [...earlier, ...own, ...notes],
      ...(variant && { variant }),
    });
  }
  private refuse(node: Node, rule: string, { refused: reason, variant }: Refusal): void {
    const before = this.decisions.get(this.keyOf(node))?.refused ?? [];
    if (before.some((r) => r.rule === rule && r.variant === variant && r.reason.text === reason.text)) return;
    this.decide(node, { refused: [...before, { rule, ...(variant && { variant }), reason }] });
  }
  private decide(node: Node, change: Partial<Decision>): void {
    const key = this.keyOf(node);
    const where = this.where.get(node);
    const undecided = {
      path: node.scope,
      ...(where !== undefined && { where }),
      op: node.op.key,
      chosen: '',
      kernels: [],
      notes: [],
      refused: [],
    };
    this.decisions.set(key, { ...(this.decisions.get(key) ?? undecided), ...change });
  }
}

const taking = (found: readonly Found[]): ReadonlyMap<Value, Found> =>
  new Map(found.flatMap((f) => f.match.covers.map((v) => [v, f] as const)));

const missing = ({ op, outputs }: Node): Reason => {
  const last = outputs.length - 1;
  return reasons.lacksResult({ result: op.results?.[last] ?? `result ${last}`, type: printType(outputs[last]) });
};

// Ops of domains other than the standard's and ours exist only as kernels.
const isKernel = (key: string): boolean => !['', 'onnxformers'].includes(domainOf(key)[0]);

function inFloat32(node: Node, get: (old: Value) => Value): readonly Value[] {
  const wide = node.operands.map((v) => v && (isFloat(v.dtype) ? cast(get(v), 'float32') : get(v)));
  const attrs = 'to' in node.attrs ? { ...node.attrs, to: 'float32' } : node.attrs;
  return apply(node.op, wide, attrs).map((v, i) => cast(v, node.outputs[i]!.dtype));
}

/** The cost of a kernel that runs in float32 between casts, on the scale of targets: more than anything that stays in 16 bits and avoids scores of all pairs. */
const promotion = 16;
