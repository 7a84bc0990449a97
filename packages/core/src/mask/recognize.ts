// Conditions on the place of a query and a key as masks: the classes of the algebra where one is equal, and `leaf` elsewhere.
import { differenceOf, type Linear, linearsOf, negative, plus } from '../expression/linear';
import { partAt } from '../expression/part';
import type { Alignment, FunctionName, Traced } from '../expression/step';
import type { TensorType } from '../ir/define-op';
import { and } from './and';
import { causal } from './causal';
import { causalFromTopLeft } from './causal-from-top-left';
import { dense } from './dense';
import { dilated } from './dilated';
import { keyPadding } from './key-padding';
import { keyStarts } from './key-starts';
import { keyLengths } from './lengths';
import type { KnownSizes, Mask } from './mask';
import { none } from './none';
import { not } from './not';
import { or } from './or';
import { prefix } from './prefix';
import { slidingWindow } from './window';

/** Options of {@link recognize}. */
export interface RecognizeOptions<V> extends Alignment {
  /** The mask of a condition that no class expresses. */
  readonly leaf: (condition: Traced<V>) => Mask<V>;
  /** Some forms are equal only at some sizes. */
  readonly sizes?: KnownSizes;
}

/** The mask of a condition. */
export function recognize<V extends TensorType>(expression: Traced<V>, { leaf, align, sizes }: RecognizeOptions<V>): Mask<V> {
  const { steps, tables } = expression;
  const opOf = (i: number): string => steps[i]!.op;
  const everything = none as Mask<V>;
  const sums = linearsOf(expression);
  const masks: (Mask<V> | undefined)[] = [];

  function maskAt(i: number): Mask<V> {
    masks[i] ??= formOf(i) ?? leaf(partAt(expression, i));
    return masks[i];
  }
  function formOf(i: number): Mask<V> | undefined {
    const step = steps[i]!;
    if (step.op === 'lookup') return tableOf(step.table, step.of);
    if (!('of' in step)) return undefined;
    const [a, b] = step.of as readonly [number, number];
    switch (step.op) {
      case 'and':
        return and(maskAt(a), maskAt(b));
      case 'or':
        return prefixOf(a, b) ?? prefixOf(b, a) ?? or(maskAt(a), maskAt(b));
      case 'not':
        return negated(a);
      default:
        return step.op in comparisons ? compared(step.op as Comparison, a, b) : undefined;
    }
  }

  function negated(i: number): Mask<V> {
    const step = steps[i]!;
    const form =
      step.op in comparisons && 'of' in step ? compared(opposite[step.op as Comparison], step.of[0]!, step.of[1]!) : undefined;
    return form ?? not(maskAt(i));
  }

  // ---- Comparisons of integers -----------------------------------------------------------------------------------------------

  /** a − b, if both are integers. */
  const difference = (a: number, b: number): Linear | undefined => sums[a] && sums[b] && differenceOf(sums[a], sums[b]);
  function compared(op: Comparison, a: number, b: number): Mask<V> | undefined {
    const apart = difference(a, b);
    return apart && comparisons[op](apart);
  }
  type Form = (x: Linear) => Mask<V> | undefined;
  const notAbove: Form = (x) => constantForm(x, x.constant <= 0) ?? distance(x) ?? bothSides(x) ?? limited(x);
  const isZero: Form = (x) => constantForm(x, x.constant === 0) ?? multiple(x) ?? joint(and, notAbove(x), notAbove(negative(x)));
  const comparisons: Readonly<Record<Comparison, Form>> = {
    le: notAbove,
    lt: (x) => notAbove(belowZero.lt(x)),
    ge: (x) => notAbove(belowZero.ge(x)),
    gt: (x) => notAbove(belowZero.gt(x)),
    eq: isZero,
    ne: (x) => {
      const equal = isZero(x);
      return equal && not(equal);
    },
  };
  const joint = (join: typeof and, x: Mask<V> | undefined, y: Mask<V> | undefined): Mask<V> | undefined => x && y && join(x, y);

  /** n (k − q) + c <= 0. */
  function distance({ terms, constant }: Linear): Mask<V> | undefined {
    const ahead = onlyTerms(terms, ['k', 'q']);
    if (!ahead || ahead[0] !== -ahead[1]!) return undefined;
    const [n] = ahead as [number];
    if (align === 'topLeft') return n > 0 && constant <= 0 && constant > -n ? causalFromTopLeft : undefined;
    // k <= q + bound, or k >= q − bound.
    const bound = Math.floor(-constant / Math.abs(n)) + 0; // never −0
    if (n < 0) return slidingWindow({ left: bound });
    return bound === 0 ? causal : slidingWindow({ right: bound });
  }

  /** |x| + c <= 0, or −|x| + c <= 0. */
  function bothSides({ terms, constant }: Linear): Mask<V> | undefined {
    const [[at, n] = [], ...more] = [...terms];
    if (at === undefined || more.length || opOf(at) !== 'abs' || Math.abs(n!) !== 1) return undefined;
    const step = steps[at] as { readonly of: readonly number[] };
    const inside = sums[step.of[0]!]!;
    if (n === 1) return joint(and, notAbove(plus(inside, constant)), notAbove(plus(negative(inside), constant)));
    return joint(or, notAbove(plus(inside, constant)), notAbove(plus(negative(inside), constant)));
  }

  /** k < table[b], or k >= table[b]. */
  function limited({ terms, constant }: Linear): Mask<V> | undefined {
    const found = [...terms].find(([at]) => opOf(at) === 'lookup');
    const step = found && steps[found[0]]!;
    if (terms.size !== 2 || !step || step.op !== 'lookup' || step.of.length !== 1 || opOf(step.of[0]!) !== 'b') return undefined;
    const k = onlyTerms(new Map([...terms].filter(([at]) => at !== found[0])), ['k'])?.[0];
    const table = tables[step.table]!;
    if (table.dtype !== 'int64') return undefined;
    if (k === 1 && found[1] === -1 && constant === 1) return keyLengths(table);
    return k === -1 && found[1] === 1 && constant === 0 ? keyStarts(table) : undefined;
  }

  /** (q − k) mod n, or q mod n − k mod n. */
  function multiple({ terms, constant }: Linear): Mask<V> | undefined {
    if (constant !== 0 || align === 'topLeft') return undefined;
    const remainders = [...terms].map(([at, factor]) => {
      const step = steps[at]!;
      if (step.op !== 'mod') return undefined;
      const divisor = steps[step.of[1]!] as { readonly value: number };
      return { of: sums[step.of[0]!]!, by: divisor.value, factor };
    });
    const [x, y] = remainders;
    if (!x || (remainders.length === 2 && (!y || y.by !== x.by || y.factor !== -x.factor)) || remainders.length > 2)
      return undefined;
    const whole = (n: number): boolean => n % x.by === 0;
    if (!y) {
      const apart = onlyTerms(x.of.terms, ['k', 'q']);
      return apart && apart[0] === -apart[1]! && Math.abs(apart[0]!) === 1 && whole(x.of.constant) ? dilated(x.by) : undefined;
    }
    const [q, k] = onlyTerms(x.of.terms, ['q']) ? [x, y] : [y, x];
    const alone = onlyTerms(q.of.terms, ['q'])?.[0] === 1 && onlyTerms(k.of.terms, ['k'])?.[0] === 1;
    return alone && whole(q.of.constant - k.of.constant) ? dilated(x.by) : undefined;
  }

  const constantForm = ({ terms }: Linear, holds: boolean): Mask<V> | undefined =>
    terms.size === 0 ? (holds ? everything : not(everything)) : undefined;
  /** The coefficients of these places, if there are no other terms. */
  function onlyTerms(terms: ReadonlyMap<number, number>, places: readonly ('q' | 'k')[]): readonly number[] | undefined {
    const found = places.map((place) => [...terms].find(([at]) => opOf(at) === place)?.[1]);
    return terms.size === places.length && found.every((n) => n !== undefined) ? found : undefined;
  }

  // ---- More than one comparison, and tables --------------------------------------------------------------------------------

  /** k < n or k <= q. */
  function prefixOf(first: number, other: number): Mask<V> | undefined {
    if (maskAt(other) !== causal) return undefined;
    const step = steps[first]!;
    if (!(step.op in comparisons) || !('of' in step)) return undefined;
    const form = compared(step.op as Comparison, step.of[0]!, step.of[1]!);
    if (form?.class === keyLengths(0).class) return prefix(form.operands.keys! as V & object);
    const apart = difference(step.of[0]!, step.of[1]!);
    const below = apart && step.op in belowZero ? belowZero[step.op as keyof typeof belowZero](apart) : undefined;
    if (!below) return undefined;
    const count = 1 - below.constant;
    return onlyTerms(below.terms, ['k'])?.[0] === 1 && count >= 0 ? prefix(count) : undefined;
  }

  /** A table of flags at the places of queries and keys: their rows, where these are known to be their positions. */
  function tableOf(index: number, of: readonly number[]): Mask<V> | undefined {
    if (!sizes || sizes.packed) return undefined;
    const table = tables[index]!;
    const places = of.map(opOf).join('');
    const rows = align === 'topLeft' || sizes.startsTogether ? sizes.seq : undefined;
    const has = (...dims: readonly unknown[]): boolean => dims.every((d, i) => d !== undefined && d === table.dims[i]);
    if (places === 'bk' && has(sizes.batch, sizes.kvSeq)) return keyPadding(table);
    const { batch, heads, kvSeq } = sizes;
    const full = { qk: [rows, kvSeq], hqk: [heads, rows, kvSeq], bhqk: [batch, heads, rows, kvSeq] }[places];
    return full && has(...full) ? dense(table) : undefined;
  }

  return maskAt(steps.length - 1);
}

type Comparison = Extract<FunctionName, 'lt' | 'le' | 'gt' | 'ge' | 'eq' | 'ne'>;
const opposite: Readonly<Record<Comparison, Comparison>> = { lt: 'ge', ge: 'lt', le: 'gt', gt: 'le', eq: 'ne', ne: 'eq' };

/** A sum that is compared with 0, as one that is at most 0. */
const belowZero = {
  le: (x: Linear) => x,
  lt: (x: Linear) => plus(x, 1),
  ge: negative,
  gt: (x: Linear) => plus(negative(x), 1),
};
