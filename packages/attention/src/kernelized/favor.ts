// Softmax attention estimated by random features. Choromanski et al. 2020, https://arxiv.org/abs/2009.14794
import {
  attendsToMemory,
  bool,
  ConfigError,
  ceilDivDims,
  choice,
  type Dim,
  defineBlock,
  divDims,
  dropout,
  init,
  int,
  type Mask,
  module,
  mulDims,
  num,
  Parameter,
  type SequenceContext,
  ShapeError,
  subDims,
  type Value,
} from '@onnxformers/core';
import { derive, expressedBy } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';
import { perQueryHead, timesKeyHead } from '../heads';
import { zeroed } from '../kept-rows';
import { headsOfWidth } from './heads-of-width';
import {
  directionsOf,
  directionsOfRun,
  type FeatureMap,
  type FeatureOptions,
  featureMaps,
  type LogFeatures,
  logFeatures,
  randomDirections,
} from './random-features';

/**
 * Softmax attention estimated by random features (Performer): time and memory linear in the sequence, also if causal.
 *
 *     y_i = φ(q_i)ᵀ Σ_j φ(k_j) v_jᵀ / φ(q_i)ᵀ Σ_j φ(k_j)      φ(x) = exp(± w · x / dim^¼ − |x|² / (2 √dim)) for random directions w; j ≤ i if causal
 *
 * - `orthogonal`    directions that are orthogonal in blocks of headDim, with the lengths of normal vectors
 * - `hyperbolic`    half as many directions, each with both signs
 * - `regularized`   the same with directions of length √headDim
 *
 * Directions are stored with the weights; with `redraw` they are computed from the seed and the number of the run instead.
 *
 * Shapes   q [batch, heads, seq, headDim] · k, v [batch, kv_heads, kv_seq, …] → [batch, heads, seq, value_dim]
 * Dtypes   float32, float16, bfloat16; computed in float32
 * Masks    causal, lengths, keyPadding
 * Cost     time O((seq + kv_seq) · features · dim), memory O((seq + kv_seq) · features); if causal O(64 · seq · heads) and
 *          O(seq / 64 · features · dim) more
 * Throws   ConfigError for an odd number of features in pairs, another mask, an attention bias or a cache of fixed capacity · ShapeError for another width
 * Source   Choromanski et al. 2020, https://arxiv.org/abs/2009.14794
 * Lowers   everywhere: MatMul, Exp, CumSum if causal
 * Example  const block = favor({ headDim: 64, features: 256 });
 */
