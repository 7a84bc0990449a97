// Attention on heads of any width where fused kernels take only multiples of a number of channels.
import type { Dim } from '../dim/dim';
import { apply, type Value } from '../ir/graph';
import { defineReasons } from '../lower/reason';
import { type Rule, refuse, rule } from '../lower/rule';
import { Attend } from '../ops/attend';
import { attendParts } from '../ops/attend-parts';

const own = defineReasons({
  padded: ({ width, to }: { readonly width: number; readonly to: number }) =>
    `heads of ${width} channels with zeros up to ${to}, which do not change a score`,
  fewQueries: ({ queries }: { readonly queries: Dim }) =>
    `for few queries it would copy all keys and values to widen them: ${queries} queries`,
});

/** Fewer queries take less time in a kernel for any width than copying their keys and values. */
const few = 64;

/** Narrower heads would become wider by a quarter and more. */
const narrow = 32;

/** Of attention in a fused kernel and of copying its operands: more than blocks of a window, less than any kernel that writes all scores. */
const cost = 1;

/**
 * Attend → Attend on heads with zeros up to a multiple of channels that fused kernels take: zeros in queries and keys add nothing to a score, and those in values
 * become columns of the result that are cut off.
 */
export const useAlignedHeads: Rule = rule('Attend → Attend on wider heads', Attend, (node, { headMultiple }) => {
  const { q, k, v } = attendParts(node.operands, node.attrs);
  const [width, valueWidth] = [q.dims[3]!, v.dims[3]!];
  if (typeof width !== 'number' || typeof valueWidth !== 'number') return undefined;
  const up = (n: number): number => Math.ceil(n / headMultiple) * headMultiple;
  if ((width === up(width) && valueWidth === up(valueWidth)) || Math.min(width, valueWidth) < narrow) return undefined;
  const [queries, keys] = [q.dims[2]!, k.dims[2]!];
  if (typeof queries === 'number' ? queries < few : queries !== keys) return refuse(own.fewQueries({ queries }));
  return {
    covers: node.outputs,
    cost,
    notes: [own.padded(width === up(width) ? { width: valueWidth, to: up(valueWidth) } : { width, to: up(width) })],
    emit(get) {
      const { pad, slice } = node.graph.ops;
      const wide = (x: Value): Value => {
        const own = x.dims[3] as number;
        return own === up(own) ? get(x) : pad(get(x), { axes: [3], before: [0], after: [up(own) - own] });
      };
      const operands = node.operands.map((x) => x && (x === q || x === k || x === v ? wide(x) : get(x)));
      const [y, ...others] = apply(Attend, operands, { ...node.attrs, scale: node.attrs.scale ?? 1 / Math.sqrt(width) });
      const cut = valueWidth === up(valueWidth) ? y! : slice(y!, { axes: [3], starts: [0], ends: [valueWidth] });
      return [cut, ...others];
    },
  };
});
