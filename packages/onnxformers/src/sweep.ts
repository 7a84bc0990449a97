// Variants of a config: the product of options.
import {
  type AnyModule,
  type CompileOptions,
  ConfigError,
  checkArguments,
  compile,
  describe,
  type Kind,
  OnnxformersError,
  targets,
} from '@onnxformers/core';
import { inputsOf } from './inputs';
import { zoo } from './zoo';

/** Values for places in a config: `{ 'stack.depth': [2, 4], 'stack.layers.mixer.attention': ['local', { name: 'linformer', k: 16 }] }`. */
export type Axes = Readonly<Record<string, readonly unknown[]>>;

/** One variant. */
export interface SweptConfig {
  /** Made of the values: `depth=2,attention=local`. The same for the same values, whatever the other variants are. */
  readonly name: string;
  readonly config: Readonly<Record<string, unknown>>;
}

/** The variants of a config. */
export interface Sweep {
  /** Those that can be compiled. */
  readonly configs: readonly SweptConfig[];
  /** Those that are refused, and why. */
  readonly refused: readonly (SweptConfig & { readonly reason: string })[];
}

/** Options of {@link sweep}. */
export interface SweepConfigsOptions {
  /** Kind of the config; default `model`. */
  readonly kind?: Kind;
  /** Finds the blocks of the configs; default {@link zoo}. */
  readonly registry?: { parse(kind: Kind, config: object): unknown };
  /** What each variant is compiled for, without weights; default `targets.portable()`. */
  readonly target?: CompileOptions['target'];
  /** Inputs of the compiled variants; default those of each variant. */
  readonly inputs?: CompileOptions['inputs'];
}

/**
 * The product of options: a config for each combination of the values of some axes, with stable names. Each is built and compiled without weights, and one that is
 * refused is returned with the reason.
 *
 * A place is a path of fields and indices. A name stands for the block without options where the path continues into it: `'stack.norm.eps'` with
 * `norm: 'layer_norm'`.
 *
 * Throws   ConfigError for an axis without values, and a place that is not in the config
 *
 * Example  const { configs, refused } = sweep({ name: 'mlp', dim: 8 }, { hidden: [16, 32], activation: ['gelu', 'relu'] }, { kind: 'feedforward' });
 */
export function sweep(config: Readonly<Record<string, unknown>>, axes: Axes, o: SweepConfigsOptions = {}): Sweep {
  checkArguments('sweep', { config, axes, 'options?': o });
  const configs: SweptConfig[] = [];
  const refused: (SweptConfig & { readonly reason: string })[] = [];
  for (const variant of variantsOf(config, axes)) {
    const reason = refusalOf(variant.config, o);
    if (reason === undefined) configs.push(variant);
    else refused.push({ ...variant, reason });
  }
  return { configs, refused };
}

function variantsOf(config: Readonly<Record<string, unknown>>, axes: Axes): readonly SweptConfig[] {
  const labels = labelsOf(Object.keys(axes));
  return Object.entries(axes).reduce<readonly SweptConfig[]>(
    (variants, [place, values]) => {
      if (!Array.isArray(values) || !values.length)
        throw new ConfigError({
          path: place,
          problem: 'an axis without values',
          expected: 'a list of values',
          got: describe(values),
        });
      return variants.flatMap((variant) =>
        values.map((value) => ({
          name: [variant.name, `${labels.get(place)}=${labelOf(value)}`].filter(Boolean).join(','),
          config: placed(variant.config, stepsOf(place), value, place) as SweptConfig['config'],
        })),
      );
    },
    [{ name: '', config }],
  );
}

/** The shortest ends of places that differ: `depth`, `encoder.depth`. */
function labelsOf(places: readonly string[]): ReadonlyMap<string, string> {
  const endOf = (place: string, n: number): string => place.split('.').slice(-n).join('.');
  return new Map(
    places.map((place) => {
      let n = 1;
      while (places.some((other) => other !== place && endOf(other, n) === endOf(place, n))) n++;
      return [place, endOf(place, n)];
    }),
  );
}

/** A value in a name: a block by its name, with its options in order. */
function labelOf(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value);
  if (Array.isArray(value)) return `[${value.map(labelOf).join(' ')}]`;
  const { name, ...options } = value as Record<string, unknown>;
  const told = Object.entries(options).map(([key, option]) => `${key}=${labelOf(option)}`);
  return `${name ?? ''}${told.length ? `(${told.join(' ')})` : ''}`;
}

const stepsOf = (place: string): readonly string[] => place.replaceAll(/\[(\d+)\]/g, '.$1').split('.');

/** The config with a value at a place. */
function placed(config: unknown, [step, ...rest]: readonly string[], value: unknown, place: string): unknown {
  if (step === undefined) return value;
  const fault = (expected: string): ConfigError =>
    new ConfigError({ path: place, problem: `there is no "${step}" in the config`, expected, got: describe(config) });
  if (Array.isArray(config)) {
    const at = Number(step);
    if (!Number.isInteger(at) || at < 0 || at >= config.length) throw fault(`an index from 0 to ${config.length - 1}`);
    return config.with(at, placed(config[at], rest, value, place));
  }
  const block = typeof config === 'string' ? { name: config } : config;
  if (typeof block !== 'object' || block === null) throw fault('a block');
  const inner = (block as Record<string, unknown>)[step];
  return { ...block, [step]: placed(inner, rest, value, place) };
}

function refusalOf(
  config: object,
  { kind = 'model', registry = zoo as never, target = targets.portable(), inputs }: SweepConfigsOptions,
): string | undefined {
  try {
    const block = (registry as NonNullable<SweepConfigsOptions['registry']>).parse(kind, config) as AnyModule;
    compile(block, { target, inputs: inputs ?? inputsOf(block) });
    return undefined;
  } catch (error) {
    if (error instanceof OnnxformersError) return error.message;
    throw error;
  }
}
