// Patterns as plain JSON: names and options, combined by `and`, `or` and `not`.
import {
  and,
  blockLayout,
  ConfigError,
  causal,
  describe,
  dilated,
  globalTokens,
  type Mask,
  nearest,
  not,
  or,
  prefix,
  randomPairs,
  slidingWindow,
  type Tensor,
} from '@onnxformers/core';
import { type Options, optionsOf } from '../import/options';
import { axial, dilatedOnGrid, localOnGrid, swinWindows } from './grid';
import { bigBirdLayout, denseLayout, fixedLayout, longformerLayout, variableLayout } from './layouts';
import { alibiPattern, fromPattern } from './pattern';

/** A pattern as plain JSON: `{ "name": "swin", "sizes": [8, 8], "window": 4 }`, or `{ "and": [pattern, …] }`, `{ "or": […] }`, `{ "not": pattern }`. */
export type PatternConfig = Readonly<Record<string, unknown>>;

/** A named pattern: its mask, and its sizes where its options say them. */
export interface NamedPattern {
  readonly mask: Mask<Tensor>;
  /** Number of positions. */
  readonly seq?: number;
  /** Number of heads, if they differ. */
  readonly heads?: number;
}

const sizesOf = (o: Options): readonly number[] => {
  const sizes = o.any('sizes');
  if (Array.isArray(sizes) && sizes.length && sizes.every((n) => Number.isSafeInteger(n) && n > 0)) return sizes as number[];
  throw new ConfigError({ path: `${o.path}.sizes`, problem: 'wrong value', expected: 'a list of sizes', got: describe(sizes) });
};
const onGrid = (o: Options, make: (sizes: readonly number[]) => Mask<never>): NamedPattern => {
  const sizes = sizesOf(o);
  return { mask: make(sizes), seq: sizes.reduce((a, b) => a * b, 1) };
};
const listIn = (o: Options, name: string): { readonly [name: string]: readonly number[] } => {
  const value = o.any(name);
  if (value === undefined) return {};
  if (Array.isArray(value) && value.every(Number.isSafeInteger)) return { [name]: value as number[] };
  throw new ConfigError({
    path: `${o.path}.${name}`,
    problem: 'wrong value',
    expected: 'a list of integers',
    got: describe(value),
  });
};
const intIn = (o: Options, name: string): { readonly [name: string]: number } =>
  o.any(name) === undefined ? {} : { [name]: o.int(name, { min: 0 }) };

function ofBlocks(o: Options, make: (common: Parameters<typeof denseLayout>[0]) => Tensor): NamedPattern {
  const blockSize = o.int('blockSize', { default: 16 });
  const common = { seqLen: o.int('seqLen'), heads: o.int('heads', { default: 1 }), blockSize, perHead: o.bool('perHead', false) };
  return { mask: blockLayout(make(common), blockSize), seq: common.seqLen, heads: common.perHead ? common.heads : 1 };
}
const directionIn = (o: Options) => ({ direction: o.word('direction', ['bidirectional', 'unidirectional'], 'bidirectional') });

