// Attention of the standard, in its form with rows: one kernel for shared key heads without a cache.
import { apply, Attend, type AttendAttrs, attendParts, expand, type Get, type Node, Attention, printMask, readMask, refuse, rule, unsqueeze, type Value } from '@onnxformers/core';
import { toHeads, toRows } from './rows';

/** Attend → Attention. */
export const useAttention = rule('Attend → Attention', Attend, (node: Node<AttendAttrs>) => {
  const { q, k, v, start, bias, sinks, noise, mask } = attendParts(node.operands, node.attrs);
  const m = readMask(mask);
  const [heads, kvHeads] = [q.dims[1], k.dims[1]];
  if (typeof heads !== 'number' || typeof kvHeads !== 'number') return refuse('the numbers of heads must be known');
  if (m.rest.length || m.documents || m.lengths || m.left !== undefined || (m.right !== undefined && m.right !== 0)) return refuse(`it cannot express the mask: ${printMask(mask)}`);
  if (m.right === 0 && q.dims[2] !== k.dims[2]) return refuse('it aligns causal at the first key, we at the last');
  if (m.keys && bias) return refuse('it takes a mask or a bias, not both');
  if (bias && (bias.dims[0] !== q.dims[0] || bias.dims[1] !== heads)) return refuse('its bias is not broadcast');
  if (start) return refuse('it has no cache with a place for each row');
  if (sinks) return refuse('it has no sinks');
  if (noise) return refuse('it has no dropout');
  return {
    covers: node.outputs,
    emit(get: Get) {
      const [query, key, value] = [q, k, v].map((h) => toRows(get(h)));
      const keep = m.keys && expand(unsqueeze(get(m.keys), [1, 2]), [q.dims[0]!, 1, q.dims[2]!, k.dims[2]!]);
      const { scale, softcap } = node.attrs;
      const attrs = { q_num_heads: heads, kv_num_heads: kvHeads, ...(scale !== undefined && { scale }), ...(softcap !== undefined && { softcap }), ...(m.right === 0 && { is_causal: 1 }), outputs: 1 };
      return [toHeads(apply(Attention, [query, key, value, keep ?? (bias && get(bias))], attrs)[0]!, heads)];
    },
  };
});
