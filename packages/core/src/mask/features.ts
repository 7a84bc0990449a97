// Masks as features of kernels: the whole mask, or a refusal.
import { conjuncts, type Mask, type MaskFeatures, maskKinds, printMask } from './mask';

/** The whole mask as features of kernels; undefined if a part of it has no such feature. */
export const featuresOf = <V>(mask: Mask<V>): MaskFeatures<V> | undefined => mask.class.definition.features?.(mask);

/** Features that are true for every pair that a mask allows. The mask may allow fewer pairs, so use them for costs only, never as arguments of a kernel. */
export const impliedBy = <V>(mask: Mask<V>): MaskFeatures<V> => mask.class.definition.implies?.(mask) ?? featuresOf(mask) ?? {};

/** The features of both masks together, with the narrower bounds; undefined if both have data of the same kind. */
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

/**
 * What a kernel can express: `causal` keys up to the query's position, `causalFromTopLeft` keys up to the query's number, `window` any bounds on both
 * sides, and data.
 */
export interface MaskSupport {
  readonly causal?: true;
  readonly window?: true;
  readonly causalFromTopLeft?: true;
  readonly lengths?: true;
  readonly keyPadding?: true;
  readonly documents?: true;
  readonly dense?: true;
}

/** The whole mask in the features that were requested. */
export type ExpressedMask<V, W extends MaskSupport> = (W extends { causal: true } ? { readonly causal: boolean } : unknown) &
  (W extends { window: true } ? { readonly left?: number; readonly right?: number } : unknown) & {
    readonly [N in keyof W & ('causalFromTopLeft' | 'lengths' | 'keyPadding' | 'documents' | 'dense')]?: MaskFeatures<V>[N];
  } & { readonly inexpressible?: undefined };

/** The part of a mask that a kernel cannot express: as text, and the classes in it. */
export interface InexpressibleMask {
  readonly inexpressible: { readonly mask: string; readonly kinds: readonly string[] };
}

/** Options of {@link expressedBy}. */
export interface ExpressOptions {
  /** There is one query, at the position of the last key: a mask that hides only keys after the query hides none. */
  readonly lastQuery?: boolean;
}

/**
 * A mask in the features of a kernel: the whole mask, or the part that the kernel cannot express. No part of a mask can be forgotten.
 *
 * Example  const reading = expressedBy(mask, { causal: true, lengths: true });
 */
export function expressedBy<V, W extends MaskSupport>(
  mask: Mask<V>,
  words: W,
  { lastQuery = false }: ExpressOptions = {},
): ExpressedMask<V, W> | InexpressibleMask {
  const said = within(mask, words, lastQuery);
  if (said) return { ...said, ...(words.causal && { causal: said.right === 0 }) } as unknown as ExpressedMask<V, W>;
  const parts = conjuncts(mask);
  const others = parts.filter((part) => !within(part, words, lastQuery));
  const left = others.length ? others : [mask];
  return { inexpressible: { mask: left.map(printMask).join(', '), kinds: [...new Set(left.flatMap(maskKinds))] } };
}

function within<V>(mask: Mask<V>, words: MaskSupport, lastQuery: boolean): MaskFeatures<V> | undefined {
  const all = featuresOf(mask);
  if (!all) return undefined;
  const { right, ...others } = all;
  const features = right === undefined || (lastQuery && right >= 0 && !others.documents) ? others : all;
  const sayable = Object.keys(features).every((name) => {
    if (name === 'left' || name === 'right') return words.window || (words.causal && name === 'right' && right === 0);
    return words[name as keyof MaskSupport];
  });
  return sayable ? features : undefined;
}
