// A registry is a value: a list of blocks, whose type is the type of the configs it accepts.

import { kindSchema } from '../config/json-schema';
import { fieldCalled } from '../config/other-names';
import { build } from '../config/resolve';
import { toConfig } from '../config/to-config';
import { ConfigError, describe, nearest } from '../error';
import type { Kind } from '../module/kinds';
import { isBlock } from './block';
import type { AnyBlock, ConfigNamed, KindModule, NameIn, OutputsNamed } from './block-definition';

/** A list of blocks and what can be built from it. */
export interface Registry<B extends AnyBlock = AnyBlock> {
  readonly blocks: readonly B[];
  /**
   * Builds a module of a kind from a config.
   *
   * Throws   ConfigError with a path into the config
   */
  build<K extends Kind, N extends NameIn<B, K>>(
    kind: K,
    config: N | ({ readonly name: N } & ConfigNamed<B, K, N>),
  ): KindModule<K, OutputsNamed<B, K, N>>;
  /** The same for a config whose type is not known (from a file): checked completely while building. */
  parse<K extends Kind>(kind: K, config: unknown): KindModule<K>;
  /** The plain config of a module with defaults filled in; building it again returns an equal module. */
  toJSON(module: unknown): Readonly<Record<string, unknown>>;
  /** JSON Schema (draft 2020-12) of all configs of a kind. */
  jsonSchema(kind: Kind): Readonly<Record<string, unknown>>;
  /** The block of that kind and name. */
  find(kind: string, name: string, path?: string): AnyBlock;
  /** A registry with more blocks. */
  with<M extends readonly AnyBlock[]>(...more: M): Registry<B | M[number]>;
}

/**
 * Makes a registry of blocks.
 *
 *     const zoo = registry(...attention.blocks, ...feedforward.blocks, myBlock);
 *
 * Throws   ConfigError when two blocks of one kind share a name
 */
export function registry<const L extends readonly AnyBlock[]>(...blocks: L): Registry<L[number]> {
  const byKind = new Map<string, Map<string, AnyBlock>>();
  for (const block of blocks) {
    if (!isBlock(block))
      throw new ConfigError({
        path: 'registry',
        problem: 'not a block',
        expected: 'what defineBlock returns',
        got: describe(block),
      });
    const names = byKind.get(block.kind) ?? new Map<string, AnyBlock>();
    if (names.has(block.blockName))
      throw new ConfigError({
        path: 'registry',
        problem: `two ${block.kind} blocks are called "${block.blockName}"`,
        hint: 'Rename one of them',
      });
    byKind.set(block.kind, names.set(block.blockName, block));
  }
  const namesOf = (kind: string): ReadonlyMap<string, AnyBlock> => {
    const names = byKind.get(kind);
    if (names) return names;
    const near = nearest(String(kind), byKind.keys());
    const hint = `${near ? `Did you mean "${near}"? ` : ''}Kinds: ${[...byKind.keys()].join(', ') || 'none'}`;
    throw new ConfigError({ path: 'kind', problem: `no block of the kind "${kind}" is registered`, got: describe(kind), hint });
  };
  const find = (kind: string, name: string, path = kind): AnyBlock => {
    const names = namesOf(kind);
    const block = names.get(name);
    if (block) return block;
    const near = nearest(name, names.keys());
    const elsewhere = blocks.find((b) => b.blockName === name);
    const hint = near ? `Did you mean "${near}"? ` : elsewhere ? `"${name}" is a ${elsewhere.kind}. ` : '';
    throw new ConfigError({
      path: `${path}.name`,
      problem: `no ${kind} block is called "${name}"`,
      got: describe(name),
      hint: `${hint}Registered: ${[...names.keys()].join(', ') || 'none'}`,
    });
  };
  const parse = (kind: Kind, given: unknown): unknown => {
    namesOf(kind);
    const config = typeof given === 'string' ? { name: given } : given;
    const name = (config as { name?: unknown } | null | undefined)?.name;
    if (typeof config !== 'object' || config === null || typeof name !== 'string')
      throw new ConfigError({
        path: kind,
        problem: 'not a config',
        expected: `an object with the name of a ${kind}`,
        got: describe(given),
      });
    checkTree(config, name);
    return build(find(kind, name), config, { path: name, find, fieldCalled });
  };
  return Object.freeze({
    blocks,
    build: parse as Registry<L[number]>['build'],
    parse: parse as Registry<L[number]>['parse'],
    toJSON: (module: unknown) => JSON.parse(JSON.stringify(toConfig(module))),
    jsonSchema: (kind: Kind) => {
      namesOf(kind);
      return kindSchema(blocks, kind);
    },
    find,
    with: (...more: readonly AnyBlock[]) => registry(...blocks, ...more) as never,
  });
}

/** Limits of nesting and of the number of objects, far above those of any model. */
const deepest = 100;
const most = 100_000;

/** How deeply objects are nested, and how many there are; an object in two places counts twice. */
interface Extent {
  readonly depth: number;
  readonly count: number;
}

// One object in both slots of a block, a hundred times over, makes 2^100 blocks: each object is looked at once.
function checkTree(
  config: unknown,
  path: string,
  above: Set<unknown> = new Set(),
  known: Map<unknown, Extent> = new Map(),
): Extent {
  if (typeof config !== 'object' || config === null) return { depth: 0, count: 0 };
  const fail = (problem: string): never => {
    const shown = path.length > 100 ? `${path.slice(0, 100)}…` : path;
    throw new ConfigError({
      path: shown,
      problem,
      hint: 'A config is a tree; write the inner part as a separate object',
    });
  };
  if (above.has(config)) fail('the config contains itself');
  const before = known.get(config);
  if (above.size + (before?.depth ?? 0) > deepest) fail(`more than ${deepest} blocks inside each other`);
  if (before) return before;
  above.add(config);
  let [depth, count] = [1, 1];
  for (const [key, value] of Object.entries(config)) {
    const inner = checkTree(value, Array.isArray(config) ? `${path}[${key}]` : `${path}.${key}`, above, known);
    depth = Math.max(depth, inner.depth + 1);
    count += inner.count;
    if (count > most) fail(`the config describes more than ${most} blocks`);
  }
  above.delete(config);
  known.set(config, { depth, count });
  return { depth, count };
}
