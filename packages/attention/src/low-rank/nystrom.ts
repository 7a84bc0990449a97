// Softmax attention through a few landmarks. Xiong et al. 2021, https://arxiv.org/abs/2102.03902
import {
  addDims,
  and,
  attend,
  bool,
  ConfigError,
  causal as causalMask,
  choice,
  type Dim,
  defineBlock,
  dropout,
  floorDivDims,
  init,
  int,
  keyPadding,
  module,
  mulDims,
  none,
  num,
  Parameter,
  padded,
  refuseGaps,
  type SequenceContext,
  ShapeError,
  subDims,
  type Value,
} from '@onnxformers/core';
import { maskKinds } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';
import { perQueryHead } from '../heads';
import { keptRows, zeroed } from '../kept-rows';
import { kernels } from '../kernels/index';
import { type PseudoInverseOptions, pseudoInverse } from './pseudo-inverse';
import { whereShort } from './where-short';

/**
 * Softmax attention through landmarks, the means of consecutive positions: time and memory linear in the sequence. With at least as many
 * landmarks as positions it is exact softmax attention. Only real positions count: padding has no influence.
 *
 *     y = softmax(q k̃ᵀ / √d) Z (softmax(q̃ kᵀ / √d) v) [+ conv(v)]      q̃, k̃: landmarks, Z ≈ softmax(q̃ k̃ᵀ / √d)⁺
 *     Z ← ¼ Z (13 I − K Z (15 I − K Z (7 I − K Z))), from Kᵀ / max column sum of K
 *
 * Six iterations (`iterative`) need not converge; thirty (`converged`) do for condition numbers of K up to 10⁶. In float32 the relative error
 * of Z is then up to 10⁻⁶ · cond(K); with `float64`, which not every target has, the error of the result is only that of its own dtype.
 *
 * Shapes   q [batch, heads, seq, head_dim] · k, v [batch, kv_heads, kv_seq, head_dim] → [batch, heads, seq, head_dim]
 * Dtypes   float32, float16, bfloat16; Z in float32, or with `float64` everything between q, k, v and the result
 * Masks    lengths, keyPadding, packed sequences: padding is part of no landmark, and no query attends to it; in cross attention also padding of the queries
 * Cost     time O((seq + kv_seq) · landmarks · dim + landmarks³), memory O((seq + kv_seq) · landmarks)
 * Throws   ConfigError for an even convolution, for `causal` without compat, for a packed batch with compat, for another mask (in cross attention also of the queries, because landmarks of a
 *          decoder would contain later positions), an attention bias that differs between queries or a cache of fixed capacity · ShapeError for a convolution
 *          if the numbers of keys and queries differ
 * Source   Xiong et al. 2021, https://arxiv.org/abs/2102.03902; Z: Razavi et al. 2014
 * Lowers   cuda: MatMul, MultiHeadAttention or Attention · cpu: MatMul, MultiHeadAttention, Attention, GroupQueryAttention if causal ·
 *          wasm, webgpu: MatMul, MultiHeadAttention · portable: primitives
 * Example  const block = nystrom({ landmarks: 64 });
 */
