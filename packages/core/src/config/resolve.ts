// From a plain config to a module: defaults, inheritance, checks, slots, all with a path.
import type { AnyBlock, BuildContext } from '../block/block-definition';
import { ConfigError, describe, nearest, ShapeError } from '../error';
import { type AnyModule, isModule, module } from '../module/module';
import { checkMasks } from '../sequence/check-masks';
import type { SequenceContext } from '../sequence/context';
import { accepts, type Field, isFloat32 } from './fields';

type Values = Record<string, unknown>;

/**
 * Builds a module from a block and a config.
 *
 * Throws   ConfigError for an unknown field (with the nearest name), a wrong or missing value, an unknown block, a module of another kind
 */
export function build(block: AnyBlock, config: unknown, place: BuildContext): AnyModule {
  const { definition, fields } = block;
  const label = place.path === definition.name ? definition.name : `${place.path} (${definition.name})`;
  if (typeof config !== 'object' || config === null || Array.isArray(config))
    throw new ConfigError({ path: label, problem: 'not a config', expected: 'an object', got: describe(config) });
  const given = config as Values;
  for (const key of Object.keys(given)) if (key !== 'name' && !Object.hasOwn(fields, key)) throw unknownField(label, key, fields);
  const values: Values = {};
  for (const [name, f] of Object.entries(fields)) if (!f.kind) values[name] = valueIn(f, name, given, values, label, place);
  // An option that is not set does not hide the value of an outer block.
  const inside = { ...place.enclosing, ...Object.fromEntries(Object.entries(values).filter(([, v]) => v !== undefined)) };
  const json: Values = { name: definition.name, ...values };
  const built: Values = { ...values };
  const checks: (() => void)[] = [];
  for (const [name, f] of Object.entries(fields)) {
    if (!f.kind) continue;
    const path = `${place.path}.${name}`;
    const there = (layer: number): BuildContext => ({ ...place, path, enclosing: { ...inside, ...f.inside?.(built, layer) } });
    const filled = f.type === 'each' ? fillEach(f, given[name], there) : fillOne(f, given[name], there(0));
    built[name] = filled.value;
    if (filled.check) checks.push(filled.check);
    Object.defineProperty(json, name, { get: filled.config, enumerable: true });
  }
  const made = created(() => definition.create(Object.freeze(built) as never, place), label, values);
  for (const check of checks) check();
  // `create` may return a plain function (no parameters) or a module; either way the result is one module that carries kind, name and config.
  const about = {
    ...(isModule(made) && made.about),
    kind: definition.kind,
    blockName: definition.name,
    config: Object.freeze(json),
    ...(definition.rules && { rules: definition.rules }),
    ...(definition.inputs && { inputs: definition.inputs }),
    ...(definition.kindDefinition && { kindDefinition: definition.kindDefinition }),
  };
  const children = isModule(made) ? made.children : {};
  const forward = isModule(made) ? made.forward : made;
  const masks = typeof definition.masks === 'function' ? definition.masks(about.config) : definition.masks;
  if (!masks || masks === 'all') return module(children, forward, about);
  // The context is the last argument of every contract that has one.
  return module(
    children,
    (...args: unknown[]) => {
      checkMasks(definition.name, masks, args.at(-1) as SequenceContext);
      return forward(...args);
    },
    about,
  );
}

// Only the block knows which fields the sizes of a parameter come from.
function created<T>(create: () => T, label: string, values: Values): T {
  try {
    return create();
  } catch (cause) {
    if (!(cause instanceof ShapeError) || cause.path !== 'parameter') throw cause;
    const { problem, expected, got } = cause;
    const large = Object.entries(values).filter(([, v]) => typeof v === 'number' && v > 1e6);
    throw new ConfigError(
      {
        path: label,
        problem: `a parameter has ${problem}`,
        ...(expected && { expected }),
        ...(got && { got }),
        hint: `Large fields: ${large.map(([name, v]) => `${name} ${v}`).join(', ')}`,
      },
      { cause },
    );
  }
}

function valueIn(f: Field, name: string, given: Values, above: Values, label: string, place: BuildContext): unknown {
  let value = given[name];
  if (value === undefined && f.inherit) value = place.enclosing?.[name];
  if (value === undefined && f.default !== undefined)
    value =
      typeof f.default === 'function' && f.type !== 'fn' ? derived(f.default as (c: Values) => unknown, above, label) : f.default;
  const path = `${label}.${name}`;
  if (value === undefined) {
    if (f.optional) return undefined;
    const hint = f.inherit ? `Give ${name} here or in an enclosing block (${f.doc})` : `Give ${name} (${f.doc})`;
    throw new ConfigError({ path, problem: 'missing', expected: f.expected, got: 'nothing', hint });
  }
  if (!accepts(f, value))
    throw new ConfigError({
      path,
      problem: f.type === 'num' && Number.isFinite(value) && !isFloat32(value) ? 'out of the range of float32' : 'wrong value',
      expected: f.expected,
      got: describe(value),
      hint: `It means: ${f.doc}`,
    });
  return Array.isArray(value) ? Object.freeze([...value]) : value;
}

// A default that cannot be computed knows its field, but not the path of the block.
function derived(make: (c: Values) => unknown, above: Values, label: string): unknown {
  try {
    return make(above);
  } catch (cause) {
    if (!(cause instanceof ConfigError)) throw cause;
    const { path, problem, expected, got, hint } = cause;
    const field = path.split('.').at(-1);
    throw new ConfigError(
      { path: `${label}.${field}`, problem, ...(expected && { expected }), ...(got && { got }), ...(hint && { hint }) },
      { cause },
    );
  }
}