export const favor = defineBlock({
  kind: 'attention',
  name: 'favor',
  summary: 'Softmax attention estimated by random features.',
  source: 'Choromanski et al. 2020, https://arxiv.org/abs/2009.14794',
  masks: ['causal', 'lengths', 'keyPadding'],
  fields: {
    /** channels of a query or key head. Inherited from the enclosing block. */
    headDim: int({ doc: 'channels of a query or key head', unit: 'channels', min: 1, max: 512, inherit: true }),
    /** number of random features; default about headDim · (1 + log₂ headDim). Default: computed from other options. */
    features: int({
      doc: 'number of random features; default about headDim · (1 + log₂ headDim)',
      min: 1,
      max: 8192,
      default: (c: { headDim: number }) => Math.max(2, 2 * Math.floor(Math.ceil(c.headDim * (1 + Math.log2(c.headDim))) / 2)),
    }),
    /** which features are made of a random direction. Default: `"regularized"`. */
    map: choice(featureMaps, { doc: 'which features are made of a random direction', default: 'regularized' }),
    /** seed of the directions. Default: `0`. */
    seed: int({ doc: 'seed of the directions', min: 0, default: 0 }),
    /** number of runs after which the directions are others. Optional. */
    redraw: int({ doc: 'number of runs after which the directions are others', unit: 'runs', min: 1, optional: true }),
    /** no query attends to a later key. Default: `false`. */
    causal: bool({ doc: 'no query attends to a later key', default: false }),
    /** dropout probability of the result in training. Default: `0`. */
    dropout: num({ doc: 'dropout probability of the result in training', min: 0, max: 0.99, default: 0 }),
    /** xformers: with causal, the result is the running mean of the channels of each value. Optional. */
    compat: choice(['xformers'], {
      doc: 'xformers: with causal, the result is the running mean of the channels of each value',
      optional: true,
    }),
  },
  inputs: headsOfWidth,
  examples: [
    { headDim: 8, features: 11, map: 'orthogonal' },
    { headDim: 8, features: 6, map: 'hyperbolic', causal: true },
    { headDim: 8 },
    { headDim: 8, features: 4, causal: true, compat: 'xformers' },
  ],
  properties: ({ causal, compat }) => ['batchIndependent', 'linear', ...(causal && !compat ? (['causal'] as const) : [])],
  create(c, { path }) {
    const { map, headDim, features, seed, redraw, causal, compat, dropout: probability } = c;
    if (map !== 'orthogonal' && features % 2)
      throw new ConfigError({
        path: `${path}.features`,
        problem: `the map ${map} makes two features of each direction`,
        expected: 'an even number',
        got: String(features),
      });
    const size: FeatureOptions = { map, headDim, features };
    const stored = redraw
      ? undefined
      : new Parameter([headDim, directionsOf(size)], init.values(randomDirections(size, seed)), {
          part: 'other',
          trainable: false,
        });
    const directions = (near: Value): Value => {
      const g = near.graph.root;
      if (stored) return ops.cast(g.param(stored), 'float32');
      return directionsOfRun(ops.div(derive(g, 'run', { dtype: 'int64', dims: [] }, []), redraw!), size, seed);
    };
    return module({ features: stored }, (q: Value, k: Value, v: Value, ctx: SequenceContext) => {
      const { ordered, keep } = readMask(ctx, k, path);
      refuse(q, k, ctx, path, headDim, ordered || causal);
      const y =
        compat && causal
          ? runningMean(perQueryHead(v, q))
          : attended(q, k, v, { directions: directions(q), map, keep, ordered: ordered || causal });
      return dropout(ops.cast(y, q.dtype), probability);
    });
  },
});

function refuse(q: Value, k: Value, ctx: SequenceContext, path: string, headDim: number, ordered: boolean): void {
  const got =
    (ctx.bias && 'an attention bias') ||
    (ctx.keys?.queryOffset && 'a cache of fixed capacity') ||
    (ordered && attendsToMemory(ctx) && 'a causal mask on a memory');
  if (got)
    throw new ConfigError({
      path,
      problem: 'keys are summed before they meet a query',
      expected: 'no attention bias, no cache of fixed capacity, and causal only in self attention',
      got,
    });
  for (const x of [q, k])
    if (x.dims[3] !== headDim)
      throw new ShapeError({
        path: `${path}.headDim`,
        problem: 'differs from the width of queries and keys',
        expected: String(headDim),
        got: String(x.dims[3]),
      });
}

/** Whether the mask is causal, and the keys that it keeps, bool [batch, kv_seq]. */
function readMask(ctx: SequenceContext, k: Value, path: string): { readonly ordered: boolean; readonly keep: Value | undefined } {
  const reading = expressedBy(ctx.mask as Mask<Value>, { causal: true, lengths: true, keyPadding: true });
  if (reading.inexpressible !== undefined)
    throw new ConfigError({
      path,
      problem: 'keys are summed before they meet a query',
      expected: 'causal, lengths and key padding',
      got: reading.inexpressible.mask,
    });
  const { causal, lengths, keyPadding } = reading;
  const [batch, , rows] = k.dims as [Dim, Dim, Dim];
  const within = lengths && ops.less(ops.reshape(ops.iota(k, rows), [1, rows]), ops.reshape(lengths, [batch, 1]));
  return { ordered: causal, keep: within && keyPadding ? ops.logicalAnd(within, keyPadding) : (within ?? keyPadding) };
}

interface AttendedOptions {
  readonly directions: Value;
  readonly map: FeatureMap;
  readonly keep: Value | undefined;
  readonly ordered: boolean;
}

/** Below this number a sum of features is that of no key. */
const least = 1e-30;