export const nystrom = defineBlock({
  kind: 'attention',
  name: 'nystrom',
  summary: 'Softmax attention through a few landmarks.',
  source: 'Xiong et al. 2021, https://arxiv.org/abs/2102.03902',
  // What padding does with compat, packed sequences would do to each other: refused in `refuse`.
  masks: ({ compat }) => (compat ? ['lengths', 'keyPadding', 'documents'] : ['lengths', 'keyPadding']),
  fields: {
    /** number of landmarks; each is the mean of a segment of consecutive positions. Default: `64`. */
    landmarks: int({
      doc: 'number of landmarks; each is the mean of a segment of consecutive positions',
      unit: 'positions',
      min: 1,
      default: 64,
    }),
    /** six iterations, or enough to converge. Default: `"iterative"`. */
    pseudoInverse: choice(['iterative', 'converged'], { doc: 'six iterations, or enough to converge', default: 'iterative' }),
    /** iterations of the pseudo-inverse. Default: computed from other options. */
    iterations: int({
      doc: 'iterations of the pseudo-inverse',
      min: 1,
      max: 100,
      default: (c: { pseudoInverse: string }) => (c.pseudoInverse === 'converged' ? 30 : 6),
    }),
    /** compute the attention through landmarks in float64, because an ill-conditioned K magnifies rounding errors. Default: `false`. */
    float64: bool({
      doc: 'compute the attention through landmarks in float64, because an ill-conditioned K magnifies rounding errors',
      default: false,
    }),
    /** the iteration starts from one factor for the whole batch instead of one for each head of each sequence. Default: `false`. */
    sharedScale: bool({
      doc: 'the iteration starts from one factor for the whole batch instead of one for each head of each sequence',
      default: false,
    }),
    /** width of a convolution of the values along the sequence, added to the result; odd (positions). Optional. */
    convolution: int({
      doc: 'width of a convolution of the values along the sequence, added to the result; odd',
      unit: 'positions',
      min: 1,
      optional: true,
    }),
    /** query heads, each with its own convolution. Inherited from the enclosing block. Default: `1`. */
    heads: int({ doc: 'query heads, each with its own convolution', min: 1, inherit: true, default: 1 }),
    /** only with compat: landmark i attends to keys up to i, which is not causal. Default: `false`. */
    causal: bool({ doc: 'only with compat: landmark i attends to keys up to i, which is not causal', default: false }),
    /** dropout probability of the result in training. Default: `0`. */
    dropout: num({ doc: 'dropout probability of the result in training', min: 0, max: 0.99, default: 0 }),
    /** xformers: padding enters the landmarks as zeros and the convolution as it is. Optional. */
    compat: choice(['xformers'], {
      doc: 'xformers: padding enters the landmarks as zeros and the convolution as it is',
      optional: true,
    }),
  },
  examples: [
    { landmarks: 3 },
    { landmarks: 2, pseudoInverse: 'converged' },
    { landmarks: 4, convolution: 3, heads: 2 },
    { landmarks: 3, sharedScale: true, causal: true, compat: 'xformers' },
  ],
  properties: ({ sharedScale }) => ['linear', ...(sharedScale ? [] : (['batchIndependent'] as const))],
  rules: kernels,
  create(c, { path }) {
    const { landmarks, causal, compat, convolution, heads } = c;
    if (causal && !compat)
      throw new ConfigError({
        path: `${path}.causal`,
        problem: 'landmarks average over positions, so a causal mask is impossible',
        expected: 'false',
        got: 'true',
        hint: "compat: 'xformers' accepts causal and does what that library does, which is not a causal mask",
      });
    if (convolution !== undefined && convolution % 2 === 0)
      throw new ConfigError({
        path: `${path}.convolution`,
        problem: 'the convolution has an even width, so it has no centre',
        expected: 'an odd number',
        got: String(convolution),
      });
    const weight = convolution
      ? new Parameter([heads, 1, convolution, 1], init.fanIn(), { role: 'convolution', part: 'weight' })
      : undefined;

    return module({ skip_connection: { weight } }, (q: Value, k: Value, v: Value, ctx: SequenceContext) => {
      refuse(ctx, path);
      if (compat) refusePacked(ctx, path);
      const [batch, , seq] = q.dims as [Dim, Dim, Dim];
      const kvSeq = k.dims[2]!;
      if (weight && seq !== kvSeq)
        throw new ShapeError({
          path: `${path}.convolution`,
          problem: 'the convolution adds the values of position i to the result of query i',
          expected: `as many keys as queries (${seq})`,
          got: String(kvSeq),
          hint: 'Do not set convolution in cross attention',
        });
      if (weight) refuseGaps(ctx.mask, `${path}.convolution`);
      const keep = keptRows(ctx.mask, k, { path, problem });
      const qKeep = ctx.queryMask ? keptRows(ctx.queryMask, q, { path, problem }) : keep && lastRows(keep, q);
      const mask = causal ? and<Value>(ctx.mask, causalMask) : ctx.mask;
      const rows: Rows = compat
        ? { q: qKeep ? zeroed(q, qKeep) : q, k: keep ? zeroed(k, keep) : k, v, qKeep: undefined, kKeep: undefined }
        : { q, k, v, qKeep, kKeep: keep };
      const exact = (): Value => attend(rows.q, rows.k, v, { mask, ...biasFor(seq, ctx) });
      const approximate = (): Value => {
        const start = causal ? { keys: { layout: padded, queryOffset: ops.fill(q, [batch], 0, 'int64') } } : {};
        const ctxOfKeys = { mask, ...start, ...(ctx.bias && { bias: ctx.bias }) };
        return c.float64
          ? ops.cast(throughLandmarks(wide(rows), wideBias(ctxOfKeys), c), q.dtype)
          : throughLandmarks(rows, ctxOfKeys, c);
      };
      const y = whereShort(q, [seq, kvSeq], landmarks, exact, approximate);
      const skip = weight && convolved(keep && !compat ? zeroed(v, keep) : v, weight, q);
      return dropout(skip ? ops.add(y, skip) : y, c.dropout);
    });
  },
});

