// Masks as kernels can read them: tensors over the scores, or a bias that hides a score whatever it is.
import { type Dim, type DType, type Mask, type Node, printMask, type Value } from '@onnxformers/core';
import {
  type AttendAttrs,
  type AttendParts,
  attendParts,
  type ExpressOptions,
  type Get,
  hiddenScore,
  impliedBy,
  type MaskFrame,
  type MatchContext,
  mapMask,
  maskKinds,
  materialize,
  type Reason,
  reasons,
  someKey,
} from '@onnxformers/core/lowering';
import { toHeads } from './rows';

/** An Attend taken apart. Its mask is read by `expressedBy(parts.mask, words, options)`: all of it, or what is beyond the words. */
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

/** A mask over scores, made of new values. */
export interface ScoreMask {
  /**
   * The mask and a bias as one bias [1 or batch, 1 or heads, seq, kv_seq]; undefined where there is neither. What is hidden gets −∞, which no
   * score can outweigh; all scores of a query that sees no key are left as they are, so that its row stays finite.
   */
  asBias(bias: Value | undefined, dtype: DType): Value | undefined;
  /** Heads from the rows [batch, seq, heads · head_dim] of a kernel, with 0 for queries that see no key. */
  finish(rows: Value, heads: number): Value;
  /** The weights [batch, heads, seq, kv_seq] of a kernel, with 0 for queries that see no key. */
  seen(weights: Value): Value;
}

/** Heads of rows, with 0 where `sees` [1 or batch, 1 or heads, 1 or seq, 1] is false: in the rows, where it is the same for all heads. */
export function zeroFullyMasked(sees: Value, rows: Value, heads: number): Value {
  const { reshape, where } = sees.graph.ops;
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
  const some = keep ? someKey(mask, frame, keep, { nonEmpty: (lengths) => assumedNonEmpty(lengths, around) }) : true;
  const { ops } = frame.graph;
  return {
    asBias(bias, dtype) {
      if (!keep) return bias;
      const shown = bias ?? keep.graph.number(0, dtype);
      return everyPair(ops.where(keep, shown, hiddenScore(keep, some, dtype, ops)), frame);
    },
    finish: (rows, heads) => (some === true ? toHeads(rows, heads) : zeroFullyMasked(some, rows, heads)),
    seen: (weights) => (some === true ? weights : ops.where(some, weights, 0)),
  };
}

// Kernels require a row for each query and a column for each key.
const everyPair = (x: Value, { seq, kvSeq }: MaskFrame): Value => x.graph.ops.expand(x, [x.dims[0]!, x.dims[1]!, seq, kvSeq]);

/** True for lengths that the caller of `compile` said to be at least 1: for those that the runner checks, inputs with the role of lengths, and no others. */
export function assumedNonEmpty({ leaf, graph }: Value, around: MatchContext): boolean {
  const role = leaf?.kind === 'input' ? graph.root.roles.get(leaf.name) : undefined;
  return (role === 'lengths' || role === 'memoryLengths') && around.assumes('no empty sequences');
}

/** What is worth knowing where a mask is a tensor over all scores. */
export const maskNote = ({ parts: { mask } }: Reading): Reason =>
  reasons.maskOverScores({ mask: printMask(mask), kinds: maskKinds(mask) });

/** What a kernel over all pairs costs besides where few pairs count: dearer than blocks and packed kernels, cheaper than the definition. */
export function allPairs({ parts }: Reading): number {
  const { left, right, documents } = impliedBy(parts.mask);
  return documents || (left !== undefined && right !== undefined) ? 20 : 0;
}
