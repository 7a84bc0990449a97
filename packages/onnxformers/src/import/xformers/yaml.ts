// Configs of the original in YAML, as its examples write them for Hydra.
import { ConfigError, checkArguments, describe, nearest } from '@onnxformers/core';
import type { XFormersConfig } from './options';

/** Options of {@link readXFormersYaml}. */
export interface XFormersYamlOptions {
  /** The place of the config in the document, such as `xformer`; default: the whole document. */
  readonly at?: string;
  /** Values that replace those of the document, by their dotted path, as on Hydra's command line: `{ emb: 64 }`. */
  readonly overrides?: Readonly<Record<string, unknown>>;
}

type Mapping = { readonly [key: string]: unknown };

/** Classes that `_target_` may name, and the `block_type` of those that are blocks. */
const classes: Readonly<Record<string, string | undefined>> = {
  xFormerEncoderConfig: 'encoder',
  xFormerDecoderConfig: 'decoder',
  xFormerConfig: undefined,
  xFormer: undefined,
  'xFormer.from_config': undefined,
};

/**
 * Reads a config of the original xFormers from YAML, for {@link fromXFormers}. References (`${emb}`, `${model.dim}`, relative ones such as `${.dim}` and
 * `${..dim}`) are replaced by the values that they name. `_target_` may name the original's configs of encoders, decoders and models, and
 * becomes their `block_type`.
 *
 * A document stands alone: Hydra's composition of several files (`defaults`) and its resolvers (`${oc.env:HOME}`) are refused.
 *
 * Throws   ConfigError for text that is not YAML, a `defaults` list, a reference to nothing or to itself, a resolver, an unknown `_target_`, and a value that
 *          is left out (`???`)
 *
 * Example  const yaml = 'emb: 384\nblock: { _target_: xformers.factory.block_factory.xFormerEncoderConfig, dim_model: "${emb}" }';
 *            const config = await readXFormersYaml(yaml, { at: 'block' });
 */
export async function readXFormersYaml(text: string, { at, overrides = {} }: XFormersYamlOptions = {}): Promise<XFormersConfig> {
  checkArguments('readXFormersYaml', { text });
  const { parseDocument } = await import('yaml');
  const document = parseDocument(text);
  const [error] = document.errors;
  if (error) {
    const { line, col } = error.linePos?.[0] ?? { line: 1, col: 1 };
    throw new ConfigError({
      path: `yaml, line ${line}, column ${col}`,
      problem: error.message.split(/ at line |\n/)[0]!,
      got: 'this text',
    });
  }
  const root: unknown = document.toJS();
  if (!isMapping(root))
    throw new ConfigError({ path: 'yaml', problem: 'not a config', expected: 'a mapping', got: describe(root) });
  if ('defaults' in root)
    throw new ConfigError({
      path: 'yaml.defaults',
      problem: 'composes other files, which are not read here',
      expected: 'one document',
      got: describe(root.defaults),
      hint: 'Write out the composed config, with the --cfg job option of the program that uses Hydra',
    });
  for (const path of Object.keys(overrides)) put(root, path, overrides[path]);
  const keys = at === undefined ? [] : at.split('.');
  const given = lookUp(root, keys, `yaml.${at}`);
  const config = resolved(given, keys, root, []);
  if (!isMapping(config))
    throw new ConfigError({ path: `yaml.${at}`, problem: 'not a config', expected: 'a mapping', got: describe(config) });
  return config;
}

const isMapping = (x: unknown): x is Mapping => typeof x === 'object' && x !== null && !Array.isArray(x);
const pathOf = (keys: readonly string[]): string => ['yaml', ...keys].join('.');

function put(root: Mapping, path: string, value: unknown): void {
  const keys = path.split('.');
  const holder = lookUp(root, keys.slice(0, -1), `overrides.${path}`);
  if (typeof holder !== 'object' || holder === null || !Object.hasOwn(holder, keys.at(-1)!))
    throw missing(root, keys, `overrides.${path}`);
  (holder as Record<string, unknown>)[keys.at(-1)!] = value;
}