/** Queries, keys and values, and which positions are real (absent: all). */
interface Rows {
  readonly q: Value;
  readonly k: Value;
  readonly v: Value;
  readonly qKeep: Value | undefined;
  readonly kKeep: Value | undefined;
}

/** The mask and bias for the attention of query landmarks to keys. */
type AttendContext = Parameters<typeof attend>[3];

interface LandmarkOptions extends PseudoInverseOptions {
  readonly landmarks: number;
}

const problem = 'landmarks average over positions';

function refuse(ctx: SequenceContext, path: string): void {
  const biased = ctx.bias && ctx.bias.dims[2] !== 1;
  const ordered = ctx.queryMask && maskKinds(ctx.queryMask).filter((kind) => kind !== 'lengths' && kind !== 'keys');
  if (!biased && !ctx.keys?.queryOffset && !ordered?.length) return;
  throw new ConfigError({
    path,
    problem,
    expected:
      'no attention bias or one that is equal for all queries, no cache of fixed capacity, and queries that may attend to each other (an encoder)',
    got: ordered?.length
      ? `queries under the mask ${ordered.join(', ')}`
      : biased
        ? 'an attention bias'
        : 'a cache of fixed capacity',
  });
}

function refusePacked({ layout }: SequenceContext, path: string): void {
  if (layout.kind === 'padded') return;
  throw new ConfigError({
    path: `${path}.compat`,
    problem: 'with compat the landmarks of a sequence depend on the padding of its batch',
    expected: 'a padded batch',
    got: 'a packed batch',
    hint: "Compile with layout: 'padded', or omit compat",
  });
}

/** A bias that depends only on keys, for so many queries. */
function biasFor(rows: Dim, { bias }: Pick<SequenceContext, 'bias'>): { readonly bias?: Value } {
  if (!bias) return {};
  const [batch, heads, , kvSeq] = bias.dims as [Dim, Dim, Dim, Dim];
  return { bias: ops.expand(bias, [batch, heads, rows, kvSeq]) };
}

const wide = ({ q, k, v, ...keep }: Rows): Rows => ({
  q: ops.cast(q, 'float64'),
  k: ops.cast(k, 'float64'),
  v: ops.cast(v, 'float64'),
  ...keep,
});
const wideBias = ({ bias, ...rest }: AttendContext): AttendContext => ({
  ...rest,
  ...(bias && { bias: ops.cast(bias, 'float64') }),
});

