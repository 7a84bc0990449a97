// Memory-efficient attention in the layout of xFormers, inside graphs: Attend, which the target lowers to its kernels.
import { attentionRules } from '@onnxformers/attention';
import {
  and,
  ConfigError,
  type Dim,
  dense,
  describe,
  divDims,
  type Mask,
  module,
  mulDims,
  none,
  ops,
  ShapeError,
  type Tensor,
  Value,
} from '@onnxformers/core';
import { mapMask, masksIn, rowHasKey } from '@onnxformers/core/lowering';
import { AttentionBias, type Pages } from './attention-bias';

/** Options of {@link memoryEfficientAttention}. */
export interface AttentionOptions<Bias> {
  /** Which keys each query attends to, and what is added to the scores. Default: all keys. */
  readonly attnBias?: Bias | undefined;
  /** Default 1 / √head_dim. */
  readonly scale?: number | undefined;
  /** Probability of dropping a weight. Default 0. */
  readonly p?: number | undefined;
}

/**
 * Inside a graph: a class of attention biases, whose data become constants; a mask over values; or a tensor, which is added to the scores and hides a key where it
 * is −∞, or where it is false.
 */
export type GraphBias = AttentionBias | Mask<Value> | Value;

/** An attention bias in values of a graph. */
export interface BiasValues {
  readonly mask: Mask<Value>;
  /** Float: added to the scores, −∞ hides a key; bool: false hides a key. */
  readonly added?: Value | undefined;
  /** It is known that `added` has no −∞. */
  readonly finite?: boolean;
  readonly pages?: Pages<Value> | undefined;
}

/**
 * Softmax attention in the layout of xFormers, inside a graph. For tensors, use `createOps`.
 *
 *     y = dropout(softmax(scale · q kᵀ + attnBias), p) v
 *
 * The result of a query that attends to no key is 0. Padding of keys and values between packed sequences may contain any numbers, also NaN, unless the model is
 * compiled with the assumption 'finite padding'. The kernels of softmax attention are tried wherever it is called.
 *
 * Shapes   q [batch, seq, heads, head_dim] · k [batch, kv_seq, kv_heads, head_dim] · v [batch, kv_seq, kv_heads, v_head_dim] →
 *          [batch, seq, heads, v_head_dim], where kv_heads divides heads. With groups q [batch, seq, groups, heads, head_dim] · k, v [batch, kv_seq, groups,
 *          1 or heads, …]; with one head [batch, seq, head_dim]. A tensor as bias [1 or batch, 1 or heads, seq, kv_seq], with the axes of heads that q has
 * Dtypes   one float dtype for q, k, v and the bias; scores and softmax of 16-bit floats in float32
 * Throws   ShapeError when operands or the bias do not fit · ConfigError for a value that is not a bias, and for keys in pages with a tensor
 * Source   Rabe and Staats 2021, https://arxiv.org/abs/2112.05682; Lefaudeux et al. 2022, https://github.com/facebookresearch/xformers
 * Lowers   portable: primitives · cpu, wasm: GroupQueryAttention, MultiHeadAttention, Attention · webgpu: GroupQueryAttention,
 *          MultiHeadAttention · cuda: PackedMultiHeadAttention, PagedAttention, GroupQueryAttention, MultiHeadAttention, Attention, RestorePadding
 * Example  const y = xops.memoryEfficientAttention(q, k, v, { attnBias: new LowerTriangularMask() });
 */
export function memoryEfficientAttention(q: Value, k: Value, v: Value, options: AttentionOptions<GraphBias> = {}): Value {
  const { attnBias, ...others } = options;
  return attention(q, k, v, biasValues(attnBias, q), others);
}

function biasValues(bias: GraphBias | undefined, { graph }: Value): BiasValues {
  if (bias === undefined) return { mask: none };
  if (bias instanceof Value) return { mask: none, added: bias };
  if (bias instanceof AttentionBias) return valuesOf(bias, (t) => graph.constant(t));
  if (typeof bias === 'object' && bias !== null && 'class' in bias) return { mask: bias };
  throw new ConfigError({
    path: 'memoryEfficientAttention.attnBias',
    problem: 'not an attention bias',
    expected: 'a mask such as new LowerTriangularMask(), or a tensor of the graph',
    got: describe(bias),
  });
}

/** The data of an attention bias as values, each made once. */
export function valuesOf(bias: Pick<AttentionBias, 'mask' | 'bias' | 'pages'>, make: (t: Tensor) => Value): BiasValues {
  const made = new Map<unknown, Value>();
  const value = (t: Tensor): Value => {
    if (!made.has(t)) made.set(t, make(t));
    return made.get(t)!;
  };
  return {
    mask: mapMask(bias.mask, value),
    added: bias.bias && value(bias.bias),
    pages: bias.pages && { ...bias.pages, table: value(bias.pages.table) },
  };
}

/** {@link memoryEfficientAttention} with the bias in values. A module, so that its nodes have the rules of the kernels in any model. */
export const attention = /* @__PURE__ */ module(
  {},
  (q: Value, k: Value, v: Value, bias: BiasValues, { scale, p = 0 }: Omit<AttentionOptions<never>, 'attnBias'>): Value => {
    checkRanks(q, k, v);
    const queries = headsFirst(q);
    const [keys, values] = [k, v].map((x) => headsFirst(readable(x, bias)));
    const { mask, bias: added } = maskAndBias(bias, q, queries, keys!);
    const noise = p !== 0 ? q.graph.root.draw('attention_dropout', scoresOf(queries, keys!), 'uniform') : undefined;
    const y = ops.attendOp(queries, keys!, values!, {
      mask,
      ...(added && { bias: added }),
      ...(scale !== undefined && { scale }),
      ...(noise && { dropout: { probability: p, noise } }),
    });
    return ops.reshape(ops.transpose(y, [0, 2, 1, 3]), [...q.dims.slice(0, -1), y.dims[3]!]);
  },
  { rules: attentionRules },
);