function lookUp(root: unknown, keys: readonly string[], where: string): unknown {
  return keys.reduce<unknown>((at, key) => {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, key)) throw missing(root, keys, where);
    return (at as Mapping)[key];
  }, root);
}

function missing(root: unknown, keys: readonly string[], where: string): ConfigError {
  const all = pathsIn(root, []);
  const near = nearest(keys.join('.'), all);
  return new ConfigError({
    path: where,
    problem: `"${keys.join('.')}" is not in the document`,
    got: describe(keys.join('.')),
    ...(near && { hint: `Did you mean "${near}"?` }),
  });
}
const pathsIn = (x: unknown, keys: readonly string[]): readonly string[] =>
  typeof x === 'object' && x !== null
    ? Object.entries(x).flatMap(([key, value]) => [[...keys, key].join('.'), ...pathsIn(value, [...keys, key])])
    : [];

/** The value at a place, with references replaced. `open`: the references that are being replaced. */
function resolved(value: unknown, keys: readonly string[], root: Mapping, open: readonly string[]): unknown {
  if (value === '???')
    throw new ConfigError({ path: pathOf(keys), problem: 'left out in the document (???)', expected: 'a value', got: 'nothing' });
  if (typeof value === 'string') return withReferences(value, keys, root, open);
  if (Array.isArray(value)) return value.map((item, i) => resolved(item, [...keys, String(i)], root, open));
  if (!isMapping(value)) return value;
  const { _target_: target, _convert_, _recursive_, ...own } = value;
  const entries = Object.entries(own).map(([key, item]) => [key, resolved(item, [...keys, key], root, open)] as const);
  return { ...blockType(target, own, keys), ...Object.fromEntries(entries) };
}

function blockType(target: unknown, { block_type: given }: Mapping, keys: readonly string[]): Mapping {
  if (target === undefined) return {};
  const path = `${pathOf(keys)}._target_`;
  const known = Object.keys(classes);
  const name = typeof target === 'string' ? known.find((k) => target === k || target.endsWith(`.${k}`)) : undefined;
  if (!name)
    throw new ConfigError({
      path,
      problem: 'not a config of the original',
      expected: `one of ${known.join(', ')}`,
      got: describe(target),
    });
  const type = classes[name];
  if (type !== undefined && given !== undefined && given !== type)
    throw new ConfigError({ path, problem: 'differs from block_type', expected: describe(given), got: describe(type) });
  return type === undefined ? {} : { block_type: type };
}

const reference = /\$\{([^${}]*)\}/g;

function withReferences(text: string, keys: readonly string[], root: Mapping, open: readonly string[]): unknown {
  const named = (inside: string): unknown => {
    const name = inside.trim();
    const where = pathOf(keys);
    if (name.includes(':'))
      throw new ConfigError({
        path: where,
        problem: 'a resolver of Hydra',
        expected: 'the name of a value',
        got: `\${${inside}}`,
      });
    const dots = /^\.*/.exec(name)![0].length;
    // One dot is the mapping that contains this value, each further one the mapping around it.
    const target = [...(dots ? keys.slice(0, keys.length - dots) : []), ...name.slice(dots).split('.').filter(Boolean)];
    const path = target.join('.');
    if (open.includes(path))
      throw new ConfigError({ path: where, problem: 'a reference to itself', got: [...open, path].join(' → ') });
    return resolved(lookUp(root, target, where), target, root, [...open, path]);
  };
  const whole = [...text.matchAll(reference)];
  if (whole.length === 1 && whole[0]![0] === text) return named(whole[0]![1]!);
  const filled = text.replaceAll(reference, (_, inside: string) => String(named(inside)));
  if (filled.includes('${'))
    throw new ConfigError({
      path: pathOf(keys),
      problem: 'a reference that cannot be read',
      expected: `\${name}`,
      got: describe(text),
    });
  return filled;
}
