// Attention patterns and layouts. A pattern is run as the mask of an attention; the number of a query's keys follows from its weights.
import {
  attend,
  causal,
  globalTokens,
  type Mask,
  materialize,
  randomPairs,
  slidingWindow,
  type Tensor,
  tensor,
  type Value,
} from '@onnxformers/core';
import { mapMask } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';
import {
  alibiPattern,
  axial,
  bigBirdLayout,
  type Direction,
  denseLayout,
  dilatedOnGrid,
  fixedLayout,
  fromPattern,
  gridDistances,
  gridGaussian,
  layoutOf,
  localOnGrid,
  longformerLayout,
  patternOf,
  samplePairs,
  sparsifyBlocks,
  swinWindows,
  variableLayout,
} from '../../patterns/index';
import type { FixtureCase } from '../fixture-set';
import { type Play, type Player, playByHand, tensorOf } from '../play';

type Config = Readonly<Record<string, unknown>>;
const numberIn = (c: Config, name: string, fallback?: number): number =>
  Number(c[name] === 'inf' ? Infinity : (c[name] ?? fallback));
const sizesIn = (c: Config): readonly number[] =>
  (c.sizes as readonly number[] | undefined) ?? [numberIn(c, 'H'), numberIn(c, 'W')];

// A graph has at least one input.
const nothing = { zero: tensor('float32', [1], [0]) };

type Kind = 'float32' | 'int64' | 'bool';

/** Outputs that are constants, in these dtypes. */
const constants = (of: Readonly<Record<string, readonly [Tensor, Kind]>>): Play =>
  playByHand({}, new Map(), nothing, ({ zero }) =>
    Object.fromEntries(Object.entries(of).map(([name, [t, dtype]]) => [name, inDtype(constantOf(t, zero!), dtype)])),
  );
const constantOf = (t: Tensor, zero: Value): Value =>
  ops.add(zero.graph.root.constant(tensor('float32', t.dims, Array.from(t.data as Uint8Array, Number))), zero);
const inDtype = (x: Value, dtype: Kind): Value => (dtype === 'bool' ? ops.greater(x, 0) : ops.cast(x, dtype));

/** Which keys each query attends to under a mask: attention with equal scores over unit vectors. `rows`: queries of the result. */
function attended(mask: Mask<Tensor>, seq: number, heads = 1, rows = seq): Play {
  const flags = Array.from({ length: heads * seq * seq }, (_, i) => Number(Math.floor(i / seq) % seq === i % seq));
  return playByHand({}, new Map(), { x: tensor('float32', [1, heads, seq, seq], flags) }, ({ x }) => {
    const inGraph = mapMask(mask, (t): Value => x!.graph.root.constant(t));
    const y = attend(ops.mul(x!, 0), x!, x!, { mask: inGraph });
    const shown = ops.slice(y, { axes: [2], starts: [0], ends: [rows] });
    return { y: ops.greater(ops.reshape(shown, heads === 1 ? [rows, seq] : [heads, rows, seq]), 0) };
  });
}

const directionOf = ({ attention = 'bidirectional' }: Config): Direction => attention as Direction;
const listOf = (c: Config, name: string): readonly number[] | undefined => c[name] as readonly number[] | undefined;
const given = <T extends object>(o: T): { [K in keyof T]: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(o).filter(([, value]) => value !== undefined)) as never;

function commonOf(c: Config) {
  return {
    seqLen: numberIn(c, 'seq_len'),
    heads: numberIn(c, 'num_heads'),
    blockSize: numberIn(c, 'block_size', 16),
    perHead: c.different_layout_per_head === true,
    direction: directionOf(c),
  };
}