/**
 * In a short sequence, with at most as many real positions as landmarks, each landmark is one position. So its exact attention
 * follows from the same products: with few keys, q attends to the keys themselves; with few queries, each query uses the result of its landmark.
 */
function throughLandmarks({ q, k, v, qKeep, kKeep }: Rows, ctx: AttendContext, o: LandmarkOptions): Value {
  const count = o.landmarks;
  const [ofQueries, ofKeys] = [qKeep && segmentsOf(qKeep, count), kKeep && segmentsOf(kKeep, count)];
  // 0 times NaN would be NaN.
  const ql = segmentMeans(qKeep ? zeroed(q, qKeep) : q, count, ofQueries);
  const kl = perQueryHead(segmentMeans(k, count, ofKeys), q);
  const ofLandmarks = attend(ql, k, v, { ...ctx, ...biasFor(count, ctx) });
  const short = [ofQueries, ofKeys].filter((s) => s !== undefined).map((s) => s.short);
  const scores = similarities(ql, kl);
  // With empty landmarks there is no inverse; a matrix of equal elements 1 / n is its own pseudo-inverse.
  const K = short.length
    ? ops.where(
        short.reduce((a, b) => ops.logicalOr(a, b)),
        1 / count,
        scores,
      )
    : scores;
  const mixed = ops.cast(ops.matmul(pseudoInverse(K, o), ops.cast(ofLandmarks, K.dtype)), q.dtype);
  const y = ofKeys ? overLandmarks(q, kl, v, mixed, ofKeys, ctx) : attend(q, kl, mixed, { mask: none });
  // In self attention, few queries mean few keys.
  if (!ofQueries || qKeep === kKeep) return y;
  const own = ops.matmul(ops.swapLast(ops.cast(ops.unsqueeze(ofQueries.member, [1]), q.dtype)), ofLandmarks);
  const here = ofKeys ? ops.logicalAnd(ofQueries.short, ops.logicalNot(ofKeys.short)) : ofQueries.short;
  return ops.where(here, own, y);
}

/** Attention of q to the landmarks of keys; in short sequences to the keys themselves, with their values and biases. */
function overLandmarks(
  q: Value,
  kl: Value,
  v: Value,
  mixed: Value,
  { member, filled, short }: Segments,
  { bias }: AttendContext,
): Value {
  const picked = ops.cast(ops.unsqueeze(member, [1]), v.dtype);
  const values = ops.where(short, perQueryHead(ops.matmul(picked, v), q), mixed);
  const biases = bias && ops.where(short, ops.matmul(bias, ops.swapLast(ops.cast(picked, bias.dtype))), 0);
  return attend(q, kl, values, { mask: keyPadding(filled), ...biasFor(q.dims[2]!, biases ? { bias: biases } : {}) });
}

/** softmax(q̃ k̃ᵀ / √d) in float32, or in float64 if they are. */
function similarities(ql: Value, kl: Value): Value {
  const headDim = kl.dims[3]!;
  if (typeof headDim !== 'number')
    throw new ShapeError({ path: kl.graph.where, problem: 'head_dim is not known', expected: 'a number', got: headDim });
  const dtype = ql.dtype === 'float64' ? 'float64' : 'float32';
  return ops.softmax(ops.matmul(ops.mul(ops.cast(ql, dtype), 1 / Math.sqrt(headDim)), ops.swapLast(ops.cast(kl, dtype))), -1);
}

/** The assignment of each sequence's real positions to landmarks. */
interface Segments {
  /** bool [batch, landmarks, seq] */
  readonly member: Value;
  /** Number of positions in each landmark, int64 [batch, landmarks]. */
  readonly length: Value;
  /** bool [batch, landmarks]: landmarks that are not empty. */
  readonly filled: Value;
  /** bool [batch, 1, 1, 1]: sequences with at most as many positions as landmarks, so that each landmark has at most one. */
  readonly short: Value;
}

