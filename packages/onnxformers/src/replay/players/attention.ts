// Attention mechanisms by themselves, on folded heads [batch · heads, seq, head_dim].
import { directionsOfRun, randomFeatures } from '@onnxformers/attention';
import {
  ConfigError,
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
import { fromXFormers, noCounterpart } from '../../import/xformers/index';
import { zoo } from '../../index';
import type { FixtureCase } from '../fixture-set';
import { build, type Inputs, type Player, playByHand, playOf, recorded, tensorOf, weightsOf } from '../play';
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

/** The features of x. */
export const featureMap: Player = (c) => {
  const [, name] = /map\.(\w+?)(_norm)?$/.exec(c.id) ?? [];
  const maps = { SMOrf: 'orthogonal', SMHyperbolic: 'hyperbolic', SMReg: 'regularized' } as const;
  if (!name || !Object.hasOwn(maps, name))
    throw new ConfigError({ path: c.id, problem: noCounterpart, got: 'lengths of random directions of the original' });
  const feeds = { x: tensorOf(c.in, 'x'), features: tensorOf(c.state, 'features') };
  return playByHand({}, new Map(), feeds, ({ x, features }) => ({
    y: randomFeatures(x!, features!, maps[name as keyof typeof maps], c.config.normalize_inputs === true),
  }));
};

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
