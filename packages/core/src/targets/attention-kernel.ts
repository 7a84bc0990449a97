// Which kernel ONNX Runtime's CUDA provider runs for an attention node: its decision on the host, as observed on 1.29 and 1.30.
import { addDims, type Dim, mulDims } from '../dim/dim';
import type { Attrs } from '../ir/define-op';
import type { Node, Value } from '../ir/graph';
import { defineReasons, type Reason } from '../lower/reason';
import type { Machine } from '../lower/target';
import type { DType } from '../tensor/tensor';
import { byEight, known, longestOf, packedShapeOf, projectedShapeOf, type Shape, shapeOf, width } from './attention-shape';
import { type AvailableKernels, availableOn } from './available-kernels';

/** The names that the runtime itself prints. `NONE`: the runtime refuses to run the node. */
export type AttentionKernelName =
  | 'CUDNN_FLASH_ATTENTION'
  | 'FLASH_ATTENTION'
  | 'TRT_FLASH_ATTENTION'
  | 'TRT_FUSED_ATTENTION'
  | 'TRT_CROSS_ATTENTION'
  | 'EFFICIENT_ATTENTION'
  | 'XQA'
  | 'DECODER_ATTENTION'
  | 'MATH'
  | 'NONE';

/** A choice, and what it also depends on. */
export interface AttentionKernelChoice {
  readonly kernel: AttentionKernelName;
  readonly note?: Reason;
}

/** What a choice depends on, or why no faster kernel runs. */
export const kernelNotes = defineReasons({
  noBfloat16: () => 'there is no bfloat16 below compute capability 8.0',
  headDim: () => 'head_dim is not a multiple of 8',
  lengthsNeedCudnn: () => 'only its cuDNN kernel supports the lengths of a padded batch',
  bias: () => 'it has no fast kernel with a bias',
  sharedHeads: () => 'it has no fast kernel in float32 for grouped key heads',
  xqa: () => 'XQA if the cache is updated in place',
  blockSize: ({ of }: { readonly of: number }) => `the block size is not a multiple of ${of}`,
  ifBlockSize: ({ of }: { readonly of: number }) => `if the block size is a multiple of ${of}`,
  onlyFlash: ({ what }: { readonly what: string }) => `only its flash kernel, from compute capability 8.0 on, ${what}`,
  ifOneQuery: () => 'DECODER_ATTENTION for one query of each sequence',
  queries: ({ of, got }: { readonly of: number; readonly got: number }) => `${got} queries are not a multiple of ${of}`,
  keys: ({ of, got }: { readonly of: number; readonly got: number }) => `${got} keys are not a multiple of ${of}`,
  biasKeys: () => 'a bias needs a number of keys that is a multiple of 4',
  ifQueriesAligned: () => 'if the number of queries is a multiple of 8, otherwise MATH',
  ifKeysAligned: () => 'if the number of keys is a multiple of 4, otherwise MATH',
  ifLong: ({ from }: { readonly from: number }) => `from ${from} positions on, otherwise MATH`,
  /** MultiHeadAttention cannot run at all. */
  needsCudnn: () => 'it needs cuDNN at run time, which this machine lacks',
  /** Not probed on a GPU; according to its documentation only an unfused kernel returns them, which has no advantage. */
  scores: () => 'it has no fast kernel that returns scores or weights',
  short: ({ from }: { readonly from: number }) => `there are fewer than ${from} positions`,
  switchedOff: () => 'the memory-efficient kernel is switched off by an environment variable',
  keysMask: ({ dims }: { readonly dims: string }) =>
    `only the lengths of the sequences [batch] reach a fused kernel, and the mask is [${dims}]`,
  past: () => 'it has no fast kernel with a past',
  oneQuery: () => 'CUDNN_FLASH_ATTENTION for one query',
  together: ({ from }: { readonly from: number }) =>
    `from ${from} positions on, a slower one for fewer, because queries, keys and values are in one tensor`,
  noBfloat16Kernel: () => 'only its cuDNN kernel supports bfloat16',
});