const named: Readonly<Record<string, (o: Options) => NamedPattern>> = {
  causal: () => ({ mask: causal }),
  window: (o) => ({ mask: slidingWindow({ left: o.int('left', { min: 0 }), right: o.int('right', { min: 0 }) }) }),
  dilated: (o) => ({ mask: dilated(o.int('step')) }),
  prefix: (o) => ({ mask: prefix(o.int('count', { min: 0 })) }),
  global: (o) => {
    const { positions } = listIn(o, 'positions');
    return { mask: positions ? globalTokens(positions) : globalTokens(o.int('count', { min: 0 })) };
  },
  random: (o) => ({ mask: randomPairs(o.num('density'), o.int('seed', { min: 0, default: 0 })) }),
  local: (o) =>
    onGrid(o, (sizes) => {
      const p = o.any('p') === 'Infinity' ? Number.POSITIVE_INFINITY : o.num('p', { default: 2 });
      return localOnGrid(sizes, { distance: o.num('distance'), p });
    }),
  axial: (o) => onGrid(o, axial),
  swin: (o) =>
    onGrid(o, (sizes) =>
      swinWindows(sizes as readonly [number, number], { window: o.int('window'), shift: o.int('shift', { min: 0, default: 0 }) }),
    ),
  dilated_grid: (o) => onGrid(o, (sizes) => dilatedOnGrid(sizes, o.int('step'))),
  alibi: (o) => {
    const sizes = { heads: o.int('heads'), seq: o.int('seqLen') };
    return { mask: fromPattern(alibiPattern({ ...sizes, threshold: o.num('threshold') })), ...sizes };
  },
  dense: (o) => ofBlocks(o, denseLayout),
  fixed: (o) =>
    ofBlocks(o, (common) =>
      fixedLayout({
        ...common,
        ...directionIn(o),
        ...intIn(o, 'localBlocks'),
        ...intIn(o, 'globalBlocks'),
        ...intIn(o, 'globalPatterns'),
        horizontalGlobal: o.bool('horizontalGlobal', false),
      }),
    ),
  variable: (o) =>
    ofBlocks(o, (common) =>
      variableLayout({
        ...common,
        ...directionIn(o),
        ...intIn(o, 'randomBlocks'),
        ...intIn(o, 'seed'),
        ...listIn(o, 'windows'),
        ...listIn(o, 'globalIndices'),
        ...listIn(o, 'globalEnds'),
        horizontalGlobal: o.bool('horizontalGlobal', false),
      }),
    ),
  big_bird: (o) =>
    ofBlocks(o, (common) =>
      bigBirdLayout({
        ...common,
        ...directionIn(o),
        ...intIn(o, 'randomBlocks'),
        ...intIn(o, 'windowBlocks'),
        ...intIn(o, 'globalBlocks'),
        ...intIn(o, 'seed'),
      }),
    ),
  longformer: (o) =>
    ofBlocks(o, (common) =>
      longformerLayout({
        ...common,
        ...directionIn(o),
        ...intIn(o, 'windowBlocks'),
        ...listIn(o, 'globalIndices'),
        ...listIn(o, 'globalEnds'),
      }),
    ),
};

/** The names of patterns. */
export const patternNames: readonly string[] = Object.keys(named);

/**
 * The mask of a pattern that is given as plain JSON.
 *
 * Throws   ConfigError for an unknown name or option and a wrong value, and for parts of different sizes · ShapeError for sizes that do not fit
 * Example  const { mask } = patternFrom({ and: [{ name: 'causal' }, { name: 'window', left: 7, right: 0 }] });
 */
export function patternFrom(config: unknown, path = 'pattern'): NamedPattern {
  const o = optionsOf(config, path);
  const kinds = ['and', 'or', 'not'].filter((kind) => o.any(kind) !== undefined);
  if (kinds.length) return combined(o, kinds, path);
  const name = o.any('name');
  if (typeof name !== 'string' || !Object.hasOwn(named, name)) {
    const near = typeof name === 'string' ? nearest(name, patternNames) : undefined;
    throw new ConfigError({
      path: `${path}.name`,
      problem: 'no such pattern',
      got: describe(name),
      hint: `${near ? `Did you mean "${near}"? ` : ''}Patterns: ${patternNames.join(', ')}`,
    });
  }
  const found = named[name]!(o);
  o.finish();
  return found;
}

function combined(o: Options, kinds: readonly string[], path: string): NamedPattern {
  o.finish();
  const [kind] = kinds;
  const given = o.any(kind!);
  const list = kind === 'not' ? [given] : given;
  if (kinds.length > 1 || !Array.isArray(list) || !list.length)
    throw new ConfigError({
      path: `${path}.${kind}`,
      problem: 'not a combination of patterns',
      expected: 'one of and, or (lists of patterns) and not (a pattern)',
      got: kinds.length > 1 ? kinds.join(' and ') : describe(given),
    });
  const parts = list.map((part, i) => patternFrom(part, kind === 'not' ? `${path}.not` : `${path}.${kind}[${i}]`));
  const masks = parts.map(({ mask }) => mask);
  const mask = kind === 'and' ? and(...masks) : kind === 'or' ? or(...masks) : not(masks[0]!);
  return { mask, ...sameOf(parts, 'seq', path), ...sameOf(parts, 'heads', path) };
}

function sameOf(parts: readonly NamedPattern[], size: 'seq' | 'heads', path: string): { readonly [size: string]: number } {
  const sizes = [...new Set(parts.flatMap((part) => part[size] ?? []).filter((n) => size === 'seq' || n > 1))];
  if (sizes.length > 1)
    throw new ConfigError({ path, problem: `patterns of different ${size}`, expected: 'the same', got: sizes.join(' and ') });
  return sizes.length ? { [size]: sizes[0]! } : {};
}
