// What a user could change so that a kernel of ONNX Runtime can run; depends on codes and data, never on texts.
import { defineReasons, type Reason } from '../lower/reason';
import { reasons } from '../lower/reasons';
import type { AdviceContext } from '../lower/target';
import { keyPaddingMask } from '../mask/key-padding';

const hints = defineReasons({
  lengthsInstead: () =>
    'if padding is on the right, an input lengths [batch] instead of attention_mask avoids the tensor over all pairs',
  assume: ({ assumption, holds }: { readonly assumption: string; readonly holds: string }) =>
    `assumptions: ['${assumption}'] if ${holds}`,
  headDim: ({ of }: { readonly of: number }) => `a head_dim that is a multiple of ${of} would reach a fused kernel`,
});

/** Advice for every target of ONNX Runtime. */
export function advise({ decision: { chosen, notes, refused } }: AdviceContext): readonly Reason[] {
  const why = refused.map(({ reason }) => reason);
  const narrow = why.filter(reasons.sizeLimit.is).find(({ data }) => data.size === 'head_dim' && data.multipleOf !== undefined);
  const assumed = why.find(reasons.assumption.is);
  return [
    ...(notes.some((n) => reasons.maskOverScores.is(n) && n.data.kinds.includes(keyPaddingMask.class.name))
      ? [hints.lengthsInstead()]
      : []),
    ...(assumed ? [hints.assume({ assumption: assumed.data.assumption, holds: assumed.data.holds })] : []),
    ...(narrow && chosen === 'decomposed' ? [hints.headDim({ of: narrow.data.multipleOf! })] : []),
  ];
}
