// Attention of the standard, on [batch, seq, heads · head_dim]: a kernel with grouped key heads and without a cache.
import type { Node, Value } from '@onnxformers/core';
import {
  type AttendAttrs,
  apply,
  defineReasons,
  expressedBy,
  type Get,
  type Match,
  type MatchContext,
  type Outcome,
  type Reason,
  type Refusal,
  reasons,
  refuse,
  rule,
} from '@onnxformers/core/lowering';
import { Attend } from '@onnxformers/core/ops';
import { toHeads, toRows } from './rows';
import { allPairs, maskNote, type Reading, readAttend, type ScoreMask, scoreMask } from './score-mask';

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

/** A mask as the kernel expresses it. */
interface OwnMask {
  readonly causal: boolean;
  readonly causalFromTopLeft?: true | undefined;
}

// The mask as the kernel expresses it, or why it cannot express it.
function ownMask({ parts, options, lengthsDiffer }: Reading): OwnMask | Refusal {
  const mask = expressedBy(parts.mask, { causal: true, causalFromTopLeft: true }, options);
  if (mask.inexpressible !== undefined) return refuse(reasons.maskNotExpressible(mask.inexpressible));
  if (mask.causal && (lengthsDiffer || mask.causalFromTopLeft)) return refuse(own.causalAlignment());
  if (parts.queryOffset) return refuse(reasons.lacks({ feature: 'query offset' }));
  return mask;
}

// With the mask as attributes of the kernel, otherwise as a tensor over all scores.
function match(node: Node<AttendAttrs>, context: MatchContext): Outcome {
  const reading = readAttend(node);
  const why = objection(reading);
  if (why) return refuse(why);
  const mask = ownMask(reading);
  return 'refused' in mask ? [mask, made(node, reading, context)] : made(node, reading, context, mask);
}

function made(node: Node<AttendAttrs>, reading: Reading, context: MatchContext, mask?: OwnMask): Match {
  const { parts } = reading;
  const emit = (get: Get) => {
    const rows = [parts.q, parts.k, parts.v].map((h) => toRows(get(h)));
    const bias = parts.bias && get(parts.bias);
    const { scale, softcap } = node.attrs;
    const heads = parts.q.dims[1] as number;
    const { asBias, finish, seen } = mask ? noMask : scoreMask(reading, get, context);
    const { weights } = node.attrs;
    const attrs = {
      q_num_heads: heads,
      kv_num_heads: parts.k.dims[1] as number,
      scale,
      softcap,
      is_causal: mask?.causal || mask?.causalFromTopLeft ? 1 : undefined,
      qk_matmul_output_mode: weights && 3,
      outputs: weights ? 4 : 1,
    };
    const [q, k, v] = rows as [Value, Value, Value];
    const results = apply(node.graph.ops.Attention, { q, k, v, mask: asBias(bias, q.dtype) }, attrs);
    const y = finish(results[0]!, heads);
    return weights ? [y, seen(results[3]!)] : [y];
  };
  const over = !mask && { variant: 'with the mask as a tensor', cost: allPairs(reading), notes: [maskNote(reading)] };
  return { covers: node.outputs, ...over, emit };
}
const noMask: ScoreMask = { asBias: (bias) => bias, finish: toHeads, seen: (weights) => weights };

/** Attend → Attention, also with the mask as a tensor over all scores. The only kernel that returns the weights. */
export const useAttention = rule('Attend → Attention', Attend, match);