const scoresOf = (q: Value, k: Value): readonly Dim[] => [...q.dims.slice(0, 3), k.dims[2]!];

function checkRanks(q: Value, k: Value, v: Value): void {
  const ranks = [q, k, v].map((x) => x.rank);
  if (ranks.every((rank) => rank === ranks[0] && rank >= 3 && rank <= 5)) return;
  throw new ShapeError({
    path: q.graph.where || 'memoryEfficientAttention',
    problem: 'q, k and v do not have the same 3, 4 or 5 axes',
    expected:
      '[batch, seq, heads, head_dim], with groups [batch, seq, groups, heads, head_dim], or of one head [batch, seq, head_dim]',
    got: [q, k, v].map((x) => `[${x.dims.join(', ')}]`).join(', '),
  });
}

/** [batch, seq, …, head_dim] → [batch, heads, seq, head_dim]. */
function headsFirst(x: Value): Value {
  const [batch, seq] = x.dims as [Dim, Dim];
  return ops.transpose(ops.reshape(x, [batch, seq, mulDims(...x.dims.slice(2, -1), 1), x.dims.at(-1)!]), [0, 2, 1, 3]);
}

// ---- Bias --------------------------------------------------------------------------------------------------------------------

function maskAndBias({ mask, added, finite, pages }: BiasValues, q: Value, queries: Value, keys: Value) {
  if (!added) return { mask };
  if (pages)
    throw new ConfigError({
      path: 'memoryEfficientAttention.attnBias',
      problem: 'keys in pages cannot have a bias',
      hint: 'Gather the pages, and pass the mask without pages',
    });
  const full = perHead(added, q, scoresOf(queries, keys));
  if (full.dtype === 'bool') return { mask: and(mask, dense(full)) };
  if (finite) return { mask, bias: full };
  const split = ops.fromAdditive(full);
  return { mask: and(mask, split.mask), bias: split.bias };
}

// [1 or batch, 1 or heads, seq, kv_seq], from a bias with the axes of q.
function perHead(added: Value, q: Value, [, , seq, kvSeq]: readonly Dim[]): Value {
  const batchAxes = added.dims.slice(0, -2);
  if (added.rank !== 2 && added.rank !== 4 && added.rank !== q.rank)
    throw new ShapeError({
      path: q.graph.where || 'memoryEfficientAttention',
      problem: 'the bias has the wrong number of axes',
      expected: q.rank === 4 ? '[batch, heads, seq, kv_seq]' : `the ${q.rank} axes of q`,
      got: `[${added.dims.join(', ')}]`,
    });
  const [batch = 1, ...heads] = batchAxes;
  // A bias that is the same within a group is repeated; one that is the same for all heads is not.
  const wanted = q.dims.slice(2, -1);
  const own = heads.every((d) => d === 1) ? heads : heads.map((d, i) => (d === 1 ? (wanted[i] ?? 1) : d));
  const full = ops.expand(added, [...(added.rank > 2 ? [batch] : []), ...own, seq!, kvSeq!]);
  return ops.reshape(full, [batch, mulDims(...own, 1), seq!, kvSeq!]);
}

// ---- Keys and values ----------------------------------------------------------------------------------------------------------

// Keys or values [batch, kv_seq, …] from their pages, with 0 in the padding between sequences: its weight is 0, and 0 · NaN is NaN.
function readable(x: Value, { mask, pages }: BiasValues): Value {
  const rows = pages ? fromPages(x, pages) : x;
  const padded = masksIn(mask).find((m) => m.class.name === 'documents' && m.operands.keyLengths);
  if (!padded || x.graph.root.assumptions.has('finite padding')) return rows;
  const { keyOffsets, keyLengths } = padded.operands as Readonly<Record<'keyOffsets' | 'keyLengths', Value>>;
  const row = ops.reshape(ops.iota(x.graph, rows.dims[1]!), [rows.dims[1]!, 1]);
  const starts = ops.slice(keyOffsets, { axes: [0], starts: [0], ends: [keyLengths.dims[0]!] });
  const within = ops.logicalAnd(ops.greaterOrEqual(row, starts), ops.less(row, ops.add(starts, keyLengths)));
  const isKey = ops.reshape(rowHasKey(within), [1, rows.dims[1]!, ...rows.dims.slice(2).map(() => 1)]);
  return ops.where(isKey, rows, 0);
}

/** Keys or values [1, sequences · keys of their pages, …] from a pool of pages. */
export function fromPages(pool: Value, { table, size }: Pages<Value>): Value {
  const [batch, rows, ...more] = pool.dims as [Dim, Dim, ...Dim[]];
  if (batch !== 1)
    throw new ShapeError({
      path: pool.graph.where || 'memoryEfficientAttention',
      problem: 'keys and values in pages are not one pool',
      expected: '[1, pages · page_size, …]',
      got: `[${pool.dims.join(', ')}]`,
    });
  const gathered = ops.gather(ops.reshape(pool, [divDims(rows, size), size, ...more]), table, 0);
  return ops.reshape(gathered, [1, mulDims(...table.dims, size), ...more]);
}
