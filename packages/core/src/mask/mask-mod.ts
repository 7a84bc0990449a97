// A mask as a function from the place of a query and a key to a condition.

import type { Alignment } from '../expression/step';
import type { Condition, Table, Term } from '../expression/term';
import { flattened, traceCondition } from '../expression/trace';
import { aFunction, given } from '../given';
import { expressionOf } from './expression';
import type { Mask } from './mask';
import { recognize } from './recognize';

/** Which keys a query attends to: true for the pairs that may attend. */
export type MaskFunction<V = never> = (b: Term, h: Term, q: Term, k: Term) => Condition<V>;

/**
 * A mask as a function, like `mask_mod` of PyTorch's FlexAttention. The function is called once, on the sequence `b`, the query head `h`, and the positions `q` and
 * `k` of any query and key, and returns a condition on them: comparisons (`q.ge(k)`), arithmetic (`q.sub(k).lt(256)`), `and`, `or`, `not`, and data in tables
 * ({@link lookup}).
 *
 *     maskMod((b, h, q, k) => q.ge(k))     is  causal
 *     maskMod((b, h, q, k) => q.sub(k).abs().le(2))     is  slidingWindow({ left: 2, right: 2 })
 *     maskMod((b, h, q, k) => k.lt(lookup(lengths, b)))     is  keyLengths(lengths)
 *
 * What equals a class of masks becomes it, so that it gets the same kernels. Any other condition is a mask of the class `expression`, which kernels get as a tensor
 * over all pairs: memory seq · kv_seq, for each sequence or head only if it depends on it.
 *
 * Positions are those of all masks: the last query is at the position of the last key (with a cache, queries continue after the cached positions), and in packed
 * sequences both are counted in their own sequence, whose number is `b`. Padding on the left counts as positions, so with it use `q − k`, not `q` or `k` alone. With `align: 'topLeft'` queries are counted from 0 in this call, as PyTorch does.
 *
 * Shapes   tables: an axis for each index; axes of `b` and `h` have the number of sequences and query heads. An index outside of its table gives 0, or false
 * Dtypes   positions and integers are computed exactly, floats in float32
 * Throws   ConfigError when the function returns something else, uses operators of JavaScript or forgets a condition · ShapeError for tables that do not fit,
 *          here, or when the mask is used
 * Source   Dong et al. 2024, https://arxiv.org/abs/2412.05496
 * Lowers   what it equals: as that mask · elsewhere: Range, Gather, Less, LessOrEqual, Equal, And, … and the kernels that accept a mask tensor
 * Example  const mask = maskMod((b, h, q, k) => q.ge(k).and(q.floorDiv(64).eq(k.floorDiv(64))));
 */
export function maskMod<V extends Table = never>(f: MaskFunction<V>, { align }: Alignment = {}): Mask<V> {
  given('maskMod', { f }, { f: aFunction });
  const counted: Alignment = align ? { align } : {};
  const condition = traceCondition<V>('maskMod', ['b', 'h', 'q', 'k'], (b, h, q, k) => f(b!, h!, q!, k!));
  return recognize(flattened('maskMod', condition), { ...counted, leaf: (part) => expressionOf(part, counted) });
}
