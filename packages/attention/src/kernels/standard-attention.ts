// Attention of the standard, in its form with rows: one kernel for shared key heads without a cache.
import {
  Attend,
  type AttendAttrs,
  Attention,
  apply,
  defineReasons,
  type Get,
  type Match,
  type MatchContext,
  maskKinds,
  type Node,
  type Outcome,
  printMask,
  type Reason,
  reasons,
  refuse,
  rule,
} from '@onnxformers/core';
import { toHeads, toRows } from './rows';
import { allPairs, isPlain, maskAsBias, maskNote, type Reading, readAttend, scoreMask } from './score-mask';

const own = defineReasons({
  causalAlignment: () =>
    'with different numbers of queries and keys it aligns the causal mask at the first key instead of the last',
});

function objection({ parts: { q, k, sinks, noise } }: Reading): Reason | undefined {
  if (typeof q.dims[1] !== 'number' || typeof k.dims[1] !== 'number') return reasons.headCountsUnknown();
  if (sinks) return reasons.lacks({ feature: 'sinks' });
  if (noise) return reasons.lacks({ feature: 'dropout' });
  return undefined;
}

function objectionToMask({ parts, mask, causal, lengthsDiffer }: Reading): Reason | undefined {
  if (!isPlain(mask)) return reasons.maskNotExpressible({ mask: printMask(parts.mask), kinds: maskKinds(parts.mask) });
  if (causal && lengthsDiffer) return own.causalAlignment();
  if (parts.queryOffset) return reasons.lacks({ feature: 'query offset' });
  return undefined;
}

// With the mask in the kernel's own words, else as a tensor over all scores.
function match(node: Node<AttendAttrs>, around: MatchContext): Outcome {
  const reading = readAttend(node);
  const why = objection(reading);
  if (why) return refuse(why);
  const askew = objectionToMask(reading);
  return askew ? [refuse(askew), made(node, reading, around, true)] : made(node, reading, around, false);
}

function made(node: Node<AttendAttrs>, reading: Reading, around: MatchContext, overScores: boolean): Match {
  const { parts, causal } = reading;
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
  const over = overScores && { variant: 'with the mask as a tensor', cost: allPairs(reading), notes: [maskNote(reading)] };
  return { covers: node.outputs, ...over, emit };
}
const noMask = { keep: undefined, finish: toHeads };

/** Attend → Attention, also with the mask as a tensor over all scores. */
export const useAttention = rule('Attend → Attention', Attend, match);
