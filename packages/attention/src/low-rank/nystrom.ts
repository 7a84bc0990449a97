// Softmax attention through a few landmarks. Xiong et al. 2021, https://arxiv.org/abs/2102.03902
import {
  add,
  and,
  attend,
  bool,
  ConfigError,
  cast,
  causal as causalMask,
  choice,
  cond,
  conv,
  type Dim,
  defineBlock,
  div,
  divDims,
  dropout,
  expand,
  expressedBy,
  eye,
  fill,
  floorDivDims,
  greaterOrEqual,
  init,
  int,
  iota,
  less,
  lessOrEqual,
  logicalAnd,
  type Mask,
  matmul,
  max,
  min,
  module,
  mul,
  mulDims,
  none,
  num,
  Parameter,
  padded,
  reduceMax,
  reduceMean,
  reduceSum,
  reshape,
  type SequenceContext,
  ShapeError,
  size,
  softmax,
  sub,
  subDims,
  swapLast,
  unsqueeze,
  type Value,
} from '@onnxformers/core';
import { kernels } from '../kernels/index';

/**
 * Softmax attention through landmarks, the means of consecutive rows: time and memory linear in the sequence. With at least as many
 * landmarks as rows it is exact softmax attention.
 *
 *     y = softmax(q k̃ᵀ / √d) Z (softmax(q̃ kᵀ / √d) v) [+ conv(v)]      q̃, k̃: landmarks, Z ≈ softmax(q̃ k̃ᵀ / √d)⁺
 *     Z ← ¼ Z (13 I − K Z (15 I − K Z (7 I − K Z))), from Kᵀ / max column sum of K
 *
 * Six iterations (`iterative`) need not converge; thirty (`converged`) do for condition numbers of K up to 10⁶. In float32 the relative error
 * of Z is then up to 10⁻⁶ · cond(K); with `float64`, which not every target has, that of the result is what its own dtype makes it.
 *
 * Shapes   q [batch, heads, seq, head_dim] · k, v [batch, kv_heads, kv_seq, head_dim] → [batch, heads, seq, head_dim]
 * Dtypes   float32, float16, bfloat16; Z in float32, or with `float64` everything between q, k, v and the result
 * Masks    lengths, keyPadding: padding takes part in no landmark and is seen by none
 * Cost     time O((seq + kv_seq) · landmarks · dim + landmarks³), memory O((seq + kv_seq) · landmarks)
 * Throws   ConfigError for an even convolution, for `causal` without compat, and for a mask, a score bias that differs between queries or a
 *          cache of fixed capacity · ShapeError for a convolution where keys are not as many as queries
 * Source   Xiong et al. 2021, https://arxiv.org/abs/2102.03902; Z: Razavi et al. 2014
 * Lowers   cuda: MatMul, MultiHeadAttention or Attention · cpu: MatMul, MultiHeadAttention, GroupQueryAttention if causal ·
 *          wasm, webgpu: MatMul, MultiHeadAttention · portable: primitives
 * Example  const block = nystrom({ landmarks: 64 });
 */
