// Modules: forward functions that know the parameters and modules they use.

import { describe, internal, ShapeError } from '../error';
import { aFunction, aModule, given } from '../given';
import { type GraphBuilder, Value } from '../ir/graph';
import { Parameter } from '../parameter/parameter';
import type { About, AnyModule, Child, Children, Fn, Module } from './types';

export type { About, AnyModule, Child, Children, Fn, Module } from './types';

// The module whose forward function runs, by graph: its record contains the name under which another module is called.
const callers = new WeakMap<GraphBuilder, AnyModule[]>();

/**
 * Makes a module from a record of parameters and modules and a forward function. Calling it opens a scope named after its key in
 * the caller's record; a second call of the same module is numbered (`shared@2`), its parameters keep their names.
 *
 *     const up = module({ weight }, (x: Value) => linear(x, weight));
 */
export function module<F extends Fn>(children: Children, forward: F, about: About = {}): Module<F> {
  // The ops that a block emits are lowered by its own rules. A child that is not a block belongs to the enclosing block.
  const rules = about.rules ?? (about.blockName === undefined ? undefined : []);
  const self = ((...args: unknown[]) => {
    const graph = graphOf(args);
    if (!graph) throw notCalledOnValues(self.name, args);
    const stack = callers.get(graph) ?? [];
    callers.set(graph, stack);
    const caller = stack.at(-1);
    const name = caller && keysOf(caller).get(self as unknown as AnyModule);
    const run = () => {
      stack.push(self as unknown as AnyModule);
      try {
        const result = forward(...args);
        if (graph.taps.asksFor(graph.where)) tap(graph, result);
        return result;
      } finally {
        stack.pop();
      }
    };
    const within = rules ? () => graph.at(graph.where, run, { rules, history: [] }) : run;
    return name === undefined ? within() : graph.scope(graph.callName(name), within);
  }) as unknown as Module<F>;
  Object.defineProperties(self, {
    children: { value: Object.freeze({ ...children }) },
    name: { value: about.blockName ?? forward.name },
    forward: { value: forward },
    about: { value: Object.freeze(about) },
    ...(about.kind !== undefined && { kind: { value: about.kind } }),
    ...(about.blockName !== undefined && { blockName: { value: about.blockName } }),
  });
  return self;
}

/**
 * A module with the same parameters and names and another forward function, which can call the original: a loss, a training step, a generation.
 *
 * Example  const withLoss = withForward(block, (inputs: Record<string, Value>) => ({ loss }));
 */
export function withForward<F extends Fn>(m: AnyModule, forward: F): Module<F> {
  given('withForward', { module: m, forward }, { module: aModule, forward: aFunction });
  const { kind: _, kindDefinition: _definition, inputs: _inputs, blockName: _name, config: _config, ...about } = m.about;
  return module(m.children, forward, about);
}

function tap(graph: GraphBuilder, result: unknown): void {
  const value = Array.isArray(result) ? result[0] : rowsOf(result);
  if (value instanceof Value) graph.taps.keep(graph.where, value.graph === graph ? value : undefined);
}

const notCalledOnValues = (name: string, args: readonly unknown[]): ShapeError =>
  new ShapeError({
    path: name || 'module',
    problem: 'a module was called without a value of a graph',
    expected: 'values of a graph, in the forward function of another module',
    got: args.map(describe).join(', ') || 'no arguments',
    hint: 'To run it on tensors, compile it and pass the model to createRunner',
  });

// Embeddings and positions may return hidden states with their context.
const rowsOf = (result: unknown): unknown => (result as { hiddenStates?: unknown } | undefined)?.hiddenStates ?? result;

/** True for anything made by {@link module}. */
export const isModule = (x: unknown): x is AnyModule => typeof x === 'function' && 'children' in x;

/** The graph of the first value among the arguments of a forward function. */
export function graphOf(args: readonly unknown[]): GraphBuilder | undefined {
  for (const a of args) {
    if (a instanceof Value) return a.graph.root;
    if (a && typeof a === 'object' && !Array.isArray(a) && !(a instanceof Parameter))
      for (const v of Object.values(a)) if (v instanceof Value) return v.graph.root;
  }
  return undefined;
}

