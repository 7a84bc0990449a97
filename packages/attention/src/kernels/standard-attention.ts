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

/** One variant of the kernel. */
interface Form {
  /** Absent: the mask becomes a tensor over all scores. */
  readonly mask?: OwnMask | undefined;
  /** Operands are heads, [batch, heads, seq, head_dim], instead of rows. */
  readonly asHeads: boolean;
}

// With the mask as attributes of the kernel, otherwise as a tensor over all scores; on rows, and on heads where keys or values are not made from rows, as those of a
// cache.
function match(node: Node<AttendAttrs>, context: MatchContext): Outcome {
  const reading = readAttend(node);
  const why = objection(reading);
  if (why) return refuse(why);
  const own = ownMask(reading);
  const mask = 'refused' in own ? undefined : own;
  const { k, v } = reading.parts;
  const forms = madeFromRows(k) && madeFromRows(v) ? [false] : [false, true];
  return [...('refused' in own ? [own] : []), ...forms.map((asHeads) => made(node, reading, context, { mask, asHeads }))];
}

const madeFromRows = (heads: Value): boolean => heads.producer?.op === heads.graph.ops.Transpose;

function made(node: Node<AttendAttrs>, reading: Reading, context: MatchContext, { mask, asHeads }: Form): Match {
  const { parts } = reading;
  const emit = (get: Get) => {
    const [q, k, v] = [parts.q, parts.k, parts.v].map((h) => (asHeads ? get(h) : toRows(get(h)))) as [Value, Value, Value];
    const bias = parts.bias && get(parts.bias);
    const { scale, softcap, weights } = node.attrs;
    const heads = parts.q.dims[1] as number;
    const { asBias, finish, seen } = mask ? noMask : scoreMask(reading, get, context);
    const attrs = {
      ...(!asHeads && { q_num_heads: heads, kv_num_heads: parts.k.dims[1] as number }),
      scale,
      softcap,
      is_causal: mask?.causal || mask?.causalFromTopLeft ? 1 : undefined,
      qk_matmul_output_mode: weights && 3,
      outputs: weights ? 4 : 1,
    };
    const results = apply(node.graph.ops.Attention, { q, k, v, mask: asBias(bias, q.dtype) }, attrs);
    const y = asHeads ? seen(results[0]!) : finish(results[0]!, heads);
    return weights ? [y, seen(results[3]!)] : [y];
  };
  const variant = [...(asHeads ? ['on heads'] : []), ...(mask ? [] : ['with the mask as a tensor'])].join(', ');
  const over = !mask && { cost: allPairs(reading), notes: [maskNote(reading)] };
  return { covers: node.outputs, ...(variant && { variant }), ...over, emit };
}
const noMask: ScoreMask = { asBias: (bias) => bias, finish: toHeads, seen: (y) => y };

/**
 * Attend → Attention, also with the mask as a tensor over all scores, and on heads, which copies no keys that are heads. The only kernel that returns the
 * weights.
 */
export const useAttention = rule('Attend → Attention', Attend, match);
