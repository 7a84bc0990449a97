// Masks as kernels can read them: tensors over the scores, or a bias that leaves nothing of a score.
import {
  type AttendAttrs,
  type AttendParts,
  alwaysSomeKey,
  anyKey,
  attendParts,
  type DType,
  expand,
  type Get,
  lowest,
  type Mask,
  type MaskFrame,
  type MaskReading,
  mapMask,
  materialize,
  type Node,
  readMask,
  type Surroundings,
  type Value,
  where,
} from '@onnxformers/core';

/** An Attend taken apart. */
export interface Reading {
  readonly parts: AttendParts<Value>;
  readonly mask: MaskReading<Value>;
  /** Queries see nothing behind them: causal, which for a single query at the end says nothing. */
  readonly causal: boolean;
  /** Queries and keys differ in number, and there is more than one query. */
  readonly askew: boolean;
}

/** Reads an Attend; a causal mask on a single query, which stands behind all keys, is no mask. */
export function readAttend(node: Node<AttendAttrs>): Reading {
  const parts = attendParts(node.operands, node.attrs);
  const { right, ...rest } = readMask(parts.mask);
  const single = parts.q.dims[2] === 1 && !parts.start && !rest.documents && right !== undefined && right >= 0;
  const mask: MaskReading<Value> = single || right === undefined ? rest : { ...rest, right };
  return { parts, mask, causal: mask.right === 0, askew: parts.q.dims[2] !== parts.k.dims[2] && parts.q.dims[2] !== 1 };
}

/** True for a mask that kernels without windows, tensors and documents can say by themselves. */
export const isPlain = (
  { rest, keys, documents, left, right, lengths }: MaskReading<Value>,
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
  /** y, and 0 for queries that see no key. */
  mend(y: Value): Value;
}

/** The mask of an Attend as a tensor. */
export function scoreMask({ parts }: Reading, get: Get, around: Surroundings): ScoreMask {
  const { q, k, start } = parts;
  const mask: Mask<Value> = mapMask(parts.mask, get);
  const frame: MaskFrame = { graph: get(q).graph, seq: q.dims[2]!, kvSeq: k.dims[2]!, start: start && get(start) };
  const keep = materialize(mask, frame);
  const safe = !keep || alwaysSomeKey(mask, frame) || around.promised('no empty sequences');
  return {
    keep: keep && expand(keep, [keep.dims[0]!, keep.dims[1]!, frame.seq, frame.kvSeq]),
    mend: (y) => (safe ? y : where(anyKey(keep), y, 0)),
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

/** What a kernel over all pairs costs besides where few pairs count: dearer than blocks and packed kernels, cheaper than the definition. */
export const allPairs = ({ mask: { left, right, documents } }: Reading): number =>
  documents || (left !== undefined && right !== undefined) ? 20 : 0;