const keys = new WeakMap<AnyModule, ReadonlyMap<AnyModule, string>>();
function keysOf(owner: AnyModule): ReadonlyMap<AnyModule, string> {
  const known = keys.get(owner);
  if (known) return known;
  const found = new Map<AnyModule, string>();
  eachChild(owner.children, (path, child) => {
    if (isModule(child) && !found.has(child)) found.set(child, path);
  });
  for (const [key, called] of Object.entries(owner.about.calls ?? {})) found.set(called, key);
  keys.set(owner, found);
  return found;
}

// Calls f for the parameters and modules of a record, including lists and nested records, but not for the children of those modules.
function eachChild(
  record: Children | readonly Child[],
  f: (path: string, child: Parameter | AnyModule) => void,
  prefix = '',
): void {
  for (const [key, child] of Object.entries(record) as [string, Child][]) {
    if (child === undefined) continue;
    if (child instanceof Parameter || isModule(child)) f(prefix + key, child);
    else eachChild(child as Children, f, `${prefix}${key}.`);
  }
}

/** An entry of the tree of modules. */
export interface Placed<T> {
  readonly path: string;
  readonly item: T;
}

/** All modules below and including the root (path ''), each once, parents first. */
export function modulesOf(root: AnyModule): readonly Placed<AnyModule>[] {
  given('modulesOf', { module: root }, { module: aModule });
  const seen = new Set<AnyModule>();
  const found: Placed<AnyModule>[] = [];
  const visit = (path: string, item: AnyModule) => {
    if (seen.has(item)) return;
    seen.add(item);
    found.push({ path, item });
    eachChild(item.children, (key, child) => {
      if (isModule(child)) visit(path ? `${path}.${key}` : key, child);
    });
  };
  visit('', root);
  return found;
}

/** The parameters of a module by checkpoint name, in the order of the record; `aliases` are the other names of tied ones. */
export interface ParameterNames {
  readonly parameters: ReadonlyMap<string, Parameter>;
  readonly nameOf: ReadonlyMap<Parameter, string>;
  /** Alias → name. */
  readonly aliases: ReadonlyMap<string, string>;
  /** The module that owns each parameter, by the parameter's name. */
  readonly owners: ReadonlyMap<string, AnyModule>;
}

/** The product of the gains of the modules that contain each parameter, by name; only products that differ from 1. */
export function gainsOf(root: AnyModule): ReadonlyMap<string, number> {
  const { nameOf } = namesOf(root);
  const gains = new Map<string, number>();
  const visit = (path: string, item: AnyModule, outer: number) => {
    const gain = outer * (item.about.gain ?? 1);
    eachChild(item.children, (key, child) => {
      const name = path ? `${path}.${key}` : key;
      if (isModule(child)) visit(name, child, gain);
      else if (gain !== 1 && nameOf.get(child) === name) gains.set(name, gain);
    });
  };
  visit('', root, 1);
  return gains;
}

/** Walks the records: `layers.0.mixer.q_proj.weight` → Parameter. The first place of a tied weight is its name. */
export function namesOf(root: AnyModule): ParameterNames {
  given('namesOf', { module: root }, { module: aModule });
  const parameters = new Map<string, Parameter>();
  const nameOf = new Map<Parameter, string>();
  const aliases = new Map<string, string>();
  const owners = new Map<string, AnyModule>();
  const dropped = new Set(modulesOf(root).flatMap(({ item }) => [...(item.about.dropped ?? [])]));
  const visit = (path: string, item: AnyModule, above: readonly AnyModule[]) => {
    if (above.includes(item)) throw internal(`module ${path} contains itself`);
    eachChild(item.children, (key, child) => {
      const name = path ? `${path}.${key}` : key;
      if (isModule(child)) return visit(name, child, [...above, item]);
      if (dropped.has(child)) return;
      const first = nameOf.get(child);
      if (first !== undefined) aliases.set(name, first);
      else {
        parameters.set(name, child);
        nameOf.set(child, name);
        owners.set(name, item);
      }
    });
  };
  visit('', root, []);
  return { parameters, nameOf, aliases, owners };
}
