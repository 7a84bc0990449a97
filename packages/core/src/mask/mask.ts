// Masks as data: what may attend to what, said without a tensor of scores.

/**
 * Which keys a query may attend to. Positions count from the start of a sequence; `V` is what stands for run-time data (a Value while
 * tracing, an operand index inside a node).
 *
 * - `none`       every key
 * - `causal`     keys at the query's position and before it
 * - `window`     keys from `left` before to `right` after the query, both inclusive; a missing bound is open
 * - `lengths`    keys `< lengths[b]`, int64 [batch]
 * - `keys`       keys with `keep[b, j]`, bool [batch, kv_seq]
 * - `documents`  packed sequences: query token t of sequence i (`offsets[i] <= t < offsets[i + 1]`) sees the keys of sequence i; int64 [batch + 1]
 * - `tensor`     `keep`, bool, broadcast to [batch, heads, query, key]
 */
export type Mask<V> =
  | { readonly kind: 'none' }
  | { readonly kind: 'causal' }
  | { readonly kind: 'window'; readonly left?: number; readonly right?: number }
  | { readonly kind: 'lengths'; readonly keys: V }
  | { readonly kind: 'keys'; readonly keep: V }
  | { readonly kind: 'documents'; readonly offsets: V; readonly keyOffsets: V }
  | { readonly kind: 'tensor'; readonly keep: V }
  | { readonly kind: 'and' | 'or'; readonly of: readonly Mask<V>[] }
  | { readonly kind: 'not'; readonly of: Mask<V> };

/** Every key. */
export const none = { kind: 'none' } as const;
/** Keys at the query's position and before it. */
export const causal = { kind: 'causal' } as const;
/** Keys from `left` before the query to `right` after it, both inclusive, in positions. */
export function slidingWindow(bounds: { readonly left?: number; readonly right?: number }): Mask<never> {
  return { kind: 'window', ...bounds };
}

/** Both. `none` and repeated masks disappear, nested ands join. */
export function and<V>(...masks: readonly Mask<V>[]): Mask<V> {
  return join('and', masks, (m) => m.kind === 'none');
}
/** Either. */
export function or<V>(...masks: readonly Mask<V>[]): Mask<V> {
  return masks.some((m) => m.kind === 'none') ? none : join('or', masks, () => false);
}
/** The opposite. */
export function not<V>(mask: Mask<V>): Mask<V> {
  return mask.kind === 'not' ? mask.of : { kind: 'not', of: mask };
}

function join<V>(kind: 'and' | 'or', masks: readonly Mask<V>[], drop: (m: Mask<V>) => boolean): Mask<V> {
  const flat = masks.flatMap((m) => (m.kind === kind ? m.of : [m])).filter((m) => !drop(m));
  const distinct = flat.filter((m, i) => flat.findIndex((other) => sameMask(m, other)) === i);
  if (distinct.length === 0) return none;
  return distinct.length === 1 ? distinct[0]! : { kind, of: distinct };
}

function sameMask<V>(a: Mask<V>, b: Mask<V>): boolean {
  if (a === b) return true;
  if (a.kind !== b.kind) return false;
  if ((a.kind === 'and' || a.kind === 'or') && (b.kind === 'and' || b.kind === 'or'))
    return a.of.length === b.of.length && a.of.every((m, i) => sameMask(m, b.of[i]!));
  if (a.kind === 'not' && b.kind === 'not') return sameMask(a.of, b.of);
  const [x, y] = [a as unknown as Record<string, unknown>, b as unknown as Record<string, unknown>];
  return [...new Set([...Object.keys(x), ...Object.keys(y)])].every((k) => x[k] === y[k]);
}

/** The same mask over other data: from Values to operand indices, and back. */
export function mapMask<V, W>(mask: Mask<V>, f: (v: V) => W): Mask<W> {
  switch (mask.kind) {
    case 'none':
    case 'causal':
    case 'window':
      return mask;
    case 'lengths':
      return { kind: 'lengths', keys: f(mask.keys) };
    case 'keys':
      return { kind: 'keys', keep: f(mask.keep) };
    case 'documents':
      return { kind: 'documents', offsets: f(mask.offsets), keyOffsets: f(mask.keyOffsets) };
    case 'tensor':
      return { kind: 'tensor', keep: f(mask.keep) };
    case 'and':
    case 'or':
      return { kind: mask.kind, of: mask.of.map((m) => mapMask(m, f)) };
    case 'not':
      return { kind: 'not', of: mapMask(mask.of, f) };
  }
}

/** A mask in the words that kernels know; what they have no word for is in `rest`. Causal is `right: 0`. */
export interface MaskFeatures<V> {
  readonly left?: number;
  readonly right?: number;
  readonly lengths?: V;
  readonly keys?: V;
  readonly documents?: { readonly offsets: V; readonly keyOffsets: V };
  readonly rest: readonly Mask<V>[];
}

/** Reads a mask: intersects causal and windows, names lengths, keys and documents, leaves the rest. */
export function readMask<V>(mask: Mask<V>): MaskFeatures<V> {
  const reading: {
    left?: number;
    right?: number;
    lengths?: V;
    keys?: V;
    documents?: { offsets: V; keyOffsets: V };
    rest: Mask<V>[];
  } = { rest: [] };
  const narrow = (side: 'left' | 'right', bound: number | undefined) => {
    if (bound !== undefined) reading[side] = Math.min(reading[side] ?? Number.POSITIVE_INFINITY, bound);
  };
  for (const m of mask.kind === 'and' ? mask.of : [mask]) {
    if (m.kind === 'none') continue;
    if (m.kind === 'causal') narrow('right', 0);
    else if (m.kind === 'window') {
      narrow('left', m.left);
      narrow('right', m.right);
    } else if (m.kind === 'lengths' && reading.lengths === undefined) reading.lengths = m.keys;
    else if (m.kind === 'keys' && reading.keys === undefined) reading.keys = m.keep;
    else if (m.kind === 'documents' && reading.documents === undefined) reading.documents = m;
    else reading.rest.push(m);
  }
  return reading;
}

/** In words, for refusals and `explain`: `causal, lengths`. */
export function printMask(mask: Mask<unknown>): string {
  switch (mask.kind) {
    case 'window':
      return `window(${mask.left ?? '∞'} left, ${mask.right ?? '∞'} right)`;
    case 'and':
    case 'or':
      return mask.of.map(printMask).join(mask.kind === 'and' ? ', ' : ' or ');
    case 'not':
      return `not (${printMask(mask.of)})`;
    default:
      return mask.kind;
  }
}

/** The kinds of mask that stand in a tree: what a mechanism's declared `masks` are checked against. */
export function maskKinds(mask: Mask<unknown>): readonly Mask<unknown>['kind'][] {
  switch (mask.kind) {
    case 'none':
      return [];
    case 'and':
    case 'or':
      return [...new Set(mask.of.flatMap(maskKinds))];
    case 'not':
      return ['not', ...maskKinds(mask.of)];
    default:
      return [mask.kind];
  }
}
