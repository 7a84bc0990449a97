// From a plain config to a module: defaults, inheritance and checks, all with a path.
import type { AnyBlock, BuildContext } from '../block/block-definition';
import { ConfigError, describe, nearest, ShapeError } from '../error';
import { type AnyModule, isModule, module } from '../module/module';
import { underMasks } from '../sequence/under-masks';
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
  for (const key of Object.keys(given))
    if (key !== 'name' && !Object.hasOwn(fields, key)) throw unknownField(label, key, fields, place);
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
    const chosen = given[name] ?? f.default;
    if (chosen === undefined) {
      if (!f.optional) throw emptySlot(f, path);
      built[name] = json[name] = undefined;
      continue;
    }
    const filled = f.fill!(chosen, there, (layer) => f.pattern?.(built, layer));
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
  const { name, properties = [] } = definition;
  const declared = typeof properties === 'function' ? properties(about.config as never) : properties;
  const batchIndependent = declared.includes('batchIndependent');
  return module(children, underMasks({ name, masks, batchIndependent, forward }), about);
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
    const hint = f.inherit ? `Set ${name} here or in an enclosing block (${f.doc})` : `Set ${name} (${f.doc})`;
    throw new ConfigError({ path, problem: 'missing', expected: f.expected, got: 'nothing', hint });
  }
  if (!accepts(f, value))
    throw new ConfigError({
      path,
      problem: f.type === 'num' && Number.isFinite(value) && !isFloat32(value) ? 'out of the range of float32' : 'wrong value',
      expected: f.expected,
      got: describe(value),
      hint: `This option: ${f.doc}`,
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

const emptySlot = ({ expected, doc }: Field, path: string): ConfigError =>
  new ConfigError({ path, problem: 'missing', expected, got: 'nothing', hint: `Set it to a name or a config (${doc})` });

function unknownField(label: string, key: string, fields: Readonly<Record<string, Field>>, place: BuildContext): ConfigError {
  const names = Object.keys(fields);
  const called = place.fieldCalled?.(key);
  const near = called !== undefined && names.includes(called) ? called : nearest(key, names);
  const advice = near ? `Did you mean "${near}"? ` : called ? `Here it is called "${called}", a field of other blocks. ` : '';
  return new ConfigError({
    path: label,
    problem: `unknown field "${key}"`,
    got: describe(key),
    hint: `${advice}Fields: ${names.join(', ') || 'none'}`,
  });
}