export const nystrom = defineBlock({
  kind: 'attention',
  name: 'nystrom',
  summary: 'Softmax attention through a few landmarks.',
  source: 'Xiong et al. 2021, https://arxiv.org/abs/2102.03902',
  masks: ['lengths', 'keyPadding'],
  fields: {
    landmarks: int({ doc: 'segments of rows whose means stand for them', unit: 'positions', min: 1, default: 64 }),
    pseudoInverse: choice(['iterative', 'converged'], { doc: 'six iterations, or as many as converge', default: 'iterative' }),
    iterations: int({
      doc: 'iterations of the pseudo-inverse',
      min: 1,
      default: (c: { pseudoInverse: string }) => (c.pseudoInverse === 'converged' ? 30 : 6),
    }),
    float64: bool({
      doc: 'the way through the landmarks is in float64: an ill-conditioned K magnifies what is rounded away',
      default: false,
    }),
    sharedScale: bool({
      doc: 'the iteration starts from one factor for the whole batch instead of one for each head',
      default: false,
    }),
    convolution: int({
      doc: 'width of a convolution of the values along the sequence, added to the result; odd',
      unit: 'positions',
      min: 1,
      optional: true,
    }),
    heads: int({ doc: 'heads of the queries, each with a convolution of its own', min: 1, inherit: true, default: 1 }),
    causal: bool({ doc: 'only with compat: landmark i sees keys up to i, which is not causal', default: false }),
    dropout: num({ doc: 'probability of dropping a channel of the result, in training', min: 0, max: 0.99, default: 0 }),
    compat: choice(['xformers'], {
      doc: 'xformers: padding counts as zeros in landmarks and reaches the convolution',
      optional: true,
    }),
  },
  examples: [
    { landmarks: 3 },
    { landmarks: 2, pseudoInverse: 'converged' },
    { landmarks: 4, convolution: 3, heads: 2 },
    { landmarks: 3, sharedScale: true, causal: true, compat: 'xformers' },
  ],
  properties: ({ sharedScale }) => (sharedScale ? [] : ['batchIndependent']),
  rules: kernels,
  create(c, { path }) {
    const { landmarks, causal, compat, convolution, heads } = c;
    if (causal && !compat)
      throw new ConfigError({
        path: `${path}.causal`,
        problem: 'landmarks mix positions, so nothing can be hidden from earlier ones',
        expected: 'false',
        got: 'true',
        hint: "compat: 'xformers' accepts it and does what that library does, which is not causal",
      });
    if (convolution !== undefined && convolution % 2 === 0)
      throw new ConfigError({
        path: `${path}.convolution`,
        problem: 'the convolution has no middle',
        expected: 'an odd number',
        got: String(convolution),
      });
    const weight = convolution
      ? new Parameter([heads, 1, convolution, 1], init.fanIn(), { role: 'convolution', part: 'weight' })
      : undefined;

    return module({ skip_connection: { weight } }, (q: Value, k: Value, v: Value, ctx: SequenceContext) => {
      refuse(ctx, path);
      const [batch, , seq] = q.dims as [Dim, Dim, Dim];
      const kvSeq = k.dims[2]!;
      if (weight && seq !== kvSeq)
        throw new ShapeError({
          path: `${path}.convolution`,
          problem: 'convolved values are added to the results of queries at the same places',
          expected: `as many keys as queries: ${seq}`,
          got: String(kvSeq),
          hint: 'Leave convolution out of cross attention',
        });
      const keep = keptKeys(ctx.mask, k, path);
      const rows: Rows = {
        q: keep && seq === kvSeq ? zeroed(q, keep) : q,
        k: keep ? zeroed(k, keep) : k,
        v,
        qKeep: seq === kvSeq && !compat ? keep : undefined,
        kKeep: compat ? undefined : keep,
      };
      const mask = causal ? and<Value>(ctx.mask, causalMask) : ctx.mask;
      const exact = (): Value => attend(rows.q, rows.k, v, { mask, ...biasFor(seq, ctx) });
      const approximate = (): Value => {
        const start = causal ? { keys: { layout: padded, queryOffset: fill(q, [batch], 0, 'int64') } } : {};
        const around = { mask, ...start, ...biasFor(landmarks, ctx) };
        return c.float64 ? cast(throughLandmarks(wide(rows), wideBias(around), c), q.dtype) : throughLandmarks(rows, around, c);
      };
      const y = whereShort(q, [seq, kvSeq], landmarks, exact, approximate);
      const skip = weight && convolved(keep && !compat ? zeroed(v, keep) : v, weight, q);
      return dropout(skip ? add(y, skip) : y, c.dropout);
    });
  },
});