/**
 * The kernel that ONNX Runtime will run for a node of MultiHeadAttention, GroupQueryAttention, Attention (of the standard or of com.microsoft),
 * PackedMultiHeadAttention, PackedAttention or PagedAttention on a GPU; undefined for other ops. Unknown parts of the machine are assumed to be the newest.
 */
export function attentionKernel(node: Node, machine: Machine = {}): AttentionKernelChoice | undefined {
  return choosers[node.op.key]?.(node, availableOn(machine));
}

// Operands are read by their places in the ONNX op: a user's own op may name them differently, or not at all.
type Chooser = (node: Node, has: AvailableKernels) => AttentionKernelChoice;
const choosers: Readonly<Record<string, Chooser>> = {
  'com.microsoft.MultiHeadAttention': multiHead,
  'com.microsoft.GroupQueryAttention': groupQuery,
  'com.microsoft.PackedMultiHeadAttention': packed,
  'com.microsoft.Attention': projected,
  'com.microsoft.PackedAttention': packedProjected,
  'com.microsoft.PagedAttention': paged,
  Attention: standard,
};

const is = (kernel: AttentionKernelName, note?: Reason): AttentionKernelChoice => ({ kernel, ...(note && { note }) });
const number = (attrs: Attrs, name: string): number => Number(attrs[name] ?? 0);
const half = (dtype: DType): boolean => dtype === 'float16' || dtype === 'bfloat16';

function multiHead(node: Node, has: AvailableKernels): AttentionKernelChoice {
  const { attrs } = node;
  const { 4: mask, 5: bias } = node.operands;
  const heads = number(attrs, 'num_heads');
  const s = shapeOf(node, heads, heads);
  const causal = number(attrs, 'unidirectional') === 1;
  if (!has.loadsCudnn) return is('NONE', kernelNotes.needsCudnn());
  if (s.dtype === 'bfloat16' && has.sm < 80) return is('NONE', kernelNotes.noBfloat16());
  if (!byEight(s)) return is('MATH', kernelNotes.headDim());
  const form = mask && maskForm(mask, node.operands[0]!.dims[0]!);
  if (form === 'keys') return is('MATH', keysMask(mask!));
  if (form === 'offsets') return s.dtype === 'float16' ? efficient(has) : fromLength(s, has);
  if (!half(s.dtype)) return mask ? is('MATH') : fromLength(s, has, bias);
  const narrow = width(s) <= 256;
  const cudnn = has.cudnn !== 'never' && narrow && !(causal && surelyLonger(s.seq, s.kvSeq));
  if (cudnn && has.cudnn === 'first') return is('CUDNN_FLASH_ATTENTION');
  if (has.flash && s.dtype === 'float16' && !bias && !mask && narrow && s.headDim === s.valueDim) return is('FLASH_ATTENTION');
  if (cudnn) return is('CUDNN_FLASH_ATTENTION');
  const plain = !causal && !bias && s.dtype === 'float16' && s.headDim === s.valueDim && !cachesOrJoins(node);
  const tensorRt = plain ? tensorRtKernel(s, has) : undefined;
  if (mask) return tensorRt ? is(tensorRt) : is('MATH', kernelNotes.lengthsNeedCudnn());
  if (s.dtype === 'bfloat16') return fromLength(s, has, bias);
  if (bias) return withBias(s, has);
  if (s.headDim !== s.valueDim || !narrow) return efficient(has);
  return plain && crosses(s, has) ? is('TRT_CROSS_ATTENTION') : tensorRt ? is(tensorRt) : efficient(has);
}

/** TensorRT's kernels for cross attention, which it runs for short sequences of equal lengths too. */
const crosses = (s: Shape, { sm, tensorRtCross }: AvailableKernels): boolean =>
  tensorRtCross && sm >= 75 && sm < 90 && s.seq === s.kvSeq && typeof s.seq === 'number' && s.seq <= 128 && width(s) <= 64;

