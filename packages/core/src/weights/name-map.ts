// Weight names of other projects, as two-way patterns.
import { checkArguments } from '../arguments';
import { ConfigError } from '../error';

/** Names of weights in another project's checkpoints and in ours. */
export interface NameMap {
  /** Our name for a foreign one; undefined if no pattern matches. */
  toOurs(foreign: string): string | undefined;
  /** The foreign name for one of ours; undefined if no pattern matches. */
  toForeign(ours: string): string | undefined;
}

interface Pattern {
  readonly regex: RegExp;
  /** The texts around the placeholders, one more than placeholders. */
  readonly text: readonly string[];
  readonly holes: readonly string[];
}

const hole = /\{(\w+)\}/;
const literal = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

function split(pattern: string): { readonly text: string[]; readonly holes: string[] } {
  const pieces = pattern.split(hole);
  return { text: pieces.filter((_, i) => i % 2 === 0), holes: pieces.filter((_, i) => i % 2 === 1) };
}

/** The placeholder at the start or end of a pattern, which may span dots unless it is a number. */
function open({ text, holes }: ReturnType<typeof split>): readonly (string | undefined)[] {
  return [text[0] === '' ? holes[0] : undefined, text.at(-1) === '' ? holes.at(-1) : undefined];
}

function compile({ text, holes }: ReturnType<typeof split>, wide: ReadonlySet<string | undefined>): Pattern {
  const match = (name: string) => (/^[ijkn]$/.test(name) ? '(0|[1-9]\\d*)' : wide.has(name) ? '(.+)' : '([^.]+)');
  const source = text.map((t, at) => literal(t) + (at < holes.length ? match(holes[at]!) : '')).join('');
  return { regex: new RegExp(`^${source}$`, 's'), text, holes };
}

function rename(name: string, from: Pattern, to: Pattern): string | undefined {
  const found = from.regex.exec(name);
  if (!found) return undefined;
  const filling = new Map(from.holes.map((h, i) => [h, found[i + 1]!]));
  return to.text.map((t, at) => t + (at < to.holes.length ? filling.get(to.holes[at]!) : '')).join('');
}

function check(foreign: string, ours: string, sides: readonly ReturnType<typeof split>[]): void {
  const fail = (problem: string, hint: string): never => {
    throw new ConfigError({ path: `name map "${foreign}" ↔ "${ours}"`, problem, hint });
  };
  for (const { text, holes } of sides) {
    if (text.some((t) => /[{}]/.test(t))) fail('an unmatched brace', 'Write a placeholder as {name}');
    if (new Set(holes).size !== holes.length) fail('a placeholder appears twice on one side', 'Rename one of the placeholders');
    if (text.slice(1, -1).includes(''))
      fail('two placeholders without text between them', 'Put text between them, or merge them');
  }
  const [a, b] = sides.map(({ holes }) => [...holes].sort().join(', '));
  if (a !== b)
    fail(`the sides have different placeholders: ${a || 'none'} and ${b || 'none'}`, 'Use every placeholder once on each side');
}

/**
 * A two-way map of weight names, from ordered pairs of patterns; the first that matches is used.
 *
 * A placeholder `{i}`, `{j}`, `{k}` or `{n}` matches a number, any other matches text without a dot; at the start or end of either pattern it may
 * span dots. Mapping there and back is the identity for names that only one pair matches.
 *
 *     nameMap([['model.layers.{i}.self_attn.{x}', 'layers.{i}.mixer.{x}']]).toOurs('model.layers.3.self_attn.q_proj.weight')
 *     // 'layers.3.mixer.q_proj.weight'
 *
 * @throws ConfigError when the sides of a pair have different placeholders, or placeholders that cannot be told apart
 */
export function nameMap(pairs: readonly (readonly [foreign: string, ours: string])[]): NameMap {
  checkArguments('nameMap', { pairs });
  const compiled = pairs.map(([foreign, ours]) => {
    const sides = [split(foreign), split(ours)] as const;
    check(foreign, ours, sides);
    const wide = new Set(sides.flatMap(open));
    return { foreign: compile(sides[0], wide), ours: compile(sides[1], wide) };
  });
  const first = (rename: (pair: (typeof compiled)[number]) => string | undefined): string | undefined => {
    for (const pair of compiled) {
      const name = rename(pair);
      if (name !== undefined) return name;
    }
    return undefined;
  };
  return {
    toOurs: (name) => first((pair) => rename(name, pair.foreign, pair.ours)),
    toForeign: (name) => first((pair) => rename(name, pair.ours, pair.foreign)),
  };
}