/** Queries and keys with zeros where they are padding, and which rows count in a mean (absent: all). */
interface Rows {
  readonly q: Value;
  readonly k: Value;
  readonly v: Value;
  readonly qKeep: Value | undefined;
  readonly kKeep: Value | undefined;
}

/** Under what the landmarks of queries look at keys. */
type Around = Parameters<typeof attend>[3];

interface LandmarkOptions extends PseudoInverseOptions {
  readonly landmarks: number;
}

function refuse(ctx: SequenceContext, path: string): void {
  const biased = ctx.bias && ctx.bias.dims[2] !== 1;
  if (!biased && !ctx.keys?.queryOffset) return;
  throw new ConfigError({
    path,
    problem: 'landmarks mix positions',
    expected: 'no score bias but one that is the same for all queries, and no cache of fixed capacity',
    got: biased ? 'a score bias' : 'a cache of fixed capacity',
  });
}

/** A bias of keys alone, for so many queries. */
function biasFor(rows: Dim, { bias }: SequenceContext): { readonly bias?: Value } {
  if (!bias) return {};
  const [batch, heads, , kvSeq] = bias.dims as [Dim, Dim, Dim, Dim];
  return { bias: expand(bias, [batch, heads, rows, kvSeq]) };
}

const wide = ({ q, k, v, ...keep }: Rows): Rows => ({
  q: cast(q, 'float64'),
  k: cast(k, 'float64'),
  v: cast(v, 'float64'),
  ...keep,
});
const wideBias = ({ bias, ...around }: Around): Around => ({ ...around, ...(bias && { bias: cast(bias, 'float64') }) });

/** One of the two, by whether either size is at most `limit`; decided by the run where that is not known. */
function whereShort(near: Value, sizes: readonly Dim[], limit: number, yes: () => Value, no: () => Value): Value {
  if (sizes.some((d) => typeof d === 'number' && d <= limit)) return yes();
  const open = [...new Set(sizes)].filter((d) => typeof d !== 'number').map((d) => size(near, d));
  if (open.length === 0) return no();
  return cond(
    lessOrEqual(open.length === 1 ? open[0]! : min(...open), limit),
    () => [yes()],
    () => [no()],
  )[0]!;
}

function throughLandmarks({ q, k, v, qKeep, kKeep }: Rows, ctx: Around, o: LandmarkOptions): Value {
  const ql = segmentMeans(q, o.landmarks, qKeep);
  const kl = perQueryHead(segmentMeans(k, o.landmarks, kKeep), q);
  const around = attend(ql, k, v, ctx);
  const K = similarities(ql, kl);
  const mixed = cast(matmul(pseudoInverse(K, o), cast(around, K.dtype)), q.dtype);
  return attend(q, kl, mixed, { mask: none });
}

/** softmax(q̃ k̃ᵀ / √d) in float32, or float64 where they are. */
function similarities(ql: Value, kl: Value): Value {
  const headDim = kl.dims[3]!;
  if (typeof headDim !== 'number')
    throw new ShapeError({ path: kl.graph.where, problem: 'head_dim is not known', expected: 'a number', got: headDim });
  const dtype = ql.dtype === 'float64' ? 'float64' : 'float32';
  return softmax(matmul(mul(cast(ql, dtype), 1 / Math.sqrt(headDim)), swapLast(cast(kl, dtype))), -1);
}

/** Options of {@link pseudoInverse}. */
export interface PseudoInverseOptions {
  readonly iterations: number;
  /** The iteration starts from one factor for all matrices instead of one for each. */
  readonly sharedScale?: boolean;
}

/**
 * Iterates towards the pseudo-inverse of matrices whose rows sum to 1.
 *
 *     Z ← ¼ Z (13 I − K Z (15 I − K Z (7 I − K Z))), from Kᵀ / max column sum of K
 *
 * Shapes   K [..., n, n] → Z [..., n, n]
 * Dtypes   float32, float64
 * Cost     time O(iterations · n³), memory O(n²)
 * Throws   ShapeError when K is not square
 * Source   Razavi et al. 2014; in attention: Xiong et al. 2021, https://arxiv.org/abs/2102.03902
 * Lowers   everywhere: MatMul, ReduceSum and elementwise primitives
 * Example  const Z = pseudoInverse(softmax(matmul(q, swapLast(k))), { iterations: 6 });
 */
