// Every error a user can cause: where, what is wrong, expected, got, what to do.

/** The parts of an error, kept as data so that programs can read them. */
export interface ErrorDetails {
  /** Where: a path into a config, a module path, a file name, a feed name. */
  readonly path: string;
  /** What is wrong, in a few words. */
  readonly problem: string;
  readonly expected?: string;
  /** The value that was found; printed by {@link describe} unless it is already a text. */
  readonly got?: string;
  /** What to do about it. */
  readonly hint?: string;
}

function sentence({ path, problem, expected, got, hint }: ErrorDetails): string {
  const contrast = [expected && `expected ${expected}`, got && `got ${got}`].filter(Boolean).join(', ');
  return `${path ? `${path}: ` : ''}${problem}${contrast ? `; ${contrast}` : ''}${hint ? `. ${hint}` : ''}`;
}

/** The base class of all errors of the library. */
export abstract class OnnxformersError extends Error implements ErrorDetails {
  readonly path: string;
  readonly problem: string;
  readonly expected?: string;
  readonly got?: string;
  readonly hint?: string;
  constructor(fault: ErrorDetails, options?: ErrorOptions) {
    super(sentence(fault), options);
    this.name = new.target.name;
    this.path = fault.path;
    this.problem = fault.problem;
    if (fault.expected !== undefined) this.expected = fault.expected;
    if (fault.got !== undefined) this.got = fault.got;
    if (fault.hint !== undefined) this.hint = fault.hint;
  }
}

/** A config that no block accepts: unknown name or field, wrong value, missing field. */
export class ConfigError extends OnnxformersError {}
/** Operands whose dims or dtypes do not fit together. */
export class ShapeError extends OnnxformersError {}
/** A graph that a target cannot run. */
export class LoweringError extends OnnxformersError {}
/** A weight that is missing, unknown, or of the wrong dims or dtype. */
export class WeightError extends OnnxformersError {}
/** A feed that does not fit the signature of a model. */
export class FeedError extends OnnxformersError {}
/** A runtime that could not be started or that failed while running. */
export class RunError extends OnnxformersError {}
/** A file that cannot be read or written, or does not have the expected format. */
export class FileError extends OnnxformersError {}

/** A bug in the library itself; a user can only report it. */
export function internal(message: string): Error {
  return new Error(`internal: ${message}`);
}

/** Any value as a short text, for the `got` of an error. Never throws. */
export function describe(x: unknown): string {
  return describeWithin(x, 0);
}

function describeWithin(x: unknown, depth: number): string {
  if (x === undefined) return 'nothing';
  if (x === null) return 'null';
  if (typeof x === 'string') return x.length > 60 ? `"${x.slice(0, 57)}…"` : `"${x}"`;
  if (typeof x === 'bigint') return `${x}n`;
  if (typeof x === 'symbol') return x.toString();
  if (typeof x !== 'object' && typeof x !== 'function') return String(x);
  if (typeof x === 'function') {
    const { blockName, kind, name } = x as { readonly blockName?: unknown; readonly kind?: unknown; readonly name: string };
    if (typeof blockName === 'string') return `${typeof kind === 'string' ? `a ${kind} ` : ''}module "${blockName}"`;
    return name ? `the function ${name}` : 'a function';
  }
  if (Array.isArray(x))
    return x.length > 6 || depth > 2 ? `a list of ${x.length}` : `[${x.map((e) => describeWithin(e, depth + 1)).join(', ')}]`;
  if (ArrayBuffer.isView(x)) return `a ${x.constructor.name} of ${(x as unknown as { length?: number }).length ?? x.byteLength}`;
  // Not `x.constructor`: a config may have a field of that name.
  const name = Object.getPrototypeOf(x)?.constructor?.name;
  if (name && name !== 'Object') return `a ${name}`;
  const keys = Object.keys(x);
  return `an object with ${keys.length ? keys.slice(0, 6).join(', ') + (keys.length > 6 ? ', …' : '') : 'no keys'}`;
}

/** Words whose meaning says more than their letters: a gpu is not a cpu. */
const meant: Readonly<Record<string, readonly string[]>> = {
  gpu: ['cuda', 'webgpu'],
  key_padding_mask: ['attention_mask'],
  attn_bias: ['attention_bias'],
  seqlens: ['lengths'],
};

/** The candidate nearest to `word` (edit distance), if one is near enough to be what was meant. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  const synonyms = Object.hasOwn(meant, word.toLowerCase()) ? meant[word.toLowerCase()] : undefined;
  if (synonyms) {
    const all = [...candidates];
    return synonyms.find((each) => all.includes(each));
  }
  let best: string | undefined;
  let least = Math.max(2, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < least) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[b.length]!;
}

/** Throws   ConfigError when a value is not one of these words; it suggests the nearest one */
export function checkWord(path: string, value: unknown, words: readonly string[]): void {
  if (words.includes(value as string)) return;
  const near = typeof value === 'string' ? nearest(value, words) : undefined;
  throw new ConfigError({
    path,
    problem: 'wrong value',
    expected: words.map((word) => `"${word}"`).join(' or '),
    got: describe(value),
    ...(near !== undefined && { hint: `Did you mean "${near}"?` }),
  });
}

/** The error for an unknown option. */
export function unknownOption(path: string, name: string, value: unknown, names: readonly string[]): ConfigError {
  const near = nearest(name, names);
  return new ConfigError({
    path,
    problem: `unknown option "${name}"`,
    got: describe(value),
    hint: `${near ? `Did you mean "${near}"? ` : ''}Options: ${names.join(', ')}`,
  });
}

/** Throws   ConfigError when options are not an object, or contain a name that `known` lacks */
export function checkOptions<O extends object>(
  path: string,
  options: O,
  known: { readonly [N in keyof Required<O>]: true },
): void {
  const names = Object.keys(known);
  if (typeof options !== 'object' || options === null)
    throw new ConfigError({
      path,
      problem: 'not options',
      expected: `an object with ${names.join(', ')}`,
      got: describe(options),
    });
  for (const [name, value] of Object.entries(options))
    if (!Object.hasOwn(known, name)) throw unknownOption(path, name, value, names);
}
