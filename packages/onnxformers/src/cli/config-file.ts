// Reads the config of a block, and options of `compile`, from a file.
import {
  type AnyModule,
  assumptions,
  type CompileOptions,
  ConfigError,
  type DType,
  describe,
  dtypes,
  FileError,
  nearest,
} from '@onnxformers/core';
import { zoo } from '../index';
import { inputsOf } from '../inputs';
import { fileError, readText } from './files';

/** A kind for which there is a block. */
type Kind = (typeof zoo.blocks)[number]['kind'];

/** A parsed config file. */
export interface ReadConfig {
  readonly kind: Kind;
  readonly module: AnyModule;
  readonly inputs: CompileOptions['inputs'];
  /** Options of `compile` in the file. */
  readonly options: Pick<CompileOptions, 'layout' | 'state' | 'taps' | 'assumptions' | 'draws'>;
}

const keys = ['kind', 'config', 'inputs', 'layout', 'state', 'taps', 'assumptions', 'draws'] as const;

/**
 * Reads a JSON file: a config (`{ "name": "causal_lm", … }`), or a config together with options of `compile`
 * (`{ "kind": "mixer", "config": { … }, "inputs": { "x": ["float32", ["batch", "seq", 64]] } }`).
 *
 * Throws   FileError for a file that cannot be read or is not JSON · ConfigError for wrong contents
 */
export async function readConfig(path: string): Promise<ReadConfig> {
  return parseConfig(await readJson(path), path);
}

/** The same for parsed JSON; `place` names its source in errors. */
export function parseConfig(json: unknown, place = 'config'): ReadConfig {
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw new ConfigError({
      path: place,
      problem: 'not a config',
      expected: 'an object with the name of a block',
      got: describe(json),
    });
  const file: Record<string, unknown> = 'config' in json ? { ...json } : { config: json };
  for (const key of Object.keys(file)) {
    if ((keys as readonly string[]).includes(key)) continue;
    const near = nearest(key, keys);
    throw new ConfigError({
      path: key,
      problem: `unknown key "${key}" in the config file`,
      got: describe(file[key]),
      hint: `${near ? `Did you mean "${near}"? ` : ''}Keys: ${keys.join(', ')}`,
    });
  }
  const kind = kindOf(file.kind, file.config);
  const module = zoo.parse(kind, file.config) as unknown as AnyModule;
  return {
    kind,
    module,
    inputs: file.inputs === undefined ? inputsOf(module) : checkInputs(file.inputs),
    options: optionsOf(file),
  };
}

async function readJson(path: string): Promise<unknown> {
  // Some editors write a byte order mark.
  const text = (await readText(path)).replace(/^\uFEFF/, '');
  if (text.trim() === '') throw new FileError({ path, problem: 'the file is empty', expected: 'a config in JSON' });
  try {
    return JSON.parse(text);
  } catch (error) {
    throw fileError(path, error, 'not JSON');
  }
}

/** The kind in the file, otherwise that of the block of this name, preferably a model. */
function kindOf(given: unknown, config: unknown): Kind {
  const kinds = [...new Set(zoo.blocks.map((b) => b.kind))];
  if (given !== undefined) {
    if (kinds.includes(given as Kind)) return given as Kind;
    const near = typeof given === 'string' ? nearest(given, kinds) : undefined;
    throw new ConfigError({
      path: 'kind',
      problem: 'unknown kind',
      expected: `one of ${kinds.join(', ')}`,
      got: describe(given),
      ...(near && { hint: `Did you mean "${near}"?` }),
    });
  }
  const name = typeof config === 'string' ? config : (config as { readonly name?: unknown } | null)?.name;
  const owners = zoo.blocks.filter((b) => b.blockName === name).map((b) => b.kind);
  if (owners.length > 1 && !owners.includes('model'))
    throw new ConfigError({
      path: 'kind',
      problem: `several blocks are called "${String(name)}"`,
      expected: `a kind: ${owners.join(' or ')}`,
      got: 'nothing',
      hint: '{ "kind": …, "config": … } says which',
    });
  return owners.includes('model') ? 'model' : (owners[0] ?? 'model');
}

function checkInputs(given: unknown): CompileOptions['inputs'] {
  const fault = (path: string, got: unknown): never => {
    throw new ConfigError({
      path,
      problem: 'not an input',
      expected: 'a dtype and dims, such as ["float32", ["batch", "seq", 64]]',
      got: describe(got),
    });
  };
  if (typeof given !== 'object' || given === null || Array.isArray(given)) return fault('inputs', given);
  for (const [name, input] of Object.entries(given)) {
    const path = `inputs.${name}`;
    if (!Array.isArray(input) || input.length !== 2 || !Array.isArray(input[1])) fault(path, input);
    const [dtype, dims] = input as [unknown, readonly unknown[]];
    if (!dtypes.includes(dtype as DType)) {
      const near = nearest(String(dtype), dtypes);
      throw new ConfigError({
        path,
        problem: 'unknown dtype',
        expected: `one of ${dtypes.join(', ')}`,
        got: describe(dtype),
        ...(near && { hint: `Did you mean "${near}"?` }),
      });
    }
    if (!dims.every((d) => typeof d === 'string' || (Number.isSafeInteger(d) && (d as number) >= 0))) fault(path, dims);
  }
  return given as CompileOptions['inputs'];
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

function optionsOf({ layout, state, taps, draws, ...rest }: Readonly<Record<string, unknown>>): ReadConfig['options'] {
  const options: Writable<ReadConfig['options']> = {};
  const check = <T>(path: string, value: unknown, fits: boolean, expected: string): T => {
    if (!fits) throw new ConfigError({ path, problem: 'wrong value', expected, got: describe(value) });
    return value as T;
  };
  const texts = (x: unknown) => Array.isArray(x) && x.every((t) => typeof t === 'string');
  const number = (x: unknown, key: string) =>
    typeof x === 'object' && x !== null && Number.isSafeInteger((x as Record<string, unknown>)[key]);
  if (layout !== undefined)
    options.layout = check('layout', layout, layout === 'padded' || layout === 'packed', '"padded" or "packed"');
  if (state !== undefined) options.state = check('state', state, state === 'io' || number(state, 'io'), '"io" or { "io": rows }');
  if (taps !== undefined) options.taps = check('taps', taps, texts(taps), 'a list of module paths');
  if (rest.assumptions !== undefined) {
    const known = Array.isArray(rest.assumptions) && rest.assumptions.every((p) => assumptions.includes(p));
    options.assumptions = check(
      'assumptions',
      rest.assumptions,
      known,
      `a list of ${assumptions.map((p) => `"${p}"`).join(', ')}`,
    );
  }
  if (draws !== undefined) options.draws = check('draws', draws, number(draws, 'seed'), '{ "seed": integer }');
  return options;
}