export function pseudoInverse(K: Value, { iterations, sharedScale = false }: PseudoInverseOptions): Value {
  const I = eye(K, K.dims.at(-1)!, K.dtype);
  const columnSums = reduceSum(K, [-2]);
  let Z = div(swapLast(K), reduceMax(columnSums, sharedScale ? K.dims.map((_, axis) => axis) : [-1]));
  for (let i = 0; i < iterations; i++) {
    const X = matmul(K, Z);
    const inner = sub(mul(I, 15), matmul(X, sub(mul(I, 7), X)));
    Z = matmul(mul(Z, 0.25), sub(mul(I, 13), matmul(X, inner)));
  }
  return Z;
}

/** Means of `count` consecutive segments of rows [batch, heads, seq, dim]; the last seq mod count of them are longer by one row. */
function segmentMeans(x: Value, count: number, keep: Value | undefined): Value {
  const [batch, heads, seq, dim] = x.dims as [Dim, Dim, Dim, Dim];
  const length = floorDivDims(seq, count);
  if (!keep && typeof seq === 'number' && seq % count === 0)
    return reduceMean(reshape(x, [batch, heads, count, length, dim]), [3], { keepDims: false });
  const shorter = subDims(count, subDims(seq, mulDims(count, length)));
  const startOf = (segment: Value): Value => add(mul(segment, size(x, length)), max(sub(segment, size(x, shorter)), 0));
  const segment = reshape(iota(x, count), [count, 1]);
  const [start, end] = [startOf(segment), startOf(add(segment, 1))];
  const row = reshape(iota(x, seq), [1, seq]);
  const member = cast(logicalAnd(greaterOrEqual(row, start), less(row, end)), x.dtype);
  const sums = matmul(member, x);
  if (!keep) return div(sums, cast(sub(end, start), x.dtype));
  const real = matmul(member, unsqueeze(cast(keep, x.dtype), [1, 3]));
  return div(sums, max(real, 1));
}

/** bool [batch, kv_seq], or undefined when every key is real. */
function keptKeys(mask: Mask<Value>, k: Value, path: string): Value | undefined {
  const [batch, , kvSeq] = k.dims as [Dim, Dim, Dim];
  const reading = expressedBy(mask, { lengths: true, keyPadding: true });
  if (reading.beyond !== undefined)
    throw new ConfigError({
      path,
      problem: 'landmarks mix positions',
      expected: 'one mask of lengths, one of key padding, or both',
      got: reading.beyond.mask,
    });
  const { lengths, keyPadding } = reading;
  const within = lengths && less(reshape(iota(k, kvSeq), [1, kvSeq]), reshape(lengths, [batch, 1]));
  return within && keyPadding ? logicalAnd(within, keyPadding) : (within ?? keyPadding);
}

const zeroed = (x: Value, keep: Value): Value => mul(x, unsqueeze(cast(keep, x.dtype), [1, 3]));

/** Each head of keys or values for the query heads that it serves. */
function perQueryHead(x: Value, q: Value): Value {
  const [batch, heads, rows, dim] = x.dims as [Dim, Dim, Dim, Dim];
  const group = divDims(q.dims[1]!, heads);
  return reshape(expand(unsqueeze(x, [2]), [batch, heads, group, rows, dim]), [batch, q.dims[1]!, rows, dim]);
}

function convolved(v: Value, weight: Parameter, q: Value): Value {
  const [heads, , width] = weight.dims as [number, number, number];
  const half = (width - 1) / 2;
  return conv(perQueryHead(v, q), weight, undefined, { group: heads, pads: [half, 0, half, 0] });
}
