// Fields that are slots: a slot is filled with a module, a block, or a config and the block that it names.
import type { AnyBlock, BuildContext } from '../block/block-definition';
import { ConfigError, describe } from '../error';
import { type AnyModule, isModule } from '../module/module';
import type { Field, FilledSlot, PresenceOf } from './fields';
import { build } from './resolve';
import { toConfig } from './to-config';

/** `entryOf`: the entry of the list that a layer has, if the field has a `pattern`. */
type FillSlot = (
  given: unknown,
  placeOf: (layer: number) => BuildContext,
  entryOf?: (layer: number) => number | undefined,
) => FilledSlot;

/** The default of a slot: a block of the same package, or (in the assembled package) the name or config of a block. */
export type SlotDefault = string | { readonly name: string } | { readonly kind: string; readonly blockName: string };
interface SlotOptions {
  readonly doc: string;
  readonly default?: SlotDefault;
  readonly optional?: boolean;
  /** Values that blocks in the slot inherit instead of this block's own; computed from those and the modules of earlier slots. */
  // biome-ignore lint/suspicious/noExplicitAny: names the fields that it reads
  readonly inside?: (config: any, layer: number) => Readonly<Record<string, unknown>>;
}

/** A slot for one block of a kind. */
export function slot<const K extends string, const O extends SlotOptions>(kind: K, options: O): Field<unknown, PresenceOf<O>, K> {
  const fill: FillSlot = (given, placeOf) => one(kind, given, placeOf(0));
  return Object.freeze({ ...options, type: 'slot', kind, expected: `a ${kind}`, fill }) as unknown as Field<
    unknown,
    PresenceOf<O>,
    K
  >;
}
interface EachOptions extends SlotOptions {
  /** Which entry of a list of configs a layer has, by the values of other fields; undefined: the entry of its own index. */
  // biome-ignore lint/suspicious/noExplicitAny: names the fields that it reads
  readonly pattern?: (config: any, layer: number) => number | undefined;
}
/** A slot for one block per layer: one config for all layers, a list of configs, or a function of the layer index. Layers never share weights. */
export function each<const K extends string, const O extends EachOptions>(
  kind: K,
  options: O,
): Field<readonly unknown[], PresenceOf<O>, K> {
  const fill: FillSlot = (given, placeOf, entryOf) => many(kind, given, placeOf, entryOf);
  return Object.freeze({ ...options, type: 'each', kind, expected: `a ${kind} for each layer`, fill }) as unknown as Field<
    readonly unknown[],
    PresenceOf<O>,
    K
  >;
}

function one(kind: string, given: unknown, place: BuildContext): FilledSlot {
  const value = moduleFor(kind, given, place);
  return { value, config: () => toConfig(value, place.path) };
}

function many(
  kind: string,
  given: unknown,
  placeOf: (layer: number) => BuildContext,
  entryOf: (layer: number) => number | undefined = () => undefined,
): FilledSlot {
  const place = placeOf(0);
  const made: AnyModule[] = [];
  /** The first layer that has each entry of a list. */
  const firstOf: number[] = [];
  let repeats = false;
  const value = (layer: number): AnyModule => {
    const path = `${place.path}[${layer}]`;
    const pattern = entryOf(layer);
    const entry = pattern ?? layer;
    let chosen: unknown = given;
    if (Array.isArray(given)) {
      if (entry >= given.length)
        throw new ConfigError({
          path,
          problem: `no config for layer ${layer}`,
          expected: `a list of at least ${entry + 1}`,
          got: `a list of ${given.length}`,
          hint: 'Give one config for all layers, or as many as there are layers (depth) or entries of their pattern',
        });
      chosen = given[entry];
    } else if (pattern !== undefined)
      throw new ConfigError({
        path: place.path,
        problem: 'a pattern chooses from a list',
        expected: `a list of ${kind} configs`,
        got: describe(given),
      });
    else if (typeof given === 'function' && !isModule(given) && !('definition' in given))
      chosen = (given as (i: number) => unknown)(layer);
    if (isModule(chosen) && (chosen === given ? layer > 0 : (firstOf[entry] ?? layer) !== layer))
      throw new ConfigError({
        path,
        problem: 'one module was given for several layers',
        expected: 'a function of the layer index, or a list',
        got: describe(chosen),
        hint: 'Pass (layer) => module; return the same module to share its weights on purpose',
      });
    const module = moduleFor(kind, chosen, { ...placeOf(layer), path, layer });
    firstOf[entry] ??= layer;
    repeats ||= pattern !== undefined;
    made[layer] = module;
    return module;
  };
  const config = () => {
    const layers = repeats ? firstOf : made.map((_, layer) => layer);
    const all = layers.map((layer) => toConfig(made[layer]!, `${place.path}[${layer}]`));
    const texts = new Set(all.map((c) => JSON.stringify(c)));
    return !repeats && texts.size === 1 && all.length > 0 ? all[0] : all;
  };
  // A layer that was never requested would be dropped silently. A block may also request it later, when it is called.
  const check = () => {
    if (!Array.isArray(given) || made.length === 0) return;
    const unused = given.findIndex((_, entry) => firstOf[entry] === undefined);
    if (unused < 0) return;
    throw new ConfigError({
      path: `${place.path}[${unused}]`,
      problem: repeats ? 'a config that no layer has' : 'a config for a layer that does not exist',
      expected: repeats ? 'one that the pattern names' : `a list of ${made.length}`,
      got: `a list of ${given.length}`,
      hint: 'Remove it, or increase the number of layers (depth)',
    });
  };
  return { value, config, check };
}

function moduleFor(kind: string, given: unknown, place: BuildContext): AnyModule {
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
