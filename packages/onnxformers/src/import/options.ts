// Reads configs of other libraries; every option is checked.
import { ConfigError, describe, nearest } from '@onnxformers/core';

/** A config of another library, as plain JSON. */
export type ForeignConfig = Readonly<Record<string, unknown>>;

/** `problem` of the ConfigError for a block of another library that this one does not have. */
export const noCounterpart = 'is not supported here';

/** The options of one config. Each method reads one of them; an option that is null or missing has its default. */
export interface Options {
  readonly path: string;
  int(name: string, o?: { readonly min?: number; readonly default?: number }): number;
  num(name: string, o?: { readonly default?: number }): number;
  bool(name: string, fallback: boolean): boolean;
  word<const W extends readonly string[]>(name: string, words: W, fallback?: W[number]): W[number];
  config(name: string): ForeignConfig;
  /** Any value; undefined for null. */
  any(name: string): unknown;
  /** Refuses options that were not read. `ignored`: options of related blocks, which the other library ignores silently, and so does this one. */
  finish(ignored?: ReadonlySet<string>): void;
}

/** Throws   ConfigError when `given` is not a config; its methods, for a wrong or missing value and for an unknown option */
export function optionsOf(given: unknown, path: string): Options {
  if (!isConfig(given)) throw new ConfigError({ path, problem: 'not a config', expected: 'an object', got: describe(given) });
  const taken = new Set<string>();
  const any = (name: string): unknown => {
    taken.add(name);
    return given[name] ?? undefined;
  };
  const required = <T>(name: string, fallback: T | undefined, expected: string, fits: (x: unknown) => boolean): T => {
    const value = any(name) ?? fallback;
    if (fits(value)) return value as T;
    const problem = value === undefined ? 'missing' : 'wrong value';
    throw new ConfigError({ path: `${path}.${name}`, problem, expected, got: describe(value) });
  };
  return {
    path,
    any,
    int: (name, { min = 1, default: fallback } = {}) =>
      required(name, fallback, `an integer >= ${min}`, (x) => Number.isSafeInteger(x) && (x as number) >= min),
    num: (name, { default: fallback } = {}) => required(name, fallback, 'a number', Number.isFinite),
    bool: (name, fallback) => required(name, fallback, 'true or false', (x) => typeof x === 'boolean'),
    word: (name, words, fallback) =>
      required(name, fallback, `one of ${words.map((w) => `"${w}"`).join(', ')}`, (x) => words.includes(x as string)),
    config: (name) => required<ForeignConfig>(name, undefined, 'an object', isConfig),
    finish(ignored = new Set()) {
      for (const name of Object.keys(given)) {
        if (taken.has(name) || ignored.has(name)) continue;
        const near = nearest(name, taken);
        const hint = `${near ? `Did you mean "${near}"? ` : ''}Options: ${[...taken].join(', ')}`;
        throw new ConfigError({ path, problem: `unknown option "${name}"`, got: describe(given[name]), hint });
      }
    },
  };
}

const isConfig = (x: unknown): x is ForeignConfig => typeof x === 'object' && x !== null && !Array.isArray(x);

/** The error for a name that does not exist. */
export function unknownName(kind: string, name: unknown, path: string, here: readonly string[]): ConfigError {
  const near = typeof name === 'string' ? nearest(name, here) : undefined;
  const hint = `${near ? `Did you mean "${near}"? ` : ''}Known: ${here.join(', ')}`;
  return new ConfigError({ path: `${path}.name`, problem: `no such ${kind}`, got: describe(name), hint });
}
