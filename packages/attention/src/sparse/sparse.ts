// Softmax attention on a list of pairs. Gale et al. 2020, https://arxiv.org/abs/2006.10901
import {
  and,
  attend,
  blockLayout,
  bool,
  ConfigError,
  causal as causalMask,
  defineBlock,
  int,
  limitPositions,
  list,
  lookupFlag,
  type Mask,
  maskMod,
  num,
  type SequenceContext,
  type Value,
  withContext,
} from '@onnxformers/core';
import { kernels } from '../kernels/index';
import { checkHeads } from './heads';
import { masksFromTheStart } from './masks-from-the-start';

/**
 * Softmax attention of each query to the keys that a list gives it.
 *
 *     y_i = Σ_j softmax_j(q_i k_jᵀ / √head_dim + bias) v_j      j in keys[h][i]; j ≤ i if causal
 *
 * A query whose list is empty has the result 0. A pattern of square blocks of up to 64 positions is found and computed as such.
 *
 * Shapes   q [batch, heads, seq, head_dim] · k, v [batch, kv_heads, kv_seq, head_dim] → [batch, heads, seq, head_dim]; seq and kv_seq at most the number of lists
 * Dtypes   float32, float16, bfloat16; softmax in float32
 * Masks    causal, causalFromTopLeft, window, windowFromTopLeft, dilated, prefix, global, blocks, random, lengths, documents, documentIds, dense,
 *          expression, or, not; each together with the pattern. Positions are counted from the start of the batch's rows, so padding is allowed only on
 *          the right, as lengths
 * Cost     time and memory proportional to the listed pairs, without a mask, causal or under lengths, up to the density `threshold` and where gathering keys costs less
 *          than all pairs: below 3 % for single pairs, at any density up to it for blocks of 32 and more; otherwise O(seq · kv_seq · dim)
 * Throws   ConfigError for a key that is not a position of the pattern, or listed twice, a padding mask or a memory · ShapeError for another number of heads and for a longer
 *          sequence
 * Source   Gale et al. 2020, https://arxiv.org/abs/2006.10901
 * Lowers   portable: primitives · cpu, wasm, webgpu, cuda: MultiHeadAttention; over keys that are gathered beside the queries of each
 *          block, or with the pattern as a tensor above the threshold and for other masks
 * Example  const block = sparse({ keys: [[[0], [0, 1], [1, 2]]] });
 */
export const sparse = defineBlock({
  kind: 'attention',
  name: 'sparse',
  summary: 'Softmax attention on a list of pairs.',
  source: 'Gale et al. 2020, https://arxiv.org/abs/2006.10901',
  masks: masksFromTheStart,
  fields: {
    /** for each head, or once for all, the positions of the keys that each query attends to: [1 or heads][queries][keys]. Default: `[[[0],[1],[2],[3],[4],[5],[6],[7],[8],[9],[10],[11],[12],[13],[14],[15]]]`. */
    keys: list(
      list(list(int({ doc: 'a position', min: 0, max: 2 ** 20 }), { doc: 'the keys of a query' }), {
        doc: 'the queries of a head',
      }),
      {
        doc: 'for each head, or once for all, the positions of the keys that each query attends to: [1 or heads][queries][keys]',
        unit: 'positions',
        default: [Array.from({ length: 16 }, (_, i) => [i])],
      },
    ),
    /** a pattern with a larger share of all pairs is a mask over all of them. Default: `0.3`. */
    threshold: num({
      doc: 'a pattern with a larger share of all pairs is a mask over all of them',
      min: 0,
      max: 1,
      default: 0.3,
    }),
    /** no query attends to a later key. Default: `false`. */
    causal: bool({ doc: 'no query attends to a later key', default: false }),
    /** dropout probability of attention weights in training. Default: `0`. */
    dropout: num({ doc: 'dropout probability of attention weights in training', min: 0, max: 0.99, default: 0 }),
  },
  examples: [
    { keys: [Array.from({ length: 31 }, (_, i) => [i, (5 * i + 3) % 31].filter((j, at, all) => all.indexOf(j) === at))] },
    {
      keys: [0, 1].map((h) => Array.from({ length: 37 }, (_, i) => (i === 7 ? [] : [...new Set([i, (i * (h + 2)) % 37])]))),
      causal: true,
    },
    { keys: [Array.from({ length: 41 }, (_, i) => [0, 3, 4, 8, 11, 16].map((j) => (i + j) % 41))] },
  ],
  properties: ({ causal }) => ['batchIndependent', 'deterministic', ...(causal ? (['causal'] as const) : [])],
  rules: kernels,
  create({ keys, threshold, causal, dropout }, { path }) {
    const pattern = patternOf(keys, `${path}.keys`);
    const { heads, count, density } = pattern;
    return (q: Value, k: Value, v: Value, ctx: SequenceContext) => {
      checkHeads('the pattern', heads, q, `${path}.keys`);
      limitPositions(q.graph, k.dims[2]!, count, `${path}.keys`);
      const mask = density <= threshold ? asBlocks(pattern, q) : asTable(pattern, q);
      return attend(q, k, v, withContext(ctx, { mask: and<Value>(ctx.mask, mask, ...(causal ? [causalMask] : [])) }), {
        dropout,
      });
    };
  },
});

