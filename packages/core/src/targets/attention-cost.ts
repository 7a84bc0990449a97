// What attention costs on ONNX Runtime's CPU provider, by numbers of queries and keys: measured by scripts/attention-benchmark.ts, whose figures
// are in docs/benchmarks.md. Relative to primitives for the same attention on [batch, seq, dim], which cost 4; unknown sizes are assumed to be long.
import type { Dim } from '../dim/dim';
import { operandOf } from '../ir/define-op';
import type { Node, Value } from '../ir/graph';
import { defineReasons, type Reason } from '../lower/reason';

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

/** MultiHeadAttention. */
export function multiHeadCost(node: Node): number {
  const { queries } = sizesOf(node);
  if (operandOf(node, 'attention_bias')) return 3.6; // a bias over all scores: all scores are written
  if (queries <= fewQueries) return 2.4;
  return node.attrs.unidirectional ? 3.4 : 3;
}

/** The standard's Attention. */
export function standardCost(node: Node): number {
  const { queries } = sizesOf(node);
  const besides = operandOf(node, 'mask') ? 0.4 : 0; // a mask over all scores
  if (queries <= fewQueries) return 1.4 + besides;
  return (queries < 256 ? 2.8 : 3.5) + besides;
}

/** GroupQueryAttention: pairs that a causal mask excludes are skipped, unless sinks, softcap or a bias prevent the tiled path. */
export function groupQueryCost(node: Node): number {
  const oneQuery = operandOf(node, 'query')!.dims[1] === 1;
  const sinks = operandOf(node, 'head_sink');
  const unwindowed = operandOf(node, 'attention_bias') ? 3.8 : sinks || node.attrs.softcap ? 3.2 : oneQuery ? 1.2 : 2;
  return Math.max(unwindowed, windowCost(node));
}

// Under a window it still computes the scores of every key. At a window of 64 it takes as long as blocks of primitives (a cost of 10) at 38
// windows of positions, and 27 times as long at 65,536 positions. A cache that it appends to needs it, whatever its cost.
function windowCost(node: Node): number {
  const [window, seq] = [Number(node.attrs.local_window_size ?? -1), operandOf(node, 'query')!.dims[1]!];
  if (window <= 0 || operandOf(node, 'past_key')) return 0;
  return typeof seq === 'number' ? (10 * seq) / (38 * window) : 12;
}

/** Refused if keys and values are [batch, heads, seq, head_dim] and would be transposed for a few queries. */
export function keepsKeysInPlace(node: Node): true | Reason {
  const [q, k, v] = node.operands;
  const queries = q!.dims.at(-2)!;
  const keys = k!.dims.at(-2)!;
  if (typeof queries !== 'number' || queries > fewQueries || !(turned(k) || turned(v))) return true;
  return own.copiesKeys({ queries, keys });
}

// [batch, seq, dim] made from heads: a Transpose and a Reshape; grouped heads are repeated before.
function turned(v: Value | undefined): boolean {
  const node = v?.producer;
  if (!node) return false;
  if (node.op.key === 'Transpose') return true;
  return /(^|\.)(Reshape|Expand)$/.test(node.op.key) && turned(node.operands[0]);
}