function attended(q: Value, k: Value, v: Value, { directions, map, keep, ordered }: AttendedOptions): Value {
  const wide = (x: Value): Value => ops.cast(x, 'float32');
  const ofQueries = logFeatures(wide(q), directions, map);
  const ofKeys = logFeatures(wide(k), directions, map);
  // A factor of all features of a query cancels, and one of all keys; if causal, none of the keys, because it would depend on later ones.
  const queries = ops.softmax(ofQueries.products, 3);
  const keys = keptFeatures(ofKeys, keep, ordered);
  const values = ops.concat([wide(v), ops.fill(v, [...v.dims.slice(0, 3), 1], 1, 'float32')], 3);
  const whole = keep ? zeroed(values, keep) : values;
  const sums = ordered ? inOrder(queries, keys, whole) : timesKeyHead(queries, sumsOf(keys, whole));
  const width = v.dims[3]!;
  const total = ops.slice(sums, { axes: [3], starts: [width], ends: [sums.dims[3]!] });
  return ops.div(ops.cropTo(sums, 3, width), ops.max(total, least));
}

/** Σ_j k_j v_jᵀ. The values are turned instead of the keys, which have more channels. */
const sumsOf = (keys: Value, values: Value): Value => ops.swapLast(ops.matmul(ops.swapLast(values), keys));

/** The features of the keys, 0 where they are hidden; unless they are in order, divided by the largest of each head. */
function keptFeatures({ products, norm }: LogFeatures, keep: Value | undefined, ordered: boolean): Value {
  const kept = keep && ops.unsqueeze(keep, [1, 3]);
  // [batch, kv_heads, kv_seq, 1]
  const largest = ordered && !kept ? undefined : ops.reduceMax(products, [3]);
  const logs = largest && ops.sub(largest, norm);
  const offset = ordered ? norm : ops.add(norm, ops.reduceMax(kept ? ops.where(kept, logs!, -3e38) : logs!, [2, 3]));
  // Where a key is hidden, its own features could overflow.
  const features = ops.exp(ops.sub(products, kept ? ops.where(kept, offset, largest!) : offset));
  return keep ? zeroed(features, keep) : features;
}

/** Positions in a chunk, within which pairs are computed one by one. */
const chunk = 64;

/** Σ_{j ≤ i} (q_i · k_j) v_j: in a chunk over its pairs, and over the sums of all chunks before it. The last query is at the position of the last key. */
function inOrder(queries: Value, keys: Value, values: Value): Value {
  const [batch, heads, seq] = queries.dims as [Dim, Dim, Dim];
  const [, kvHeads, kvSeq] = keys.dims as [Dim, Dim, Dim];
  const [count, group, width] = [ceilDivDims(kvSeq, chunk), divDims(heads, kvHeads), values.dims[3]!];
  const length = mulDims(count, chunk);
  const padded = (x: Value, before: Dim): Value =>
    ops.pad(x, { axes: [2], before: [before], after: [subDims(subDims(length, before), x.dims[2]!)] });
  const past = subDims(kvSeq, seq);
  const inChunks = (x: Value, n: Dim): Value => ops.reshape(x, [batch, kvHeads, n, count, chunk, x.dims[3]!]);
  const [k, v] = [keys, values].map((x) => inChunks(padded(x, 0), 1)) as [Value, Value];
  const q = inChunks(padded(queries, past), group);
  // [batch, kv_heads, 1, chunks, features, width]
  const before = ops.cumSum(ops.matmul(ops.swapLast(k), v), 3, { exclusive: true });
  const pairs = ops.matmul(q, ops.swapLast(k));
  const place = ops.cropTo(ops.iota(keys, length), 0, chunk);
  const earlier = ops.lessOrEqual(ops.reshape(place, [1, chunk]), ops.reshape(place, [chunk, 1]));
  const y = ops.add(ops.matmul(ops.where(earlier, pairs, 0), v), ops.matmul(q, before));
  const rows = ops.reshape(y, [batch, heads, length, width]);
  return ops.slice(rows, { axes: [2], starts: [past], ends: [kvSeq] });
}

/** The mean of the channels up to each one. */
function runningMean(v: Value): Value {
  const x = ops.cast(v, 'float32');
  const width = v.dims[3]!;
  return ops.div(ops.cumSum(x, 3), ops.add(ops.cast(ops.iota(v, width), 'float32'), 1));
}