/** The pairs of each head, and the largest block size, up to 64, of which the pattern is made. */
interface Pattern {
  readonly heads: number;
  /** Queries, and keys. */
  readonly count: number;
  /** [heads, count, count] */
  readonly flags: Uint8Array;
  readonly density: number;
}

function patternOf(keys: readonly (readonly (readonly number[])[])[], path: string): Pattern {
  const [heads, count] = [keys.length, keys[0]?.length ?? 0];
  if (count === 0 || keys.some((head) => head.length !== count))
    throw new ConfigError({
      path,
      problem: 'the heads of the pattern do not have the same number of queries',
      expected: 'a list for each query, as many in each head',
      got: keys.map((head) => String(head.length)).join(', ') || 'no heads',
    });
  const flags = new Uint8Array(heads * count * count);
  let pairs = 0;
  for (const [h, head] of keys.entries())
    for (const [i, own] of head.entries())
      for (const j of own) {
        const at = (h * count + i) * count + j;
        if (j >= count || flags[at])
          throw new ConfigError({
            path: `${path}[${h}][${i}]`,
            problem: j >= count ? 'there is no such position' : 'a key is listed twice',
            expected: j >= count ? `0 to ${count - 1}` : 'each key once',
            got: String(j),
          });
        flags[at] = 1;
        pairs++;
      }
  return { heads, count, flags, density: pairs / flags.length };
}

function asBlocks({ heads, count, flags }: Pattern, near: Value): Mask<Value> {
  const flagAt = (row: number, column: number): number => flags[row * count + column]!;
  const isMadeOf = (size: number): boolean => {
    if (count % size !== 0) return false;
    for (let row = 0; row < heads * count; row++)
      for (let column = 0; column < count; column++)
        if (flagAt(row, column) !== flagAt(row - (row % size), column - (column % size))) return false;
    return true;
  };
  const size = [64, 32, 16, 8, 4, 2].find(isMadeOf) ?? 1;
  const n = count / size;
  const layout = new Uint8Array(heads * n * n);
  for (let at = 0; at < layout.length; at++) layout[at] = flagAt(Math.floor(at / n) * size, (at % n) * size);
  return blockLayout<Value>(near.graph.root.constant({ dtype: 'bool', dims: [heads, n, n], data: layout }), size);
}

function asTable({ heads, count, flags }: Pattern, near: Value): Mask<Value> {
  const dims = heads === 1 ? [count, count] : [heads, count, count];
  const table = near.graph.root.constant({ dtype: 'bool', dims, data: flags });
  return maskMod<Value>((_b, h, q, k) => (heads === 1 ? lookupFlag(table, q, k) : lookupFlag(table, h, q, k)));
}