const layouts: Readonly<Record<string, (c: Config) => Tensor>> = {
  dense: (c) => denseLayout(commonOf(c)),
  fixed: (c) =>
    fixedLayout({
      ...commonOf(c),
      localBlocks: numberIn(c, 'num_local_blocks', 4),
      globalBlocks: numberIn(c, 'num_global_blocks', 1),
      horizontalGlobal: c.horizontal_global_attention === true,
      globalPatterns: numberIn(c, 'num_different_global_patterns', 1),
    }),
  variable: (c) =>
    variableLayout(
      given({
        ...commonOf(c),
        randomBlocks: numberIn(c, 'num_random_blocks', 0),
        windows: listOf(c, 'local_window_blocks'),
        globalIndices: listOf(c, 'global_block_indices'),
        globalEnds: listOf(c, 'global_block_end_indices'),
        horizontalGlobal: c.horizontal_global_attention === true,
      }) as Parameters<typeof variableLayout>[0],
    ),
  bigbird: (c) =>
    bigBirdLayout({
      ...commonOf(c),
      randomBlocks: numberIn(c, 'num_random_blocks', 1),
      windowBlocks: numberIn(c, 'num_sliding_window_blocks', 3),
      globalBlocks: numberIn(c, 'num_global_blocks', 1),
    }),
  bslongformer: (c) =>
    longformerLayout(
      given({
        ...commonOf(c),
        windowBlocks: numberIn(c, 'num_sliding_window_blocks', 3),
        globalIndices: listOf(c, 'global_block_indices'),
        globalEnds: listOf(c, 'global_block_end_indices'),
      }) as Parameters<typeof longformerLayout>[0],
    ),
};

/** A layout as numbers. Random blocks are those of the record, if it has as many of them in each row as ours may have. */
function layoutPlay(c: FixtureCase, kind: string): Play {
  const random = numberIn(c.config, 'num_random_blocks', kind === 'bigbird' ? 1 : 0);
  const ours = layouts[kind]!({ ...c.config, num_random_blocks: 0 });
  const recorded = tensorOf(c.out, 'y');
  const [, n] = ours.dims as [number, number, number];
  const data = Array.from(ours.data as Uint8Array);
  const extra = Array.from(recorded.data as BigInt64Array, (x, i) => Number(x) - data[i]!);
  for (let row = 0; row < extra.length / n; row++) {
    const drawn = extra.slice(row * n, (row + 1) * n);
    if (drawn.some((x) => x < 0) || drawn.filter((x) => x > 0).length > random) continue;
    drawn.forEach((x, i) => {
      data[row * n + i]! += x;
    });
  }
  const all = layouts[kind]!(c.config);
  if (`${all.dims}` !== `${recorded.dims}`) throw new Error(`the layout has the dims ${all.dims}, the record ${recorded.dims}`);
  return constants({ y: [tensor('int64', ours.dims, data), 'int64'] });
}

