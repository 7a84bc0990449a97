// What a user could change so that a faster attention kernel runs on a GPU.
import { defineReasons, type Reason, type ReasonOf } from '../lower/reason';
import { reasons } from '../lower/reasons';
import type { AdviceContext } from '../lower/target';
import { causalMask } from '../mask/causal';
import { lengthsMask } from '../mask/lengths';
import { Attend } from '../ops/attend';
import { Attention } from '../ops/onnx-attention';
import { advise } from './advice';
import { kernelNotes } from './attention-kernel';

const hints = defineReasons({
  halfPrecision: () => "dtype: 'float16' or 'bfloat16' reaches flash attention, which does not exist in float32",
  installCudnn: () => 'with cuDNN 9.3 or newer installed (not 9.10.0 or 9.10.1), MultiHeadAttention can run',
  packedNeedsNoCudnn: () => "layout: 'packed' avoids padding, and its kernel needs no cuDNN",
  headDim: ({ of }: { readonly of: number }) => `a head_dim that is a multiple of ${of} reaches the fast kernels`,
  packedSparesTensor: () => "layout: 'packed' avoids the tensor over all pairs",
  alignedLength: () => 'pad sequences to a multiple of 8 positions',
  lengthsForMask: () =>
    'instead of a mask with flags of keys, pass the lengths of the sequences, int32 [batch], if padding is on the right; or pack the sequences (PackedMultiHeadAttention)',
  noBias: () =>
    "flash attention of this GPU takes no bias, which has a number for every pair of positions: positions by rotaryEmbedding: 'rotary' need none",
  float16Instead: () => "dtype: 'float16': this GPU has no bfloat16",
});

/** Advice for CUDA, depending on the machine if it is known. */
export function adviseOnCuda(situation: AdviceContext): readonly Reason[] {
  const { computes, decision, forecasts, packed } = situation;
  const { op, chosen, notes, refused } = decision;
  const isAttention = op === Attend.key || op === Attention.key;
  const noted = (kernel: string, ...codes: readonly ReasonOf<never>[]): boolean =>
    forecasts.some(({ kernel: run, note }) => run === kernel && note !== undefined && codes.some((c) => c.is(note)));
  const certainly = noted('MATH', kernelNotes.queries, kernelNotes.keys);
  const perhaps = noted('EFFICIENT_ATTENTION', kernelNotes.ifQueriesAligned, kernelNotes.ifKeysAligned);
  const kinds = notes.filter(reasons.maskOverScores.is).flatMap(({ data }) => data.kinds);
  const overScores = kinds.length > 0;
  const slow = ['EFFICIENT_ATTENTION', 'MATH'];
  const ofBias = [
    kernelNotes.bias,
    kernelNotes.ifQueriesAligned,
    kernelNotes.ifKeysAligned,
    kernelNotes.queries,
    kernelNotes.keys,
  ];
  const biased = slow.some((kernel) => noted(kernel, ...ofBias));
  return [
    ...(isAttention && computes === 'float32' && chosen !== 'kept' ? [hints.halfPrecision()] : []),
    ...(refused.some(({ reason }) => kernelNotes.needsCudnn.is(reason)) ? [hints.installCudnn()] : []),
    ...(!packed && noted('MATH', kernelNotes.lengthsNeedCudnn) ? [hints.packedNeedsNoCudnn()] : []),
    ...(refused.some(({ reason }) => kernelNotes.noBfloat16.is(reason)) ? [hints.float16Instead()] : []),
    ...(noted('MATH', kernelNotes.headDim) ? [hints.headDim({ of: 8 })] : []),
    ...(noted('MATH', kernelNotes.keysMask) ? [hints.lengthsForMask()] : []),
    ...(overScores && !packed && !kinds.includes(causalMask.class.name) && kinds.includes(lengthsMask.class.name)
      ? [hints.packedSparesTensor()]
      : []),
    ...(computes !== 'float32' && !overScores && !chosen.startsWith('kept') && biased ? [hints.noBias()] : []),
    ...(!packed && (certainly || perhaps) ? [hints.alignedLength()] : []),
    ...advise(situation, { takesLengths: true, wholeMasks: true }),
  ];
}
