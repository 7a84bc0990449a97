// Rebuilds a graph with some of its values replaced.

import { internal } from '../error';
import type { Attrs } from '../ir/define-op';
import { apply, builderLike, type Graph, type GraphBuilder, type Node, subgraphsOf, type Value } from '../ir/graph';
import type { Match } from './rule';

/** A rule, or one of its variants, by name. */
export const nameOf = (rule: string, variant: string | undefined): string => (variant ? `${rule} ${variant}` : rule);

/** A match together with the rule it came from and the node it was found at. */
export interface Found {
  readonly rule: string;
  readonly node: Node;
  readonly match: Match;
}

/** Two matches, or a match and a plain node, depend on each other. */
export class Cycle extends Error {
  constructor(readonly found: Found) {
    super(`internal: ${found.rule} at ${found.node.scope} needs its own result`);
  }
}

/**
 * The same graph in a new builder, with the covered values made by their matches.
 *
 * Throws   Cycle when a match is reached again while its operands are being computed
 */
export function rewrite(old: Graph, taken: ReadonlyMap<Value, Found>): Graph {
  const g = builderLike(old.builder);
  for (const [name, role] of old.builder.roles) g.roles.set(name, role);
  for (const [name, continuation] of old.builder.continuations) g.continuations.set(name, continuation);
  for (const limit of old.builder.limits) g.limit(limit);
  const made = new Map<Value, Value>();
  const underway = new Set<Found>();

  // The subgraph that is being rebuilt.
  let home: GraphBuilder = g.root;

  const get = (v: Value): Value => {
    const ready = made.get(v);
    if (ready) return ready;
    // Inside the branch it could not be read from outside.
    if (!v.leaf && g.innermost !== home) throw internal('a rule has to get its operands before it opens a branch or a loop');
    if (v.leaf) made.set(v, replayLeaf(g, v, get));
    else ensure(v);
    return made.get(v) ?? fail(v);
  };
  const ensure = (v: Value) => {
    const found = taken.get(v);
    if (found) ensureMatch(found);
    else if (v.producer) ensureNode(v.producer);
  };
  const ensureMatch = (found: Found) => {
    if (made.has(found.match.covers[0]!)) return;
    if (underway.has(found)) throw new Cycle(found);
    underway.add(found);
    const values = g.at(found.node.scope, () => found.match.emit(get), {
      rules: found.node.rules,
      history: [...found.node.history, nameOf(found.rule, found.match.variant)],
    });
    if (values.length !== found.match.covers.length)
      throw internal(`${found.rule} covers ${found.match.covers.length} values and made ${values.length}`);
    found.match.covers.forEach((v, i) => made.set(v, values[i]!));
    underway.delete(found);
  };
  const ensureNode = (node: Node) => {
    if (node.outputs.every((v) => taken.has(v) || made.has(v))) return;
    const operands = node.operands.map((v) => v && get(v));
    const attrs = replaySubgraphs(node);
    const outputs = g.at(node.scope, () => emitAgain(g, node, operands, attrs), node);
    node.outputs.forEach((v, i) => {
      if (!taken.has(v)) made.set(v, outputs[i]!);
      if (old.builder.defined.has(v)) g.defined.add(outputs[i]!);
    });
  };
  const replaySubgraphs = (node: Node): Attrs => {
    const subgraphs = subgraphsOf(node);
    if (!subgraphs.length) return node.attrs;
    const again = subgraphs.map(([name, sub]) => [name, g.at(node.scope, () => replaySubgraph(sub))] as const);
    return { ...node.attrs, ...Object.fromEntries(again) };
  };
  const replaySubgraph = (sub: Graph): Graph =>
    g.subgraph(sub.builder.kind as 'loop' | 'branch', sub.inputs, (...values) => {
      const outer = home;
      home = g.innermost;
      sub.inputs.forEach((v, i) => made.set(v, values[i]!));
      walk(sub.nodes);
      const results = sub.outputs.map(({ value }) => get(value));
      home = outer;
      return results;
    });
  const walk = (nodes: readonly Node[]) => {
    for (const node of nodes) {
      const covered = node.outputs.filter((v) => taken.has(v));
      for (const v of covered) ensure(v);
      if (covered.length < node.outputs.length) ensureNode(node);
    }
  };

  for (const input of old.inputs) {
    if (input.leaf?.kind === 'parameter') made.set(input, g.parameterInput(input.leaf.parameter, input.dtype));
    else get(input);
  }
  walk(old.nodes);
  for (const { name, value } of old.outputs) g.output(name, get(value));
  return g.finish();
}

const fail = (v: Value): never => {
  throw internal(`no value was made for ${v}`);
};

function replayLeaf(g: GraphBuilder, v: Value, get: (old: Value) => Value): Value {
  const leaf = v.leaf!;
  switch (leaf.kind) {
    case 'input':
      return g.input(leaf.name, v.dtype, v.dims, leaf.role);
    case 'parameter':
      return g.rawParam(leaf.parameter, v.dtype);
    case 'constant':
      return g.constant(leaf.tensor);
    case 'state':
      return g.state(leaf.name, v.dtype, v.dims, leaf.fill);
    case 'derived':
      return g.derivedInput(leaf.name, v, leaf.how, leaf.from.map(get), leaf.plus, leaf.pool);
    case 'draw':
      return g.drawInput(leaf.name, v.dims, leaf.of);
    case 'argument':
      throw internal('an argument of a subgraph was read before its subgraph was opened');
  }
}

function emitAgain(g: GraphBuilder, node: Node, operands: readonly (Value | undefined)[], attrs: Attrs): readonly Value[] {
  if (operands.some((v) => v !== undefined)) return apply(node.op, operands, attrs);
  return g.emit(node.op, operands, attrs, node.op.infer([], attrs));
}