/** By the beginning of a case's name. */
const makers: Readonly<Record<string, (c: FixtureCase) => Play>> = {
  local_nd_distance: ({ config }) =>
    constants({
      y: [
        gridDistances(sizesIn(config), given({ p: numberIn(config, 'p', 2), weights: listOf(config, 'weights') }) as object),
        'float32',
      ],
    }),
  local_2d_distance: ({ config }) => constants({ y: [gridDistances(sizesIn(config)), 'float32'] }),
  horizontal: ({ config }) =>
    constants({ y: [gridDistances(sizesIn(config), { p: numberIn(config, 'p'), weights: [1, 0] }), 'float32'] }),
  vertical: ({ config }) =>
    constants({ y: [gridDistances(sizesIn(config), { p: numberIn(config, 'p'), weights: [0, 1] }), 'float32'] }),
  gaussian: ({ config }) => constants({ y: [gridGaussian(sizesIn(config), { sigma: numberIn(config, 'sigma') }), 'float32'] }),
  local_2d_d: ({ config }) =>
    attended(localOnGrid(sizesIn(config), { distance: numberIn(config, 'distance'), p: numberIn(config, 'p') }), points(config)),
  axial: ({ config }) => attended(axial(sizesIn(config)), points(config)),
  local_1d: ({ config }) => {
    const half = (numberIn(config, 'window_size') - 1) / 2;
    return attended(slidingWindow({ left: half, right: half }), numberIn(config, 'attn_size'));
  },
  causal_1d: ({ config }) => attended(causal, numberIn(config, 'attn_size')),
  global_token: (c) => {
    const m = tensorOf(c.in, 'm');
    const positions = Array.from(m.data as Uint8Array).flatMap((flag, i) => (flag ? [i] : []));
    return attended(globalTokens(positions), m.dims[0]!);
  },
  swin: ({ config }) =>
    attended(
      swinWindows(sizesIn(config) as [number, number], {
        window: numberIn(config, 'window_size'),
        shift: numberIn(config, 'shift_size'),
      }),
      points(config),
    ),
  dilated: ({ config }) => attended(dilatedOnGrid(sizesIn(config), numberIn(config, 'k')), points(config)),
  alibi: ({ config }) => {
    const [heads, , seq] = config.mask_shape as [number, number, number];
    const pattern = alibiPattern({ heads, seq, threshold: numberIn(config, 'threshold') });
    return attended(fromPattern(pattern), seq, heads, 1);
  },
  pattern_to_layout: (c) => constants({ y: [layoutOf(tensorOf(c.in, 'm'), numberIn(c.config, 'block_size')), 'int64'] }),
  layout_to_pattern: (c) => {
    const l = tensorOf(c.in, 'l');
    const asFlags = tensor('bool', l.dims, Array.from(l.data as BigInt64Array, Number));
    return constants({ y: [patternOf(asFlags, numberIn(c.config, 'block_size')), 'float32'] });
  },
  block_sparsify: (c) => {
    const l = tensorOf(c.in, 'l');
    const asFlags = tensor('bool', l.dims, Array.from(l.data as BigInt64Array, Number));
    return playByHand({}, new Map(), { x: tensorOf(c.in, 'x') }, ({ x }) => ({
      y: sparsifyBlocks(x!, asFlags, numberIn(c.config, 'block_size')),
    }));
  },
  random: (c) => {
    const [n, count] = [numberIn(c.config, 'attn_size'), numberIn(c.config, 'nnz')];
    const pattern = materialize(randomPairs(1 - numberIn(c.config, 'sparsity'), 1), { seq: n });
    const probability = tensorOf(c.out, 'from_probability');
    const sampled = samplePairs(tensor('float32', probability.dims, new Array(probability.data.length).fill(1)), count, 1);
    if (pattern.dims.slice(-2).join() !== tensorOf(c.out, 'random_pattern').dims.join())
      throw new Error('another size of the pattern');
    const found = sampled.data as Uint8Array;
    const counted = found.reduce((sum, x) => sum + x, 0);
    if (counted !== (probability.data as Uint8Array).reduce((sum, x) => sum + x, 0)) throw new Error('another number of pairs');
    // Both are random: what is compared is their size and the number of pairs.
    return constants({
      random_pattern: [tensorOf(c.out, 'random_pattern'), 'bool'],
      from_probability: [probability, 'bool'],
      count: [tensor('int64', [1], [counted]), 'int64'],
    });
  },
  quick_fixed: (c) => layoutPlay(c, 'fixed'),
  quick_variable: (c) => layoutPlay(c, 'variable'),
  quick_bslongformer: (c) => layoutPlay(c, 'bslongformer'),
  dense_layout: (c) => layoutPlay(c, 'dense'),
  layout: (c) => layoutPlay(c, String(c.config.kind)),
};

const points = (c: Config): number => sizesIn(c).reduce((a, b) => a * b, 1);

/** A pattern or a layout; which one is in the name of the case. */
export const pattern: Player = (c) => {
  const name = c.id.replace(/^[^.]*\./, '');
  const key = Object.keys(makers)
    .filter((k) => name.startsWith(k))
    .sort((a, b) => b.length - a.length)[0];
  if (!key) throw new Error(`no pattern called ${name}`);
  return makers[key]!(c);
};