/** The forms of a mask: the lengths [batch], lengths and offsets [3 · batch + 2], or flags of keys or pairs [batch, …, keys]. */
function maskForm({ rank, dims: [size] }: Value, batch: Dim): 'lengths' | 'offsets' | 'keys' {
  if (rank > 1) return 'keys';
  return size === addDims(mulDims(3, batch), 2) ? 'offsets' : 'lengths';
}
const keysMask = ({ dims }: Value): Reason => kernelNotes.keysMask({ dims: dims.join(', ') });

// TensorRT's kernels neither read nor write a cache, and keys are [batch, kv_seq, dim] or in one tensor with queries and values.
const cachesOrJoins = ({ operands, outputs }: Node): boolean => {
  // By position: the op may be a user's own, whose operands have no names.
  const [, key, , , , , past] = operands;
  return past !== undefined || outputs.length > 1 || (key?.rank ?? 3) !== 3;
};

// TensorRT's kernels for self attention, compiled for some head sizes.
function tensorRtKernel(
  { seq, kvSeq, headDim = 64 }: Shape,
  { sm, tensorRt, tensorRtFlash }: AvailableKernels,
): AttentionKernelName | undefined {
  if (!tensorRt || seq !== kvSeq || sm >= 90 || (sm < 75 && headDim !== 64)) return undefined;
  const short = typeof seq === 'number' && seq < 385;
  if (short) return headDim === 32 || headDim === 64 ? 'TRT_FUSED_ATTENTION' : undefined;
  return tensorRtFlash && [16, 32, 40, 64, 80, 128, 160, 256].includes(headDim) ? 'TRT_FLASH_ATTENTION' : undefined;
}

function groupQuery(node: Node, has: AvailableKernels): AttentionKernelChoice {
  const { attrs } = node;
  const { 3: pastKey, 10: bias, 11: sinks, 12: keyScale, 13: valueScale } = node.operands;
  const s = shapeOf(node, number(attrs, 'num_heads'), number(attrs, 'kv_num_heads'));
  if (s.dtype === 'bfloat16' && has.sm < 80) return is('NONE', kernelNotes.noBfloat16());
  if (bias) return is('MATH', kernelNotes.bias());
  if (keyScale && !has.flash) return is('NONE', kernelNotes.onlyFlash({ what: 'reads a cache of integers' }));
  const sums = sinks ?? attrs.smooth_softmax;
  const plain = !(number(attrs, 'local_window_size') > 0) && !attrs.softcap && !sums && !keyScale;
  const narrow = width(s) <= 256;
  const cudnn = plain && has.cudnn !== 'never' && narrow;
  const shared =
    pastKey !== undefined &&
    s.seq === 1 &&
    pastKey.dims[2] === node.outputs[1]?.dims[2] &&
    [64, 128, 256].includes(s.headDim ?? 0);
  const perKey = number(attrs, 'num_heads') / number(attrs, 'kv_num_heads');
  const scaled = !keyScale || (keyScale === valueScale && [4, 8, 16, 32].includes(perKey));
  const inPlace = has.xqa && has.sm >= 80 && shared && scaled && !attrs.softcap;
  const note = inPlace ? kernelNotes.xqa() : undefined;
  if (cudnn) return is('CUDNN_FLASH_ATTENTION', note);
  if (has.flash && narrow) return is('FLASH_ATTENTION', note);
  if (sums && !has.efficient) return is('NONE', kernelNotes.switchedOff());
  return efficient(has, note);
}