interface Filled {
  readonly value: unknown;
  readonly config: () => unknown;
  /** Called when the block has been made. */
  readonly check?: () => void;
}

const emptySlot = (f: Field, { path }: BuildContext): ConfigError =>
  new ConfigError({
    path,
    problem: 'missing',
    expected: f.expected,
    got: 'nothing',
    hint: `Give it a name or a config (${f.doc})`,
  });

function fillOne(f: Field, given: unknown, place: BuildContext): Filled {
  const chosen = given ?? f.default;
  if (chosen === undefined) {
    if (f.optional) return { value: undefined, config: () => undefined };
    throw emptySlot(f, place);
  }
  const value = fill(f.kind!, chosen, place);
  return { value, config: () => toConfig(value, place.path) };
}

function fillEach(f: Field, given: unknown, placeOf: (layer: number) => BuildContext): Filled {
  const place = placeOf(0);
  const chosen = given ?? f.default;
  if (chosen === undefined) {
    if (f.optional) return { value: undefined, config: () => undefined };
    throw emptySlot(f, place);
  }
  const made: AnyModule[] = [];
  const value = (layer: number): AnyModule => {
    const path = `${place.path}[${layer}]`;
    let one: unknown = chosen;
    if (Array.isArray(chosen)) {
      if (layer >= chosen.length)
        throw new ConfigError({
          path,
          problem: `no config for layer ${layer}`,
          expected: `a list of at least ${layer + 1}`,
          got: `a list of ${chosen.length}`,
          hint: 'Give one config for all layers, or as many as there are layers (depth)',
        });
      one = chosen[layer];
    } else if (typeof chosen === 'function' && !isModule(chosen) && !('definition' in chosen))
      one = (chosen as (i: number) => unknown)(layer);
    else if (isModule(chosen) && layer > 0)
      throw new ConfigError({
        path,
        problem: 'one module was given for several layers',
        expected: 'a function of the layer index, or a list',
        got: describe(chosen),
        hint: 'Pass (layer) => module; return the same module to share its weights on purpose',
      });
    const module = fill(f.kind!, one, { ...placeOf(layer), path, layer });
    made[layer] = module;
    return module;
  };
  const config = () => {
    const all = made.map((m, i) => toConfig(m, `${place.path}[${i}]`));
    const texts = new Set(all.map((c) => JSON.stringify(c)));
    return texts.size === 1 && all.length > 0 ? all[0] : all;
  };
  // A layer that was never requested would be dropped silently. A block may also request it later, when it is called.
  const check = () => {
    if (!Array.isArray(chosen) || made.length === 0 || made.length >= chosen.length) return;
    throw new ConfigError({
      path: `${place.path}[${made.length}]`,
      problem: 'a config for a layer that does not exist',
      expected: `a list of ${made.length}`,
      got: `a list of ${chosen.length}`,
    });
  };
  return { value, config, check };
}

function fill(kind: string, given: unknown, place: BuildContext): AnyModule {
  const { path } = place;
  if (isModule(given)) {
    if (given.kind !== kind)
      throw new ConfigError({ path, problem: 'a module of another kind', expected: `a ${kind}`, got: describe(given) });
    return given;
  }
  if (typeof given === 'function' && 'definition' in given) return build(sameKind(given as AnyBlock, kind, path), {}, place);
  const config = typeof given === 'string' ? { name: given } : given;
  if (typeof config !== 'object' || config === null || typeof (config as { name?: unknown }).name !== 'string')
    throw new ConfigError({ path, problem: 'not a config', expected: `a ${kind} config with a name`, got: describe(given) });
  const { name } = config as { name: string };
  if (!place.find)
    throw new ConfigError({
      path,
      problem: `"${name}" cannot be looked up, because the block was called without a registry`,
      expected: `a ${kind} module`,
      got: describe(given),
      hint: `Build the config with a registry, or pass a module: ${name}({ … })`,
    });
  return build(sameKind(place.find(kind, name, path), kind, path), config, place);
}

function sameKind(block: AnyBlock, kind: string, path: string): AnyBlock {
  if (block.kind !== kind)
    throw new ConfigError({
      path,
      problem: 'a block of another kind',
      expected: `a ${kind}`,
      got: `the ${block.kind} "${block.blockName}"`,
    });
  return block;
}

function unknownField(label: string, key: string, fields: Readonly<Record<string, Field>>): ConfigError {
  const names = Object.keys(fields);
  const near = nearest(key, names);
  return new ConfigError({
    path: label,
    problem: `unknown field "${key}"`,
    got: describe(key),
    hint: `${near ? `Did you mean "${near}"? ` : ''}Fields: ${names.join(', ') || 'none'}`,
  });
}

/**
 * The plain config from which a module was built, defaults filled in.
 *
 * Throws   ConfigError for a module that was not built from a config, or whose config contains a function
 */
export function toConfig(m: unknown, path = ''): Readonly<Record<string, unknown>> {
  const where = path || (isModule(m) ? (m.about.blockName ?? 'module') : 'module');
  if (!isModule(m) || !m.about.config)
    throw new ConfigError({
      path: where,
      problem: 'this module was not made from a config, so it has none',
      got: describe(m),
      hint: 'Wrap it with defineBlock and register the block',
    });
  const plain: Values = {};
  for (const [key, value] of Object.entries(m.about.config)) {
    if (value === undefined) continue;
    if (typeof value === 'function')
      throw new ConfigError({
        path: `${where}.${key}`,
        problem: 'a function cannot be written as JSON',
        got: describe(value),
        hint: 'Define a block for it and use the name of that block',
      });
    plain[key] = value;
  }
  return plain;
}