/** The real positions in `count` consecutive segments; the last segments are longer by one position, and with few positions the first are empty. */
function segmentsOf(keep: Value, count: number): Segments {
  const real = ops.cast(keep, 'int64');
  const rank = ops.sub(ops.cumSum(real, 1), 1);
  const rows = ops.reduceSum(real, [1]);
  const length = ops.div(rows, count);
  const shorter = ops.sub(count, ops.sub(rows, ops.mul(length, count)));
  const startOf = (segment: Value): Value => ops.add(ops.mul(segment, length), ops.max(ops.sub(segment, shorter), 0));
  const segment = ops.reshape(firstOf(keep, keep.dims[1]!, count), [1, count]);
  const [start, end] = [startOf(segment), startOf(ops.add(segment, 1))];
  const row = ops.unsqueeze(rank, [1]);
  const within = ops.logicalAnd(ops.greaterOrEqual(row, ops.unsqueeze(start, [2])), ops.less(row, ops.unsqueeze(end, [2])));
  return {
    member: ops.logicalAnd(within, ops.unsqueeze(keep, [1])),
    length: ops.sub(end, start),
    filled: ops.less(start, end),
    short: ops.unsqueeze(ops.lessOrEqual(rows, count), [2, 3]),
  };
}

/** 0, 1, … up to `count`, as the first of more positions: a constant would be in the file, and in memory, of models that attend to few. */
const firstOf = (near: Value, rows: Dim, count: number): Value =>
  ops.slice(ops.iota(near, rows), { axes: [0], starts: [0], ends: [count] });

/** Mean of each segment, [batch, heads, count, dim]; without segments, all positions [batch, heads, seq, dim]. */
function segmentMeans(x: Value, count: number, segments: Segments | undefined): Value {
  const [batch, heads, seq, dim] = x.dims as [Dim, Dim, Dim, Dim];
  if (segments) {
    const sums = ops.matmul(ops.cast(ops.unsqueeze(segments.member, [1]), x.dtype), x);
    return ops.div(sums, ops.unsqueeze(ops.cast(ops.max(segments.length, 1), x.dtype), [1, 3]));
  }
  const length = floorDivDims(seq, count);
  if (typeof seq === 'number' && seq % count === 0)
    return ops.reduceMean(ops.reshape(x, [batch, heads, count, length, dim]), [3], { keepDims: false });
  // The first segments have `length` positions, the others one more. Each position is read once, the one after a shorter segment twice.
  const shorter = ops.size(x, subDims(count, subDims(seq, mulDims(count, length))));
  const segment = ops.reshape(firstOf(x, seq, count), [count, 1]);
  const start = ops.add(ops.mul(segment, ops.size(x, length)), ops.max(ops.sub(segment, shorter), 0));
  const place = ops.reshape(ops.iota(x, addDims(length, 1)), [1, addDims(length, 1)]);
  const longer = ops.greaterOrEqual(segment, shorter);
  const within = ops.logicalOr(ops.less(place, ops.size(x, length)), longer);
  const row = ops.min(ops.add(start, place), ops.size(x, subDims(seq, 1)));
  const rows = ops.gather(x, row, 2);
  const sums = ops.reduceSum(ops.where(ops.unsqueeze(within, [2]), rows, 0), [3], { keepDims: false });
  return ops.div(sums, ops.cast(ops.add(ops.size(x, length), ops.cast(longer, 'int64')), x.dtype));
}

/** In self attention, queries are the last positions of the keys. */
function lastRows(keep: Value, q: Value): Value {
  const [rows, seq] = [keep.dims[1]!, q.dims[2]!];
  return rows === seq ? keep : ops.slice(keep, { axes: [1], starts: [subDims(rows, seq)], ends: [rows] });
}

function convolved(v: Value, weight: Parameter, q: Value): Value {
  const [heads, , width] = weight.dims as [number, number, number];
  const half = (width - 1) / 2;
  return q.graph.ops.conv(perQueryHead(v, q), weight, undefined, { group: heads, pads: [half, 0, half, 0] });
}
