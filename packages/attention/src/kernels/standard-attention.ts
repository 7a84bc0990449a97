// Attention of the standard, in its form with rows: one kernel for shared key heads without a cache.
import {
  Attend,
  type AttendAttrs,
  Attention,
  apply,
  type Get,
  type Match,
  type MatchContext,
  type Node,
  printMask,
  type Refusal,
  refuse,
  rule,
} from '@onnxformers/core';
import { toHeads, toRows } from './rows';
import { allPairs, isPlain, maskAsBias, type Reading, readAttend, scoreMask } from './score-mask';

function objection({ parts: { q, k, sinks, noise } }: Reading): string | undefined {
  if (typeof q.dims[1] !== 'number' || typeof k.dims[1] !== 'number') return 'the numbers of heads must be known';
  if (sinks) return 'it has no sinks';
  if (noise) return 'it has no dropout';
  return undefined;
}

function objectionToMask({ parts, mask, causal, lengthsDiffer }: Reading): string | undefined {
  if (!isPlain(mask)) return `it cannot express the mask but as a tensor: ${printMask(parts.mask)}`;
  if (causal && lengthsDiffer) return 'it aligns causal at the first key, we at the last';
  if (parts.queryOffset) return 'it has no cache with a place for each row';
  return undefined;
}

function match(node: Node<AttendAttrs>, around: MatchContext, overScores: boolean): Match | Refusal | undefined {
  const reading = readAttend(node);
  const { parts, causal } = reading;
  const why = objection(reading) ?? (overScores ? undefined : objectionToMask(reading));
  if (why !== undefined) return overScores ? undefined : refuse(why);
  if (overScores && objectionToMask(reading) === undefined) return undefined;
  const emit = (get: Get) => {
    const rows = [parts.q, parts.k, parts.v].map((h) => toRows(get(h)));
    const bias = parts.bias && get(parts.bias);
    const { scale, softcap } = node.attrs;
    const heads = parts.q.dims[1] as number;
    const { keep, finish } = overScores ? scoreMask(reading, get, around) : noMask;
    const scores = keep && bias ? maskAsBias(keep, bias, bias.dtype) : (keep ?? bias);
    const attrs = {
      q_num_heads: heads,
      kv_num_heads: parts.k.dims[1] as number,
      scale,
      softcap,
      is_causal: causal && !overScores ? 1 : undefined,
      outputs: 1,
    };
    return [finish(apply(Attention, [...rows, scores], attrs)[0]!, heads)];
  };
  return { covers: node.outputs, cost: overScores ? allPairs(reading) : 0, emit };
}
const noMask = { keep: undefined, finish: toHeads };

/** Attend → Attention. */
export const useAttention = rule('Attend → Attention', Attend, (node, around) => match(node, around, false));
/** The same with the mask as a tensor over all scores. */
export const useAttentionOverMask = rule('Attend → Attention with the mask as a tensor', Attend, (node, around) =>
  match(node, around, true),
);