function standard(node: Node, has: AvailableKernels): AttentionKernelChoice {
  const { attrs } = node;
  const [q, k, v] = node.operands as readonly [Value, Value, Value];
  const { 3: mask, 4: pastKey, 6: nonpad } = node.operands;
  const s =
    q.rank === 3
      ? shapeOf(node, number(attrs, 'q_num_heads'), number(attrs, 'kv_num_heads'))
      : { dtype: q.dtype, seq: q.dims[2]!, kvSeq: k.dims[2]!, headDim: known(q.dims[3]), valueDim: known(v.dims[3]) };
  if (number(attrs, 'outputs') > 3) return is('NONE', kernelNotes.scores());
  if (!byEight(s)) return is('MATH', kernelNotes.headDim());
  if (s.dtype === 'bfloat16' && has.sm < 80) return is('MATH');
  if (!half(s.dtype) && number(attrs, 'q_num_heads') !== number(attrs, 'kv_num_heads'))
    return is('MATH', kernelNotes.sharedHeads());
  if (mask) return withMask(s.kvSeq, has);
  const topLeft = number(attrs, 'is_causal') === 1 && !pastKey && s.seq !== s.kvSeq;
  if (!half(s.dtype) || width(s) > 256 || s.headDim !== s.valueDim || topLeft) return efficient(has);
  const cudnn = nonpad && has.cudnn !== 'never' && (typeof s.seq !== 'number' || s.seq === 1);
  if (cudnn && s.seq === 1) return is('CUDNN_FLASH_ATTENTION');
  if (!has.flash) return efficient(has);
  return is('FLASH_ATTENTION', cudnn ? kernelNotes.oneQuery() : undefined);
}

function packed(node: Node, has: AvailableKernels): AttentionKernelChoice {
  const { 4: places, 6: bias } = node.operands;
  const s = { ...packedShapeOf(node, number(node.attrs, 'num_heads')), ...longestOf(places!) };
  if (!half(s.dtype)) return fromLength(s, has, bias);
  if (bias) return withBias(s, has);
  if (width(s) > 256 || s.headDim !== s.valueDim) return efficient(has);
  const together = node.operands[0]!.rank === 4;
  const few = together && typeof s.seq === 'number' && s.seq < has.flashTogetherFrom;
  if (has.flash && !few)
    return is(
      'FLASH_ATTENTION',
      together && typeof s.seq !== 'number' ? kernelNotes.together({ from: has.flashTogetherFrom }) : undefined,
    );
  const tensorRt = tensorRtKernel(s, has);
  return tensorRt ? is(tensorRt) : efficient(has);
}

/** The op Attention of com.microsoft, which includes the projections. */
function projected(node: Node, has: AvailableKernels): AttentionKernelChoice {
  const { 3: mask, 4: past, 5: bias } = node.operands;
  const s = projectedShapeOf(node, number(node.attrs, 'num_heads'));
  if (!has.loadsCudnn) return is('NONE', kernelNotes.needsCudnn());
  if (s.dtype === 'bfloat16' && has.sm < 80) return is('NONE', kernelNotes.noBfloat16());
  if (past) return is('MATH', kernelNotes.past());
  if (mask && (mask.rank > 1 || mask.dims[0] !== node.operands[0]!.dims[0])) return is('MATH', keysMask(mask));
  if (!byEight(s)) return is('MATH', kernelNotes.headDim());
  if (!half(s.dtype)) return mask ? is('MATH') : fromLength(s, has, bias);
  if (has.cudnn !== 'never' && width(s) <= 256) return is('CUDNN_FLASH_ATTENTION');
  if (s.dtype === 'bfloat16') return is('MATH', kernelNotes.noBfloat16Kernel());
  const plain = number(node.attrs, 'unidirectional') !== 1 && !bias;
  const tensorRt = plain ? tensorRtKernel(s, has) : undefined;
  if (mask) return tensorRt ? is(tensorRt) : is('MATH', kernelNotes.lengthsNeedCudnn());
  return bias ? withBias(s, has) : tensorRt ? is(tensorRt) : efficient(has);
}

/** It does not read the switch of the memory-efficient kernel. */
function packedProjected(node: Node, machine: AvailableKernels): AttentionKernelChoice {
  const has = { ...machine, efficient: true };
  const { 3: places, 5: bias } = node.operands;
  const s = { ...projectedShapeOf(node, number(node.attrs, 'num_heads')), ...longestOf(places!) };
  if (!half(s.dtype)) return is('MATH');
  if (bias) return withBias(s, has);
  const tensorRt = tensorRtKernel(s, has);
  return tensorRt ? is(tensorRt) : efficient(has);
}

