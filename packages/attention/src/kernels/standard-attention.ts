// Attention of the standard, in its form with rows: one kernel for shared key heads without a cache.
import {
  Attend,
  type AttendAttrs,
  Attention,
  apply,
  expressedBy,
  type Get,
  type Match,
  type MatchContext,
  type Node,
  type Refusal,
  refuse,
  rule,
} from '@onnxformers/core';
import { toHeads, toRows } from './rows';
import { allPairs, type Reading, readAttend, type ScoreMask, scoreMask } from './score-mask';

function objection({ parts: { q, k, sinks, noise } }: Reading): string | undefined {
  if (typeof q.dims[1] !== 'number' || typeof k.dims[1] !== 'number') return 'the numbers of heads must be known';
  if (sinks) return 'it has no sinks';
  if (noise) return 'it has no dropout';
  return undefined;
}

// The mask in its own words, or why it cannot say it but as a tensor.
function ownMask({ parts, options, lengthsDiffer }: Reading): { readonly causal: boolean } | Refusal {
  const mask = expressedBy(parts.mask, { causal: true }, options);
  if (mask.beyond !== undefined) return refuse(`it cannot express the mask but as a tensor: ${mask.beyond}`);
  if (mask.causal && lengthsDiffer) return refuse('it aligns causal at the first key, we at the last');
  if (parts.queryOffset) return refuse('it has no cache with a place for each row');
  return mask;
}

function match(node: Node<AttendAttrs>, around: MatchContext, overScores: boolean): Match | Refusal | undefined {
  const reading = readAttend(node);
  const { parts } = reading;
  const mask = ownMask(reading);
  const why = objection(reading) ?? (!overScores && 'refused' in mask ? mask.refused : undefined);
  if (why !== undefined) return overScores ? undefined : refuse(why);
  const own = 'refused' in mask ? undefined : mask;
  if (overScores && own) return undefined;
  const emit = (get: Get) => {
    const rows = [parts.q, parts.k, parts.v].map((h) => toRows(get(h)));
    const bias = parts.bias && get(parts.bias);
    const { scale, softcap } = node.attrs;
    const heads = parts.q.dims[1] as number;
    const { asBias, finish } = own ? noMask : scoreMask(reading, get, around);
    const attrs = {
      q_num_heads: heads,
      kv_num_heads: parts.k.dims[1] as number,
      scale,
      softcap,
      is_causal: own?.causal ? 1 : undefined,
      outputs: 1,
    };
    return [finish(apply(Attention, [...rows, asBias(bias, rows[0]!.dtype)], attrs)[0]!, heads)];
  };
  return { covers: node.outputs, cost: overScores ? allPairs(reading) : 0, emit };
}
const noMask: ScoreMask = { asBias: (bias) => bias, finish: toHeads };

/** Attend → Attention. */
export const useAttention = rule('Attend → Attention', Attend, (node, around) => match(node, around, false));
/** The same with the mask as a tensor over all scores. */
export const useAttentionOverMask = rule('Attend → Attention with the mask as a tensor', Attend, (node, around) =>
  match(node, around, true),
);
