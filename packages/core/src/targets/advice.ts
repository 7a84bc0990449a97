// What a user could change so that a kernel of ONNX Runtime can run; depends on codes and data, never on texts.
import type { Assumption } from '../ir/assumption';
import { defineReasons, type Reason } from '../lower/reason';
import { reasons } from '../lower/reasons';
import type { AdviceContext } from '../lower/target';
import { causalMask } from '../mask/causal';
import { computedMask, denseMask } from '../mask/dense';
import { documentsMask } from '../mask/documents';
import { keyPaddingMask } from '../mask/key-padding';
import { lengthsMask } from '../mask/lengths';

const hints = defineReasons({
  lengthsInstead: () =>
    "if padding is on the right, an input lengths [batch] instead of attention_mask avoids the tensor over all pairs, and layout: 'packed' the padding itself",
  structureInstead: () =>
    'if the dense mask is causal, a window or padding, state that instead (options causal and window of the mechanism, input lengths): kernels need no tensor over all pairs for it',
  paddedInstead: () =>
    "no kernel chosen here works on packed sequences: layout 'padded' (the default) with the input lengths avoids the tensor over all pairs of tokens",
  assume: ({ assumption, holds }: { readonly assumption: Assumption; readonly holds: string }) =>
    `assumptions: ['${assumption}'] if ${holds}`,
  headDim: ({ of }: { readonly of: number }) => `a head_dim that is a multiple of ${of} would reach a fused kernel`,
  causalAlone: ({ input }: { readonly input: 'lengths' | 'attention_mask' }) =>
    `under the causal mask no real query attends to padding on the right: without the input ${input} kernels need no tensor over all pairs, and the results of real positions are the same (pooling and recurrent layers still need it)`,
  equalLengths: () =>
    "no kernel of this target takes lengths: sequences of equal length run together without them (createEncoder with layout: 'buckets'), and need no tensor over all pairs",
  withoutFeature: ({ feature }: { readonly feature: string }) =>
    `no kernel that can run here has ${feature}, so all scores are computed and kept: a model without it reaches a fused kernel`,
  tensorOfPairs: ({ kinds }: { readonly kinds: readonly string[] }) =>
    `no kernel of this target can express ${kinds.join(', ')}, so the mask takes a number for every pair; the targets cpu and wasm divide such an attention into chunks of queries`,
});

/** How a target attends under masks. */
export interface MasksOfTarget {
  /** True where a kernel takes the lengths of a padded batch. */
  readonly takesLengths: boolean;
  /** True where attention is not divided into chunks, so that a mask that no kernel expresses is a tensor over all pairs. */
  readonly wholeMasks: boolean;
}

/** Advice for every target of ONNX Runtime. */
export function advise(
  { decision: { chosen, notes, refused }, packed }: AdviceContext,
  { takesLengths, wholeMasks }: MasksOfTarget = { takesLengths: true, wholeMasks: false },
): readonly Reason[] {
  const why = refused.map(({ reason }) => reason);
  const narrow = why.filter(reasons.sizeLimit.is).find(({ data }) => data.size === 'head_dim' && data.multipleOf !== undefined);
  const assumed = why.find(reasons.assumption.is);
  const lacking = why.filter(reasons.lacks.is).find(({ data: { feature } }) => feature === 'softcap' || feature === 'sinks');
  // The classes of masks that became a tensor.
  const kinds = [
    ...notes.filter(reasons.maskOverScores.is),
    ...(chosen === 'decomposed' ? why.filter(reasons.maskNotExpressible.is) : []),
  ].flatMap(({ data }) => data.kinds);
  const has = (mask: { readonly class: { readonly name: string } }): boolean => kinds.includes(mask.class.name);
  // Everything but padding and causality is advised on by itself, or needs the tensor in any case.
  const onlyPadding = kinds.every((kind) => ofPadding.includes(kind) || kind === causalMask.class.name);
  const causalPadding = has(causalMask) && onlyPadding && !packed;
  const forPadding = (): readonly Reason[] => {
    const padded = has(keyPaddingMask) || has(lengthsMask);
    if (padded && causalPadding) return [hints.causalAlone({ input: has(lengthsMask) ? 'lengths' : 'attention_mask' })];
    if (padded && onlyPadding && !takesLengths) return [hints.equalLengths()];
    return has(keyPaddingMask) && takesLengths ? [hints.lengthsInstead()] : [];
  };
  const others = [...new Set(kinds)].filter((kind) => !advisedOn.includes(kind));
  return [
    ...forPadding(),
    ...(has(denseMask) ? [hints.structureInstead()] : []),
    ...(has(documentsMask) ? [takesLengths ? hints.paddedInstead() : hints.equalLengths()] : []),
    ...(others.length && wholeMasks ? [hints.tensorOfPairs({ kinds: others })] : []),
    ...(assumed ? [hints.assume({ assumption: assumed.data.assumption, holds: assumed.data.holds })] : []),
    ...(narrow && !lacking && chosen === 'decomposed' ? [hints.headDim({ of: narrow.data.multipleOf! })] : []),
    ...(lacking && chosen === 'decomposed' ? [hints.withoutFeature({ feature: lacking.data.feature })] : []),
  ];
}

const ofPadding = [keyPaddingMask, lengthsMask].map((mask) => mask.class.name);
const advisedOn = [...ofPadding, ...[causalMask, computedMask, denseMask, documentsMask].map((mask) => mask.class.name)];
