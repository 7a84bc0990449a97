// What attention costs on ONNX Runtime's CPU provider, by numbers of queries and keys: measured by scripts/attention-benchmark.ts and
// scripts/window-benchmark.ts, whose figures are in docs/benchmarks.md. Unknown sizes are assumed to be long.
import type { Dim } from '../dim/dim';
import { operandOf } from '../ir/define-op';
import type { Node, Value } from '../ir/graph';
import { defineReasons, type Reason } from '../lower/reason';

/** The scale of all costs of attention: primitives for all pairs of queries and keys, on [batch, seq, dim]. */
export const definitionCost = 4;

/** The number of keys under a window; if it is not known, many: what computes only the pairs within the window then costs least. */
export const keysOrMany = (keys: Dim, window: number): number => (typeof keys === 'number' ? keys : Math.max(16 * window, 4096));

const long = 512;
const sized = (d: Dim | undefined): number => (typeof d === 'number' ? d : long);
/** Few queries: the cost is that of copying keys and values, not of the products. */
const fewQueries = 32;

const own = defineReasons({
  copiesKeys: ({ queries, keys }: { readonly queries: number; readonly keys: number | string }) =>
    `for ${queries === 1 ? 'one query' : `${queries} queries`} it would copy all ${typeof keys === 'number' ? `${keys} ` : ''}keys and values to transpose them, which takes longer than the attention itself`,
});

interface Sizes {
  readonly queries: number;
  readonly keys: number;
}
const sizesOf = ({ operands: [q, k] }: Node): Sizes => ({ queries: sized(q!.dims.at(-2)), keys: sized(k!.dims.at(-2)) });

/** True for a kernel without grouped heads whose keys were repeated for the query heads that share them. */
export function repeatsKeys(node: Node): boolean {
  const flat = operandOf(node, 'key')?.producer;
  return /(^|\.)Reshape$/.test(flat?.op.key ?? '') && /(^|\.)Tile$/.test(flat!.operands[0]?.producer?.op.key ?? '');
}

/** Repeating keys: more than any kernel with grouped heads. */
const repeating = 7;
/** The cost of repeating keys where it was not compared with grouped heads. */
export const repeatingCost = (node: Node): number => (repeatsKeys(node) ? repeating : 0);

/** MultiHeadAttention. */
export const multiHeadCost = (node: Node): number => equalHeadsCost(node) + repeatingCost(node) + copying(node);

function equalHeadsCost(node: Node): number {
  const { queries } = sizesOf(node);
  if (operandOf(node, 'attention_bias')) return 3.6; // a bias over all scores: all scores are written
  if (queries <= fewQueries) return 2.4;
  return node.attrs.unidirectional ? 3.4 : 3;
}

/** The standard's Attention, on rows or on heads. */
export function standardCost(node: Node): number {
  const { queries } = sizesOf(node);
  const besides = (operandOf(node, 'mask') ? 0.4 : 0) + copying(node); // a mask over all scores
  if (queries <= fewQueries) return 1.4 + besides;
  return (queries < 256 ? 2.8 : 3.5) + besides;
}

/**
 * Transposing keys and values that are on [batch, heads, seq, head_dim], which takes as long whatever the number of queries: as much as attention for so many
 * queries. If their number is not known, a step of a decoder is possible, unless there are as many as keys.
 */
function copying({ operands: [q, k, v] }: Node): number {
  const [queries, keys] = [q!.dims.at(-2)!, k!.dims.at(-2)!];
  if (!(transposed(k) || transposed(v)) || queries === keys) return 0;
  return (definitionCost * copiedQueries) / (typeof queries === 'number' ? Math.max(1, queries) : 4 * copiedQueries);
}
const copiedQueries = 32;

/** GroupQueryAttention: pairs that a causal mask excludes are skipped, unless sinks, softcap or a bias prevent the tiled path. */
export function groupQueryCost(node: Node): number {
  const seq = operandOf(node, 'query')!.dims[1]!;
  const sinks = operandOf(node, 'head_sink');
  if (operandOf(node, 'attention_bias')) return 3.8;
  if (sinks || node.attrs.softcap) return 3.2;
  if (seq === 1) return 1.2;
  // A window does not reduce what it computes. With fewer positions it takes as long as kernels with a mask over all pairs, but needs no mask.
  const window = Number(node.attrs.local_window_size ?? -1);
  return window > 0 && keysOrMany(seq, window) < 2048 ? 3 : 2;
}

/** Refused if keys and values are [batch, heads, seq, head_dim] and would be transposed for a few queries. */
export function keepsKeysInPlace(node: Node): true | Reason {
  const [q, k, v] = node.operands;
  const queries = q!.dims.at(-2)!;
  const keys = k!.dims.at(-2)!;
  if (typeof queries !== 'number' || queries > fewQueries || !(transposed(k) || transposed(v))) return true;
  return own.copiesKeys({ queries, keys });
}

// [batch, seq, dim] made from heads: a Transpose and a Reshape; grouped heads are repeated before.
function transposed(v: Value | undefined): boolean {
  const node = v?.producer;
  if (!node) return false;
  if (node.op.key === 'Transpose') return true;
  return /(^|\.)(Reshape|Tile)$/.test(node.op.key) && transposed(node.operands[0]);
}
