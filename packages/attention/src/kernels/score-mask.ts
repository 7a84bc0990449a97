// Masks as kernels can read them: tensors over the scores, or a bias that leaves nothing of a score.
import {
  type AttendAttrs,
  type AttendParts,
  alwaysSomeKey,
  attendParts,
  type Dim,
  type DType,
  expand,
  type Get,
  lowest,
  type Mask,
  type MaskFeatures,
  type MaskFrame,
  type MatchContext,
  mapMask,
  maskKinds,
  materialize,
  type Node,
  printMask,
  type Reason,
  readMask,
  reasons,
  reshape,
  someKey,
  type Value,
  where,
} from '@onnxformers/core';
import { toHeads } from './rows';

/** An Attend taken apart. */
export interface Reading {
  readonly parts: AttendParts<Value>;
  readonly mask: MaskFeatures<Value>;
  /** Queries see nothing behind them: causal, which for a single query at the end says nothing. */
  readonly causal: boolean;
  /** Queries and keys differ in number, and there is more than one query. */
  readonly lengthsDiffer: boolean;
}

/** Reads an Attend; a causal mask on a single query, which stands behind all keys, is no mask. */
export function readAttend(node: Node<AttendAttrs>): Reading {
  const parts = attendParts(node.operands, node.attrs);
  const { right, ...rest } = readMask(parts.mask);
  const single = parts.q.dims[2] === 1 && !parts.queryOffset && !rest.documents && right !== undefined && right >= 0;
  const mask: MaskFeatures<Value> = single || right === undefined ? rest : { ...rest, right };
  return { parts, mask, causal: mask.right === 0, lengthsDiffer: parts.q.dims[2] !== parts.k.dims[2] && parts.q.dims[2] !== 1 };
}

/** True for a mask that kernels without windows, tensors and documents can say by themselves. */
export const isPlain = (
  { rest, keys, documents, left, right, lengths }: MaskFeatures<Value>,
  with_: { lengths?: boolean } = {},
): boolean =>
  rest.length === 0 &&
  !keys &&
  !documents &&
  left === undefined &&
  (right === undefined || right === 0) &&
  (!lengths || with_.lengths === true);

/** A mask over scores, made of new values. */
export interface ScoreMask {
  /** bool [1 or batch, 1 or heads, seq, kv_seq]; undefined where everything is allowed. */
  readonly keep: Value | undefined;
  /** Heads from the rows [batch, seq, heads · head_dim] of a kernel, with 0 for queries that see no key. */
  finish(rows: Value, heads: number): Value;
}

/** Heads of rows, with 0 where `sees` [1 or batch, 1 or heads, 1 or seq, 1] is false: in the rows, where it is the same for all heads. */
export function zeroFullyMasked(sees: Value, rows: Value, heads: number): Value {
  const [batch, perHead, seq] = sees.dims as readonly [Dim, Dim, Dim];
  return perHead === 1 ? toHeads(where(reshape(sees, [batch, seq, 1]), rows, 0), heads) : where(sees, toHeads(rows, heads), 0);
}

/** The mask of an Attend as a tensor. */
export function scoreMask({ parts }: Reading, get: Get, around: MatchContext): ScoreMask {
  const { q, k, queryOffset } = parts;
  const mask: Mask<Value> = mapMask(parts.mask, get);
  const frame: MaskFrame = {
    graph: get(q).graph,
    seq: q.dims[2]!,
    kvSeq: k.dims[2]!,
    queryOffset: queryOffset && get(queryOffset),
  };
  const keep = materialize(mask, frame);
  const safe = !keep || alwaysSomeKey(mask, frame) || around.assumes('no empty sequences');
  return {
    keep: keep && expand(keep, [keep.dims[0]!, keep.dims[1]!, frame.seq, frame.kvSeq]),
    finish: (rows, heads) => (safe ? toHeads(rows, heads) : zeroFullyMasked(someKey(mask, frame, keep), rows, heads)),
  };
}

/**
 * Mask and bias as one bias. What is forbidden gets half of the least finite number: enough for a weight of 0, and no sum with it becomes
 * infinite.
 */
export function maskAsBias(keep: Value, bias: Value | undefined, dtype: DType): Value {
  const { graph } = keep;
  return where(keep, bias ?? graph.number(0, dtype), graph.number(lowest(dtype) / 2, dtype));
}

/** What is worth knowing where a mask is a tensor over all scores. */
export const maskNote = ({ parts: { mask } }: Reading): Reason =>
  reasons.maskOverScores({ mask: printMask(mask), kinds: maskKinds(mask) });

/** What a kernel over all pairs costs besides where few pairs count: dearer than blocks and packed kernels, cheaper than the definition. */
export const allPairs = ({ mask: { left, right, documents } }: Reading): number =>
  documents || (left !== undefined && right !== undefined) ? 20 : 0;
