// Attention mechanisms by themselves, on folded heads [batch · heads, seq, head_dim].
import { directionsOfRun, randomFeatures } from '@onnxformers/attention';
import {
  type Kind,
  type KindModule,
  padded,
  type SequenceContext,
  type Tensor,
  tensor,
  type Value,
  withContext,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { fromXFormers } from '../../import/xformers/index';
import { zoo } from '../../index';
import type { FixtureCase } from '../fixture-set';
import { build, type Inputs, type Play, type Player, playByHand, playOf, recorded, tensorOf, weightsOf } from '../play';
import { isSparse, masked, maskOf, paddingByHead, paddingOf, roundedDown } from './masks';
import { recordedPattern } from './random-pattern';
import { recordedDraws } from './recorded-draws';
import { recordedLayout } from './recorded-layout';

/** A mechanism on q, k and v. */
export const attention: Player = (c) => {
  const [q, k] = ['q', 'k'].map((name) => tensorOf(c.in, name)) as [Tensor, Tensor];
  const [folded, seq, width] = q.dims as [number, number, number];
  const kvSeq = k.dims[1]!;
  const { kind } = fromXFormers(c.config, recorded);
  const built = build(kind as Kind, c.config, weightsOf(c), recorded, (config) => {
    if (kind === 'mixer') return { dim: width, ...config };
    return config.name === 'favor' ? { headDim: width, ...config } : config;
  });
  if (kind === 'mixer')
    return playOf(built, Object.fromEntries(c.in), (block, inputs, ctx) => ({
      y: (block as KindModule<'mixer'>)(inputs.q!, ctx),
    }));
  const { heads, padding: given } = paddingByHead(c.in.get('key_padding_mask'), Number(c.config.num_heads ?? 1));
  const sizes = { batch: folded / heads, heads, seq, kvSeq };
  const feeds = { ...Object.fromEntries(c.in), ...(given && { key_padding_mask: given }) };
  const play = playOf(built, feeds, (block, inputs, ctx) => {
    const split = (x: Value) => ops.reshape(x, [sizes.batch, heads, ...x.dims.slice(1)]);
    const padding = inputs.key_padding_mask && ops.reshape(inputs.key_padding_mask, [sizes.batch, kvSeq]);
    const at = alignedLeft(masked(ctx, maskOf(inputs.att_mask, sizes, c), paddingOf(padding)), c, sizes, inputs);
    const y = (block as KindModule<'attention'>)(split(inputs.q!), split(inputs.k!), split(inputs.v!), at);
    return { y: ops.reshape(y, [folded, ...y.dims.slice(2)]) };
  });
  return { ...play, draws: recordedDraws(c, 'block', seq, kvSeq) };
};

// Causal with different numbers of queries and keys: both are counted from 0.
function alignedLeft(
  ctx: SequenceContext,
  c: FixtureCase,
  { batch, seq, kvSeq }: { batch: number; seq: number; kvSeq: number },
  { q }: Inputs,
): SequenceContext {
  if (c.config.causal !== true || seq === kvSeq) return ctx;
  const queryOffset = q!.graph.root.constant(tensor('int64', [batch], new Array(batch).fill(0)));
  return withContext(ctx, { keys: { layout: padded, queryOffset } });
}

/** Attention by random features; a record of redraws has the runs of which the features differ from those of the run before. */
export const favor: Player = (c) => {
  const flags = c.out.get('redrawn_at_forward');
  if (!flags) return attention(c);
  const { iter_before_redraw: period, dim_features: features } = c.config as Readonly<Record<string, number>>;
  const headDim = tensorOf(c.in, 'q').dims.at(-1)!;
  return playByHand({}, new Map(), { q: tensorOf(c.in, 'q') }, ({ q }) => {
    const directions = Array.from({ length: flags.dims[0]! }, (_, run) => {
      const number = q!.graph.root.number(Math.floor(run / period!), 'int64');
      return directionsOfRun(number, { headDim, features: features!, map: 'regularized' }, 0);
    });
    const differs = (a: Value, b: Value) => ops.greater(ops.reduceMax(ops.abs(ops.sub(a, b)), [0, 1], { keepDims: false }), 0);
    const redrawn = directions.map((own, run) =>
      run ? ops.cast(differs(own, directions[run - 1]!), flags.dtype) : q!.graph.root.number(1, flags.dtype),
    );
    return {
      redrawn_at_forward: ops.concat(
        redrawn.map((flag) => ops.reshape(flag, [1])),
        0,
      ),
    };
  });
};

/** Attention under a layout of blocks, which is a tensor of the record. */
export const blocksparse: Player = (c) => {
  const built = build('attention', { ...c.config, layout: recordedLayout(c) }, new Map());
  return playOf(built, Object.fromEntries(c.in), (block, { q, k, v }, ctx) => ({ y: block(q!, k!, v!, ctx) }));
};

/** The features of x; a record without x has the products of the rows of random directions. */
export const featureMap: Player = (c) => {
  if (!c.in.has('x')) return products(c);
  const [, name] = /map\.(\w+?)(_norm)?$/.exec(c.id) ?? [];
  if (!name || !Object.hasOwn(originalMaps, name)) throw new Error(`no feature map "${name}"`);
  const map = originalMaps[name as keyof typeof originalMaps];
  const feeds = { x: tensorOf(c.in, 'x'), features: tensorOf(c.state, 'features') };
  return playByHand({}, new Map(), feeds, ({ x, features }) => ({
    y: randomFeatures(x!, features!, map, c.config.normalize_inputs === true),
  }));
};
const originalMaps = { SMOrf: 'orthogonal', SMHyperbolic: 'hyperbolic', SMReg: 'regularized' } as const;

/**
 * The products of the rows of random directions, one row for each channel, as the original orders them. The lengths that it draws are recorded nowhere but in these
 * products, on the diagonal, and are taken from there; those of SMReg are √channels.
 */
function products(c: FixtureCase): Play {
  const { dim_input: channels, dim_features: features } = c.config as Readonly<Record<string, number>>;
  const recordedSquares = (name: string): readonly number[] =>
    Array.from({ length: channels! }, (_, i) => Number(tensorOf(c.out, name).data[i * (channels! + 1)]));
  return playByHand({}, new Map(), { squares: tensor('float32', [1], [channels!]) }, ({ squares }) => {
    const g = squares!.graph.root;
    const product = (name: keyof typeof originalMaps): Value => {
      const width = name === 'SMOrf' ? features! : features! / 2;
      const sized = { map: 'regularized', headDim: width, features: 2 * channels! } as const;
      const rows = ops.div(ops.swapLast(directionsOfRun(g.number(0, 'int64'), sized, 0)), Math.sqrt(width));
      const lengths =
        name === 'SMReg' ? ops.expand(squares!, [channels!]) : g.number(recordedSquares(`${name}.gram_rows`), 'float32');
      const directions = ops.mul(rows, ops.unsqueeze(ops.sqrt(lengths), [1]));
      return ops.matmul(directions, ops.swapLast(directions));
    };
    const names = Object.keys(originalMaps) as (keyof typeof originalMaps)[];
    return Object.fromEntries(names.map((name) => [`${name}.gram_rows`, product(name)]));
  });
}

/** Attention under a random pattern, which has rows and columns for the zeros that the original adds to a shorter sequence. */
export const random: Player = (c) => {
  const { pattern, feeds, change, mask } = recordedPattern(c);
  const length = pattern!.dims.at(-1)!;
  const seq = tensorOf(c.in, 'q').dims[1]!;
  const built = build('attention', c.config, new Map(), recorded, change);
  return playOf(built, { ...Object.fromEntries(c.in), ...feeds }, (block, inputs, ctx) => {
    const longer = (x: Value) => ops.unsqueeze(ops.padTo(x, 1, length), [1]);
    const user = maskOf(inputs.att_mask, { batch: inputs.q!.dims[0] as number, heads: 1, seq: length, kvSeq: length }, c);
    const y = block(longer(inputs.q!), longer(inputs.k!), longer(inputs.v!), masked(ctx, mask(inputs), user));
    return { y: ops.cropTo(ops.squeeze(y, [1]), 1, seq) };
  });
};

/** Softmax attention on the positions of a mask that may be stored sparsely: a pattern of pairs, or where it differs between sequences a mask. */
export const sparse: Player = (c) => {
  const mask = tensorOf(c.in, 'att_mask');
  const forward = String(c.call.forward);
  const exact = forward.includes('COO') || (forward.includes('maybe_sparsify') && !isSparse(mask));
  const kept = c.ref.get('kept_positions') ?? (exact ? mask : roundedDown(mask));
  const lists = listsOf(kept);
  const block = lists ? zoo.build('attention', { name: 'sparse', keys: [lists] }) : zoo.build('attention', 'scaled_dot_product');
  const feeds = { ...Object.fromEntries(c.in), att_mask: kept };
  return playOf({ block: block as KindModule<'attention'>, weights: new Map() }, feeds, (attend, inputs, ctx) => {
    const { q, k, v } = inputs as { q: Value; k: Value; v: Value };
    const split = (x: Value) => ops.reshape(x, [x.dims[0]!, 1, ...x.dims.slice(1)]);
    const [batch, seq, kvSeq] = [q.dims[0], q.dims[1], k.dims[1]] as [number, number, number];
    const user = lists ? undefined : maskOf(inputs.att_mask, { batch, heads: 1, seq, kvSeq }, c);
    const y = (attend as KindModule<'attention'>)(split(q), split(k), split(v), masked(ctx, user));
    return { y: ops.reshape(y, [batch, ...y.dims.slice(2)]) };
  });
};

/** The keys of each query, where all sequences have as many keys as queries and the same flags. */
function listsOf({ dtype, dims, data }: Tensor): number[][] | undefined {
  const [rows, columns] = dims.slice(-2) as [number, number];
  if (dtype !== 'bool' || rows !== columns) return undefined;
  const flags = Array.from(data as Uint8Array);
  const first = flags.slice(0, rows * columns);
  if (flags.some((flag, at) => flag !== first[at % first.length])) return undefined;
  return Array.from({ length: rows }, (_, i) =>
    Array.from({ length: columns }, (__, j) => j).filter((j) => first[i * columns + j]),
  );
}
