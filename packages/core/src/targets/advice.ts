// What a user could change so that a kernel of ONNX Runtime can run; depends on codes and data, never on texts.
import type { Assumption } from '../ir/assumption';
import { defineReasons, type Reason } from '../lower/reason';
import { reasons } from '../lower/reasons';
import type { AdviceContext } from '../lower/target';
import { denseMask } from '../mask/dense';
import { documentsMask } from '../mask/documents';
import { keyPaddingMask } from '../mask/key-padding';

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
});

/** Advice for every target of ONNX Runtime. */
export function advise({ decision: { chosen, notes, refused } }: AdviceContext): readonly Reason[] {
  const why = refused.map(({ reason }) => reason);
  const narrow = why.filter(reasons.sizeLimit.is).find(({ data }) => data.size === 'head_dim' && data.multipleOf !== undefined);
  const assumed = why.find(reasons.assumption.is);
  // The classes of masks that became a tensor.
  const kinds = [
    ...notes.filter(reasons.maskOverScores.is),
    ...(chosen === 'decomposed' ? why.filter(reasons.maskNotExpressible.is) : []),
  ].flatMap(({ data }) => data.kinds);
  return [
    ...(kinds.includes(keyPaddingMask.class.name) ? [hints.lengthsInstead()] : []),
    ...(kinds.includes(denseMask.class.name) ? [hints.structureInstead()] : []),
    ...(kinds.includes(documentsMask.class.name) ? [hints.paddedInstead()] : []),
    ...(assumed ? [hints.assume({ assumption: assumed.data.assumption, holds: assumed.data.holds })] : []),
    ...(narrow && chosen === 'decomposed' ? [hints.headDim({ of: narrow.data.multipleOf! })] : []),
  ];
}
