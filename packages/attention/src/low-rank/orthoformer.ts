// Softmax attention through queries that are chosen as landmarks. Patrick et al. 2021, https://arxiv.org/abs/2106.05392
import {
  attend,
  bool,
  ConfigError,
  choice,
  type Dim,
  defineBlock,
  dropout,
  int,
  none,
  num,
  type SequenceContext,
  ShapeError,
  type Value,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { perQueryHead } from '../heads';
import { kernels } from '../kernels/index';
import { type Chance, indicesOf, numbers } from '../numbers';
import { mostOrthogonal, useSteps } from './most-orthogonal';
import { whereShort } from './where-short';

const selections = ['orthogonal', 'kmeans', 'kmeans_spherical', 'random'] as const;

/**
 * Softmax attention through landmarks: the queries attend to them, and they attend to the keys. Time and memory are linear in the sequence. With at least as many
 * landmarks as positions it is exact softmax attention.
 *
 *     y = softmax(q zᵀ / √d) softmax(z kᵀ / √d) v      z: landmarks
 *
 * - `orthogonal`         queries, each the one whose largest |cosine| to those chosen before is the smallest, from a random first one
 * - `kmeans`             the means of clusters of queries: six iterations from random queries
 * - `kmeans_spherical`   the same on unit vectors, by cosine
 * - `random`             random queries and keys, half of each
 *
 * The random choices are the same in every run, for all sequences, or with `redraw` draws of each run.
 *
 * Shapes   q [batch, heads, seq, head_dim] · k, v [batch, kv_heads, kv_seq, head_dim] → [batch, heads, seq, head_dim]
 * Dtypes   float32, float16, bfloat16; the choice in float32
 * Masks    none, because landmarks are chosen from all positions; compat: 'xformers' ignores masks unless it is exact
 * Cost     time O((seq + kv_seq) · landmarks · dim), memory O((seq + kv_seq) · landmarks)
 * Throws   ConfigError for a mask, an attention bias or a cache of fixed capacity · ShapeError for `subsample` if the length is not known
 * Source   Patrick et al. 2021, https://arxiv.org/abs/2106.05392
 * Lowers   portable: primitives · cpu: MultiHeadAttention, Attention, MatMul, and a Loop for `orthogonal` · wasm: MultiHeadAttention, MatMul, and that Loop ·
 *          cuda, webgpu: MultiHeadAttention, MatMul, and seven ops for each `orthogonal` landmark
 * Example  const block = orthoformer({ landmarks: 64 });
 */
export const orthoformer = defineBlock({
  kind: 'attention',
  name: 'orthoformer',
  summary: 'Softmax attention through queries that are chosen as landmarks.',
  source: 'Patrick et al. 2021, https://arxiv.org/abs/2106.05392',
  masks: ({ compat }) => (compat ? 'all' : []),
  fields: {
    /** number of landmarks (positions). Default: `32`. */
    landmarks: int({ doc: 'number of landmarks', unit: 'positions', min: 1, default: 32 }),
    /** how landmarks are chosen. Default: `"orthogonal"`. */
    selection: choice(selections, { doc: 'how landmarks are chosen', default: 'orthogonal' }),
    /** share of the queries, chosen at random, that orthogonal landmarks are chosen from. Default: `1`. */
    subsample: num({
      doc: 'share of the queries, chosen at random, that orthogonal landmarks are chosen from',
      above: 0,
      max: 1,
      default: 1,
    }),
    /** seed of random choices. Default: `0`. */
    seed: int({ doc: 'seed of random choices', min: 0, default: 0 }),
    /** random choices are draws of each run instead of those of the seed. Default: `false`. */
    redraw: bool({ doc: 'random choices are draws of each run instead of those of the seed', default: false }),
    /** dropout probability of the result in training. Default: `0`. */
    dropout: num({ doc: 'dropout probability of the result in training', min: 0, max: 0.99, default: 0 }),
    /** xformers: masks and biases are ignored unless there are as many landmarks as keys, and an odd number of random landmarks is rounded down. Optional. */
    compat: choice(['xformers'], {
      doc: 'xformers: masks and biases are ignored unless there are as many landmarks as keys, and an odd number of random landmarks is rounded down',
      optional: true,
    }),
  },
  examples: [
    { landmarks: 3 },
    { landmarks: 2, selection: 'kmeans' },
    { landmarks: 4, selection: 'kmeans_spherical', seed: 5 },
    { landmarks: 5, selection: 'random', redraw: true },
  ],
  properties: ({ redraw }) => ['batchIndependent', 'linear', ...(redraw ? [] : (['deterministic'] as const))],
  rules: [...kernels, useSteps],
  create(c, { path }) {
    const { landmarks, compat, dropout: probability } = c;
    return (q: Value, k: Value, v: Value, ctx: SequenceContext) => {
      refuse(ctx, path, compat !== undefined);
      const [seq, kvSeq] = [q.dims[2]!, k.dims[2]!];
      const exact = (): Value => attend(q, k, v, ctx);
      const through = (): Value => {
        const z = ops.cast(chosen(ops.cast(q, 'float32'), k, c, path), q.dtype);
        return attend(q, z, attend(z, k, v, { mask: none }), { mask: none });
      };
      if (!compat) return dropout(whereShort(q, [seq, kvSeq], landmarks, exact, through), probability);
      const y =
        typeof kvSeq === 'number' ? (kvSeq === landmarks ? exact() : through()) : whereEqual(q, kvSeq, landmarks, exact, through);
      return dropout(y, probability);
    };
  },
});

interface Options extends Chance {
  readonly landmarks: number;
  readonly selection: (typeof selections)[number];
  readonly subsample: number;
  readonly compat: 'xformers' | undefined;
}

function refuse(ctx: SequenceContext, path: string, ignoresMasks: boolean): void {
  const got =
    (ctx.bias && !ignoresMasks && 'an attention bias') ||
    (ctx.keys?.queryOffset && 'a cache of fixed capacity') ||
    (ctx.layout.kind === 'packed' && 'a packed layout');
  if (!got) return;
  throw new ConfigError({
    path,
    problem: 'landmarks are chosen from all positions',
    expected: 'the padded layout, no attention bias and no cache of fixed capacity',
    got,
  });
}

const whereEqual = (near: Value, size: Dim, to: number, yes: () => Value, no: () => Value): Value =>
  ops.cond(
    ops.equal(ops.size(near, size), to),
    () => [yes()],
    () => [no()],
  )[0]!;

/** The landmarks of each head, [batch, heads, landmarks, head_dim]. */
function chosen(q: Value, k: Value, o: Options, path: string): Value {
  const [batch, heads, seq] = q.dims as [Dim, Dim, Dim];
  const rowsAt = (x: Value, name: string, which: number, count: Dim): Value =>
    ops.gather(x, indicesOf(numbers(q, name, which, [count], o), x.dims[2]!), 2);
  switch (o.selection) {
    case 'orthogonal': {
      const rows = o.subsample === 1 ? q : rowsAt(q, 'sample', 0, sampleSize(seq, o, path));
      const perSequence = o.compat && o.redraw ? batch : 1;
      const first = indicesOf(numbers(q, 'first', 1, [perSequence, heads], o), rows.dims[2]!);
      const index = mostOrthogonal(directions(rows), ops.expand(first, [batch, heads]), o.landmarks);
      return ops.gatherND(rows, ops.unsqueeze(index, [3]), 2);
    }
    case 'random': {
      const ofKeys = Math.floor(o.landmarks / 2);
      const ofQueries = o.compat ? ofKeys : o.landmarks - ofKeys;
      const keys = perQueryHead(ops.cast(k, 'float32'), q);
      const parts = [rowsAt(q, 'queries', 0, ofQueries), ...(ofKeys ? [rowsAt(keys, 'keys', 1, ofKeys)] : [])];
      return parts.length === 1 ? parts[0]! : ops.concat(parts, 2);
    }
    default: {
      const order = numbers(q, 'order', 0, [seq], o);
      return means(q, ops.topK(order, o.landmarks)[1], o.selection === 'kmeans_spherical');
    }
  }
}

function sampleSize(seq: Dim, { subsample, landmarks }: Options, path: string): number {
  if (typeof seq === 'number') return Math.max(Math.floor(subsample * seq), landmarks);
  throw new ShapeError({
    path: `${path}.subsample`,
    problem: 'the number of queries to choose from depends on the length of the sequence',
    expected: 'a known length, or subsample: 1',
    got: seq,
  });
}

/** Unit vectors. */
const directions = (x: Value): Value => ops.div(x, ops.max(ops.reduceL2(x, [3]), 1e-12));

/** Six iterations of k-means on the rows of x [batch, heads, n, dim], from those at some indices. */
function means(x: Value, first: Value, spherical: boolean): Value {
  const rows = spherical ? directions(x) : x;
  let centres = ops.gather(rows, first, 2);
  const count = first.dims[0]!;
  for (let i = 0; i < 6; i++) {
    const products = ops.matmul(rows, ops.swapLast(centres));
    const length = ops.swapLast(ops.reduceSumSquare(centres, [3]));
    const closeness = spherical ? products : ops.sub(ops.mul(products, 2), length);
    const member = ops.oneHot(ops.argMax(closeness, 3, { keepDims: false }), count, { dtype: 'float32' });
    const sums = ops.matmul(ops.swapLast(member), rows);
    const mean = ops.div(sums, ops.add(ops.swapLast(ops.reduceSum(member, [2])), 1e-6));
    centres = spherical ? directions(mean) : mean;
  }
  return centres;
}
