// A config.json of Hugging Face, read key by key.
import { ConfigError, describe } from '@onnxformers/core';

/** Reads the keys of a `config.json`. Each function throws a ConfigError for a value of another type, and for a missing one without a default. */
export interface ConfigReader {
  /** Where it comes from, for errors. */
  readonly path: string;
  /** The keys as they are. */
  readonly raw: Readonly<Record<string, unknown>>;
  /** Whether the key has a value other than null. */
  has(key: string): boolean;
  /** A whole number. */
  int(key: string, otherwise?: number): number;
  /** A number. */
  num(key: string, otherwise?: number): number;
  /** true or false. */
  flag(key: string, otherwise?: boolean): boolean;
  /** A text. */
  text(key: string, otherwise?: string): string;
  /** A list; its elements are not checked. */
  list(key: string): readonly unknown[] | undefined;
  /** An object inside. */
  section(key: string): ConfigReader | undefined;
  /** An object inside that must be there. */
  needed(key: string): ConfigReader;
  /** The error for a value that the family does not support. */
  refuse(key: string, problem: string, expected: string): ConfigError;
}

/** Keys that say how many parts of a model are made, and how many there may be: a damaged number would fill the memory. */
const counts = /(layers?|experts|depths?|stages?)$/;
const mostParts = 4096;

/**
 * The keys of a parsed `config.json`.
 *
 * Throws   ConfigError if it is not an object
 */
export function configReader(json: unknown, path = 'config.json'): ConfigReader {
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw new ConfigError({ path, problem: 'not a config', expected: 'an object', got: describe(json) });
  const raw = json as Readonly<Record<string, unknown>>;
  const at = (key: string): unknown => (Object.hasOwn(raw, key) ? raw[key] : undefined);
  function read<T>(key: string, otherwise: T | undefined, expected: string, right: (value: unknown) => value is T): T {
    const value = at(key);
    if (right(value)) return value;
    const absent = value === undefined || value === null;
    if (absent && otherwise !== undefined) return otherwise;
    throw new ConfigError({
      path: `${path}: ${key}`,
      problem: absent ? 'missing' : 'wrong value',
      expected,
      got: absent ? 'nothing' : describe(value),
    });
  }
  const counted = (key: string, value: unknown): void => {
    if (typeof value !== 'number' || value <= mostParts || !counts.test(key)) return;
    throw new ConfigError({
      path: `${path}: ${key}`,
      problem: 'more parts than a model can have',
      expected: `at most ${mostParts}`,
      got: String(value),
    });
  };
  const isNumber = (x: unknown): x is number => typeof x === 'number' && Number.isFinite(x);
  const isInteger = (x: unknown): x is number => Number.isSafeInteger(x);
  const isFlag = (x: unknown): x is boolean => typeof x === 'boolean';
  const isText = (x: unknown): x is string => typeof x === 'string';
  const section = (key: string): ConfigReader | undefined => {
    const value = at(key);
    return value === undefined || value === null ? undefined : configReader(value, `${path}: ${key}`);
  };
  return {
    path,
    raw,
    has: (key) => at(key) !== undefined && at(key) !== null,
    int(key, otherwise) {
      const value = read(key, otherwise, 'an integer', isInteger);
      counted(key, value);
      return value;
    },
    num: (key, otherwise) => read(key, otherwise, 'a number', isNumber),
    flag: (key, otherwise) => read(key, otherwise, 'true or false', isFlag),
    text: (key, otherwise) => read(key, otherwise, 'a text', isText),
    list(key) {
      const value = at(key);
      if (value === undefined || value === null) return undefined;
      if (Array.isArray(value)) {
        for (const each of value) counted(key, each);
        return value;
      }
      throw new ConfigError({ path: `${path}: ${key}`, problem: 'wrong value', expected: 'a list', got: describe(value) });
    },
    section,
    needed(key) {
      const found = section(key);
      if (found) return found;
      throw new ConfigError({ path: `${path}: ${key}`, problem: 'missing', expected: 'an object', got: 'nothing' });
    },
    refuse: (key, problem, expected) => new ConfigError({ path: `${path}: ${key}`, problem, expected, got: describe(at(key)) }),
  };
}

/**
 * Parses a JSON file of a checkpoint's folder.
 *
 * Throws   ConfigError for a text that is not JSON
 */
export function parseJson(bytes: Uint8Array, path: string): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new ConfigError(
      { path, problem: 'not JSON', got: (cause as Error).message, hint: 'It is damaged; download it again' },
      { cause },
    );
  }
}