function paged(node: Node, has: AvailableKernels): AttentionKernelChoice {
  const { 0: q, 3: cache, 6: pastLengths, 11: sinks, 14: keyScale } = node.operands;
  const [, blockSize, , headDim = 64] = cache!.dims;
  const [tokens, sequences] = [q!.dims[0], pastLengths!.dims[0]];
  if (q!.dtype === 'bfloat16' && has.sm < 80) return is('NONE', kernelNotes.noBfloat16());
  const of = Number(headDim) <= 64 ? 256 : Number(headDim) <= 128 ? 128 : 64;
  const aligned = typeof blockSize !== 'number' || blockSize % of === 0;
  const known = typeof tokens === 'number' && typeof sequences === 'number';
  const oneEach = tokens === sequences || (known && tokens <= sequences);
  if (has.flash && aligned && !(keyScale && oneEach))
    return is('FLASH_ATTENTION', typeof blockSize === 'number' ? undefined : kernelNotes.ifBlockSize({ of }));
  if (node.attrs.is_causal === 0) return is('NONE', kernelNotes.onlyFlash({ what: 'attends to later positions' }));
  const note = aligned ? undefined : kernelNotes.blockSize({ of });
  if (oneEach) return is('DECODER_ATTENTION', note);
  if (sinks) return is('NONE', kernelNotes.onlyFlash({ what: 'has sinks for several queries of a sequence' }));
  if (!has.efficient) return is('NONE', kernelNotes.switchedOff());
  return is('EFFICIENT_ATTENTION', note ?? (known ? undefined : kernelNotes.ifOneQuery()));
}

/** The memory-efficient kernel, or all scores where it is switched off. */
const efficient = (has: AvailableKernels, note?: Reason): AttentionKernelChoice =>
  has.efficient ? is('EFFICIENT_ATTENTION', note) : is('MATH', note ?? kernelNotes.switchedOff());

const surelyLonger = (a: Dim, b: Dim): boolean => typeof a === 'number' && typeof b === 'number' && a > b;

// The memory-efficient kernel requires aligned rows of the bias, that is a multiple of 4 keys. MultiHeadAttention checks the number of queries
// instead, so it fails if only that is aligned.
function withBias({ seq, kvSeq }: Shape, has: AvailableKernels): AttentionKernelChoice {
  if (!has.efficient) return is('MATH', kernelNotes.switchedOff());
  if (typeof seq === 'number' && seq % 8) return is('MATH', kernelNotes.queries({ of: 8, got: seq }));
  if (seq !== kvSeq && (typeof kvSeq !== 'number' || kvSeq % 4)) return is('NONE', kernelNotes.biasKeys());
  return is('EFFICIENT_ATTENTION', typeof seq === 'number' ? kernelNotes.bias() : kernelNotes.ifQueriesAligned());
}

function withMask(kvSeq: Dim, has: AvailableKernels): AttentionKernelChoice {
  if (typeof kvSeq !== 'number') return efficient(has, kernelNotes.ifKeysAligned());
  return kvSeq % 4 === 0 ? efficient(has) : is('MATH', kernelNotes.keys({ of: 4, got: kvSeq }));
}

// In float32 and bfloat16 the memory-efficient kernel runs from some number of positions on.
function fromLength(s: Shape, has: AvailableKernels, bias?: Value): AttentionKernelChoice {
  const { seq, kvSeq } = s;
  const from = has.efficientFrom;
  if (typeof seq === 'number' && typeof kvSeq === 'number' && Math.max(seq, kvSeq) < from)
    return is('MATH', kernelNotes.short({ from }));
  if (bias) return withBias(s, has);
  const certain = [seq, kvSeq].some((n) => typeof n === 'number' && n >= from) || from <= 1;
  return efficient(has, certain ? undefined : kernelNotes.ifLong({ from }));
}
