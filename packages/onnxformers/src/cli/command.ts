// Commands: their arguments, options and actions. Parsing does not depend on the actions.
import { parseArgs } from 'node:util';
import { nearest } from '@onnxformers/core';
import type { Output } from './output';

/** One option: `--head-dim 64`. */
export interface Option {
  /** A flag has no value; a list is separated by commas or given several times. */
  readonly type: 'text' | 'integer' | 'number' | 'flag' | 'list';
  readonly doc: string;
  /** Placeholder of the value in the help: `DIR`. */
  readonly value?: string;
  readonly choices?: readonly string[];
  /** What separates the parts of a list; default a comma. */
  readonly separator?: string;
  /** The pattern of a text, and its description. */
  readonly form?: { readonly pattern: RegExp; readonly words: string };
  readonly default?: string | number;
  readonly required?: boolean;
}
export type Options = Readonly<Record<string, Option>>;

type ValueOf<O extends Option> = O['type'] extends 'flag'
  ? boolean
  : O['type'] extends 'integer' | 'number'
    ? number
    : O['type'] extends 'list'
      ? readonly string[]
      : string;
type Given<O extends Option> = O extends
  | { readonly default: string | number }
  | { readonly required: true }
  | { readonly type: 'flag' }
  ? ValueOf<O>
  : ValueOf<O> | undefined;
/** The values of a command's options. */
export type Values<O extends Options> = { readonly [N in keyof O]: Given<O[N]> };

/** A command of the command line. */
export interface Command {
  readonly name: string;
  /** Names of its arguments; optional ones in brackets. */
  readonly words: readonly string[];
  readonly summary: string;
  readonly options: Options;
  /** Further help, with an example. */
  readonly help?: string;
  run(words: readonly string[], values: Values<Options>, output: Output): Promise<void>;
}

/** An invalid command line. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** Options of every command. */
export const common = {
  json: { type: 'flag', doc: 'print JSON' },
  debug: { type: 'flag', doc: 'print the stack of errors' },
  help: { type: 'flag', doc: 'print this help' },
} as const satisfies Options;

/** Defines a command; its options determine the type of `run`'s argument. */
export function command<const O extends Options>(
  c: Omit<Command, 'options' | 'run'> & {
    readonly options: O;
    run(words: readonly string[], values: Values<O & typeof common>, output: Output): Promise<void>;
  },
): Command {
  return { ...c, options: { ...c.options, ...common } } as unknown as Command;
}

/** The arguments and option values of a command line. Throws UsageError. */
export function parse(
  c: Command,
  args: readonly string[],
): { readonly words: readonly string[]; readonly values: Values<Options> } {
  const shapes = Object.entries(c.options).map(
    ([name, o]) => [name, { type: o.type === 'flag' ? 'boolean' : 'string', multiple: o.type === 'list' }] as const,
  );
  const { tokens, positionals, values } = parseArgs({
    args: [...args],
    options: Object.fromEntries(shapes),
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  for (const token of tokens) {
    if (token.kind !== 'option') continue;
    const option = c.options[token.name];
    if (!option) throw new UsageError(`${c.name} has no option ${token.rawName}${hintFor(token.name, Object.keys(c.options))}`);
    if (option.type === 'flag' && token.value !== undefined)
      throw new UsageError(`${token.rawName} is a flag and takes no value`);
    if (option.type !== 'list' && tokens.some((t) => t !== token && t.kind === 'option' && t.name === token.name))
      throw new UsageError(`${token.rawName} is given twice`);
    // A value that looks like an option means that the value was forgotten.
    if (option.type !== 'flag' && (token.value === undefined || (!token.inlineValue && token.value.startsWith('--'))))
      throw new UsageError(`${token.rawName} requires a value (${option.value ?? option.type})`);
  }
  return {
    words: checkWords(c, positionals),
    values: Object.fromEntries(
      Object.entries(c.options).map(([name, option]) => [name, readValue(name, option, values[name])]),
    ) as Values<Options>,
  };
}

function checkWords(c: Command, words: readonly string[]): readonly string[] {
  const needed = c.words.filter((w) => !w.startsWith('['));
  if (words.length < needed.length) throw new UsageError(`${c.name} requires ${needed.slice(words.length).join(' and ')}`);
  if (words.length > c.words.length)
    throw new UsageError(`${c.name} takes ${c.words.join(' ') || 'no words'}; "${words[c.words.length]}" is too much`);
  return words;
}

function readValue(name: string, o: Option, given: unknown): string | number | boolean | readonly string[] | undefined {
  if (o.type === 'flag') return given === true;
  if (given === undefined) {
    if (o.required) throw new UsageError(`--${name} is required: ${o.doc}`);
    return o.default;
  }
  if (o.type === 'list') return readList(name, o, given as readonly string[]);
  const text = String(given);
  if (text === '') throw new UsageError(`--${name} is empty`);
  checkText(name, o, text);
  if (o.type === 'text') return text;
  if (o.type === 'integer' && !/^\d+$/.test(text)) throw new UsageError(`--${name} must be an integer, got "${text}"`);
  const number = Number(text);
  if (!Number.isFinite(number)) throw new UsageError(`--${name} must be a number, got "${text}"`);
  if (o.type === 'integer' && !Number.isSafeInteger(number)) throw new UsageError(`--${name} is too large: ${text}`);
  return number;
}

function readList(name: string, o: Option, given: readonly string[]): readonly string[] {
  const parts = given.flatMap((text) => text.split(o.separator ?? ',')).map((part) => part.trim());
  if (!parts.some(Boolean)) throw new UsageError(`--${name} is empty`);
  return parts.filter(Boolean).map((part) => {
    checkText(name, o, part);
    return part;
  });
}

function checkText(name: string, { choices, form }: Option, text: string): void {
  if (choices && !choices.includes(text))
    throw new UsageError(`--${name} must be one of ${choices.join(', ')}, got "${text}"${hintFor(text, choices)}`);
  if (form && !form.pattern.test(text)) throw new UsageError(`--${name} must be ${form.words}, got "${text}"`);
}

/** `; did you mean …?` */
export function hintFor(word: string, known: readonly string[]): string {
  const near = nearest(word, known);
  return near ? `; did you mean ${near}?` : '';
}

/** The help of one command. */
export function helpOf(c: Command): string {
  const rows = Object.entries(c.options).map(([name, o]): readonly [string, string] => {
    const value = o.type === 'flag' ? '' : ` ${o.value ?? (o.choices ? 'NAME' : o.type === 'integer' ? 'N' : 'TEXT')}`;
    const choices = o.choices ? `: ${o.choices.join(', ')}` : '';
    const rest = o.required ? ' (required)' : o.default !== undefined ? ` (default ${o.default})` : '';
    return [`--${name}${value}`, `${o.doc}${choices}${rest}`];
  });
  const width = Math.max(...rows.map(([left]) => left.length));
  const options = rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`);
  return [
    `onnxformers ${[c.name, ...c.words].join(' ')}`,
    '',
    c.summary,
    ...(c.help ? ['', c.help] : []),
    '',
    'Options',
    ...options,
  ].join('\n');
}
