// Masks as tensors for kernels: over the scores, or as a bias that hides any score.
import { type Dim, type DType, type Mask, type Node, printMask, type Value } from '@onnxformers/core';
import {
  type AttendAttrs,
  type AttendParts,
  attendParts,
  type ExpressOptions,
  type Get,
  impliedBy,
  knownData,
  type MaskFrame,
  type MatchContext,
  mapMask,
  maskedScore,
  maskKinds,
  maskTensor,
  queryHasKey,
  type Reason,
  reasons,
} from '@onnxformers/core/lowering';
import { toHeads } from './rows';

/** The parts of an Attend. Its mask is read by `expressedBy(parts.mask, words, options)`: the whole mask, or the part that cannot be expressed. */
export interface Reading {
  readonly parts: AttendParts<Value>;
  readonly options: ExpressOptions;
  /** Queries and keys differ in number, and there is more than one query. */
  readonly lengthsDiffer: boolean;
}

/** Reads an Attend. */
export function readAttend(node: Node<AttendAttrs>): Reading {
  const parts = attendParts(node.operands, node.attrs);
  const [seq, kvSeq] = [parts.q.dims[2], parts.k.dims[2]];
  return { parts, options: { lastQuery: seq === 1 && !parts.queryOffset }, lengthsDiffer: seq !== kvSeq && seq !== 1 };
}

/** A mask over scores, in new values. */
export interface ScoreMask {
  /**
   * The mask and a bias as one bias [1 or batch, 1 or heads, seq, kv_seq]; undefined if there is neither. Masked scores become −∞, which no
   * score can outweigh; the scores of a fully masked row do not change, so that its weights stay finite.
   */
  asBias(bias: Value | undefined, dtype: DType): Value | undefined;
  /** Heads from the result [batch, seq, heads · head_dim] of a kernel, with 0 for queries that attend to no key. */
  finish(rows: Value, heads: number): Value;
  /** The weights [batch, heads, seq, kv_seq] of a kernel, or its result [batch, heads, seq, head_dim], with 0 for queries that attend to no key. */
  seen(perHead: Value): Value;
}

/** Rows to heads, with 0 where `sees` [1 or batch, 1 or heads, 1 or seq, 1] is false: before the split if it is the same for all heads. */
export function zeroFullyMasked(sees: Value, rows: Value, heads: number): Value {
  const { reshape, where } = sees.graph.ops;
  const [batch, perHead, seq] = sees.dims as readonly [Dim, Dim, Dim];
  return perHead === 1 ? toHeads(where(reshape(sees, [batch, seq, 1]), rows, 0), heads) : where(sees, toHeads(rows, heads), 0);
}

/** The mask of an Attend as a tensor. */
export function scoreMask({ parts }: Reading, get: Get, context: MatchContext): ScoreMask {
  const { q, k, queryOffset } = parts;
  const mask: Mask<Value> = mapMask(parts.mask, get);
  const frame: MaskFrame = {
    graph: get(q).graph,
    batch: q.dims[0]!,
    heads: q.dims[1]!,
    seq: q.dims[2]!,
    kvSeq: k.dims[2]!,
    queryOffset: queryOffset && get(queryOffset),
  };
  const keep = maskTensor(mask, frame);
  const some = keep ? queryHasKey(mask, frame, keep, knownData(context)) : true;
  const { ops } = frame.graph;
  return {
    asBias(bias, dtype) {
      if (!keep) return bias;
      const shown = bias ?? keep.graph.number(0, dtype);
      return everyPair(ops.where(keep, shown, maskedScore(keep, some, dtype, ops)), frame);
    },
    finish: (rows, heads) => (some === true ? toHeads(rows, heads) : zeroFullyMasked(some, rows, heads)),
    seen: (perHead) => (some === true ? perHead : ops.where(some, perHead, 0)),
  };
}

// Kernels require a row for each query and a column for each key.
const everyPair = (x: Value, { seq, kvSeq }: MaskFrame): Value => x.graph.ops.expand(x, [x.dims[0]!, x.dims[1]!, seq, kvSeq]);

/** The note for a mask that becomes a tensor over all scores. */
export const maskNote = ({ parts: { mask } }: Reading): Reason =>
  reasons.maskOverScores({ mask: printMask(mask), kinds: maskKinds(mask) });

/** The additional cost of a kernel over all pairs of documents: higher than packed kernels, lower than the definition. */
export const allPairs = ({ parts }: Reading): number => (impliedBy(parts.mask).documents ? 20 : 0);
