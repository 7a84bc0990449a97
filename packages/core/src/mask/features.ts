// Masks in the words of kernels: all of a mask, or nothing.
import { conjuncts, type Mask, type MaskFeatures, maskKinds, printMask } from './mask';

/** All of a mask in the words of kernels; undefined where they have none for a part of it. */
export const featuresOf = <V>(mask: Mask<V>): MaskFeatures<V> | undefined => mask.class.definition.features?.(mask);

/** What holds for every pair that a mask allows. It may allow fewer: for costs, never for what a kernel is told. */
export const impliedBy = <V>(mask: Mask<V>): MaskFeatures<V> => mask.class.definition.implies?.(mask) ?? featuresOf(mask) ?? {};

/** Both in one: the narrower bounds; undefined where both have data of the same sort. */
export function joinFeatures<V>(a: MaskFeatures<V>, b: MaskFeatures<V>): MaskFeatures<V> | undefined {
  const all = { ...a, ...b };
  for (const name of Object.keys(b) as (keyof MaskFeatures<V>)[])
    if (name !== 'left' && name !== 'right' && a[name] !== undefined && a[name] !== b[name]) return undefined;
  const narrower = (side: 'left' | 'right') => Math.min(...[a[side], b[side]].filter((n) => n !== undefined));
  return {
    ...all,
    ...(all.left !== undefined && { left: narrower('left') }),
    ...(all.right !== undefined && { right: narrower('right') }),
  };
}

/** What a kernel can say: `causal` keys up to the query's position, `window` any bounds on both sides, and data. */
export interface MaskWords {
  readonly causal?: true;
  readonly window?: true;
  readonly lengths?: true;
  readonly keyPadding?: true;
  readonly documents?: true;
  readonly dense?: true;
}

/** All of a mask in the features that were requested. */
export type MaskReading<V, W extends MaskWords> = (W extends { causal: true } ? { readonly causal: boolean } : unknown) &
  (W extends { window: true } ? { readonly left?: number; readonly right?: number } : unknown) & {
    readonly [N in keyof W & ('lengths' | 'keyPadding' | 'documents' | 'dense')]?: MaskFeatures<V>[N];
  } & { readonly beyond?: undefined };

/** The part of a mask that a kernel cannot express: as text, and the classes in it. */
export interface MaskBeyond {
  readonly beyond: { readonly mask: string; readonly kinds: readonly string[] };
}

/** Options of {@link expressedBy}. */
export interface ExpressOptions {
  /** There is one query, at the last key: a mask that hides only keys after the query hides none. */
  readonly lastQuery?: boolean;
}

/**
 * A mask in a kernel's own words: all of it, or what is beyond them. Nothing of a mask can be left over by accident.
 *
 * Example  const reading = expressedBy(mask, { causal: true, lengths: true });
 */
export function expressedBy<V, W extends MaskWords>(
  mask: Mask<V>,
  words: W,
  { lastQuery = false }: ExpressOptions = {},
): MaskReading<V, W> | MaskBeyond {
  const said = within(mask, words, lastQuery);
  if (said) return { ...said, ...(words.causal && { causal: said.right === 0 }) } as unknown as MaskReading<V, W>;
  const parts = conjuncts(mask);
  const others = parts.filter((part) => !within(part, words, lastQuery));
  const left = others.length ? others : [mask];
  return { beyond: { mask: left.map(printMask).join(', '), kinds: [...new Set(left.flatMap(maskKinds))] } };
}

function within<V>(mask: Mask<V>, words: MaskWords, lastQuery: boolean): MaskFeatures<V> | undefined {
  const all = featuresOf(mask);
  if (!all) return undefined;
  const { right, ...others } = all;
  const features = right === undefined || (lastQuery && right >= 0 && !others.documents) ? others : all;
  const sayable = Object.keys(features).every((name) => {
    if (name === 'left' || name === 'right') return words.window || (words.causal && name === 'right' && right === 0);
    return words[name as keyof MaskWords];
  });
  return sayable ? features : undefined;
}
