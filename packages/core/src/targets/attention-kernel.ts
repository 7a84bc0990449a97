// Which kernel ONNX Runtime's CUDA provider runs for an attention node: its decision on the host, as observed on 1.29 and 1.30.
import { addDims, type Dim, mulDims } from '../dim/dim';
import type { Attrs } from '../ir/define-op';
import type { Node, Value } from '../ir/graph';
import { defineReasons, type Reason } from '../lower/reason';
import type { Machine } from '../lower/target';
import type { DType } from '../tensor/tensor';
import { byEight, known, longestOf, packedShapeOf, projectedShapeOf, type Shape, shapeOf, width } from './attention-shape';

/** The names that the runtime itself prints. `NONE`: the runtime refuses to run the node. */
export type AttentionKernelName =
  | 'CUDNN_FLASH_ATTENTION'
  | 'FLASH_ATTENTION'
  | 'TRT_FLASH_ATTENTION'
  | 'TRT_FUSED_ATTENTION'
  | 'TRT_CROSS_ATTENTION'
  | 'EFFICIENT_ATTENTION'
  | 'XQA'
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
  blockSize: () => 'if the block size is 256 for a head_dim of 64, 128 for 128, 64 for more',
  queries: ({ of, got }: { readonly of: number; readonly got: number }) => `${got} queries are not a multiple of ${of}`,
  keys: ({ of, got }: { readonly of: number; readonly got: number }) => `${got} keys are not a multiple of ${of}`,
  biasKeys: () => 'a bias needs a number of keys that is a multiple of 4',
  ifQueriesAligned: () => 'if the number of queries is a multiple of 8, otherwise MATH',
  ifKeysAligned: () => 'if the number of keys is a multiple of 4, otherwise MATH',
  ifLong: () => 'from 256 positions on, otherwise MATH',
  /** MultiHeadAttention cannot run at all. */
  needsCudnn: () => 'it needs cuDNN at run time, which this machine lacks',
  /** Not probed on a GPU; according to its documentation only an unfused kernel returns them, which has no advantage. */
  scores: () => 'it has no fast kernel that returns scores or weights',
  short: () => 'there are fewer than 256 positions',
  keysMask: ({ dims }: { readonly dims: string }) =>
    `only the lengths of the sequences [batch] reach a fused kernel, and the mask is [${dims}]`,
  past: () => 'it has no fast kernel with a past',
  oneQuery: () => 'CUDNN_FLASH_ATTENTION for one query',
  together: () => 'from 513 positions on, a slower one for fewer, because queries, keys and values are in one tensor',
  noBfloat16Kernel: () => 'only its cuDNN kernel supports bfloat16',
});

/** Compute capability · 10; the newest if unknown. */
export const smOf = (machine: Machine): number => machine.sm ?? newestSm;
const newestSm = 120;

/** True where cuDNN can be loaded at all: MultiHeadAttention refuses to run without it, whatever kernel it would choose. */
export const hasCudnn = ({ cudnn }: Machine): boolean => cudnn !== 'none';

/** True if the runtime uses cuDNN for attention by default: version 9.3 and later, except 9.10.0 and 9.10.1, from Hopper on. */
export function cudnnAttends(machine: Machine): boolean {
  if (smOf(machine) < 90 || !hasCudnn(machine)) return false;
  const [major = 9, minor = 0, patch = 0] = (machine.cudnn ?? '9.14').split('.').map(Number);
  if (major === 9 && minor === 10) return patch > 1;
  return major > 9 || (major === 9 && minor >= 3);
}

/**
 * The kernel that ONNX Runtime will run for a node of MultiHeadAttention, GroupQueryAttention, Attention (of the standard or of com.microsoft),
 * PackedMultiHeadAttention, PackedAttention or PagedAttention on a GPU; undefined for other ops. Unknown parts of the machine are assumed to be the newest.
 */
export function attentionKernel(node: Node, machine: Machine = {}): AttentionKernelChoice | undefined {
  return choosers[node.op.key]?.(node, machine);
}

// Operands are read by their places in the ONNX op: a user's own op may name them differently, or not at all.
type Chooser = (node: Node, machine: Machine) => AttentionKernelChoice;
const choosers: Readonly<Record<string, Chooser>> = {
  'com.microsoft.MultiHeadAttention': multiHead,
  'com.microsoft.GroupQueryAttention': groupQuery,
  'com.microsoft.PackedMultiHeadAttention': packed,
  'com.microsoft.Attention': projected,
  'com.microsoft.PackedAttention': packedProjected,
  'com.microsoft.PagedAttention': () => ({ kernel: 'FLASH_ATTENTION', note: kernelNotes.blockSize() }),
  Attention: standard,
};

const is = (kernel: AttentionKernelName, note?: Reason): AttentionKernelChoice => ({ kernel, ...(note && { note }) });
const number = (attrs: Attrs, name: string): number => Number(attrs[name] ?? 0);
const half = (dtype: DType): boolean => dtype === 'float16' || dtype === 'bfloat16';

function multiHead(node: Node, machine: Machine): AttentionKernelChoice {
  const { attrs } = node;
  const { 4: mask, 5: bias } = node.operands;
  const heads = number(attrs, 'num_heads');
  const s = shapeOf(node, heads, heads);
  const causal = number(attrs, 'unidirectional') === 1;
  const sm = smOf(machine);
  if (!hasCudnn(machine)) return is('NONE', kernelNotes.needsCudnn());
  if (s.dtype === 'bfloat16' && sm < 80) return is('NONE', kernelNotes.noBfloat16());
  if (!byEight(s)) return is('MATH', kernelNotes.headDim());
  const form = mask && maskForm(mask, node.operands[0]!.dims[0]!);
  if (form === 'keys') return is('MATH', keysMask(mask!));
  if (form === 'offsets') return s.dtype === 'float16' ? is('EFFICIENT_ATTENTION') : from256(s);
  if (!half(s.dtype)) return mask ? is('MATH') : from256(s, bias);
  const narrow = width(s) <= 256;
  if (cudnnAttends(machine) && narrow) {
    if (!(causal && surelyLonger(s.seq, s.kvSeq))) return is('CUDNN_FLASH_ATTENTION');
    if (!bias && !mask && s.dtype === 'float16') return is('FLASH_ATTENTION');
  }
  const plain = !causal && !bias && s.dtype === 'float16' && s.headDim === s.valueDim && !cachesOrJoins(node);
  const tensorRt = plain ? tensorRtKernel(s, sm) : undefined;
  if (mask) return tensorRt ? is(tensorRt) : is('MATH', kernelNotes.lengthsNeedCudnn());
  if (s.dtype === 'bfloat16') return from256(s, bias);
  if (bias) return withBias(s);
  if (s.headDim !== s.valueDim || !narrow) return is('EFFICIENT_ATTENTION');
  if (sm >= 80) return is('FLASH_ATTENTION');
  const crossing = plain && sm >= 75 && s.seq === s.kvSeq && typeof s.seq === 'number' && s.seq <= 128 && width(s) <= 64;
  return crossing ? is('TRT_CROSS_ATTENTION') : is(tensorRt ?? 'EFFICIENT_ATTENTION');
}

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
function tensorRtKernel({ seq, kvSeq, headDim = 64 }: Shape, sm: number): AttentionKernelName | undefined {
  if (seq !== kvSeq || sm >= 90 || (sm < 75 && headDim !== 64)) return undefined;
  const short = typeof seq === 'number' && seq < 385;
  if (short) return headDim === 32 || headDim === 64 ? 'TRT_FUSED_ATTENTION' : undefined;
  return [16, 32, 40, 64, 80, 128, 160, 256].includes(headDim) ? 'TRT_FLASH_ATTENTION' : undefined;
}

function groupQuery(node: Node, machine: Machine): AttentionKernelChoice {
  const { attrs } = node;
  const { 3: pastKey, 10: bias, 11: sinks } = node.operands;
  const s = shapeOf(node, number(attrs, 'num_heads'), number(attrs, 'kv_num_heads'));
  const sm = smOf(machine);
  if (s.dtype === 'bfloat16' && sm < 80) return is('NONE', kernelNotes.noBfloat16());
  if (bias) return is('MATH', kernelNotes.bias());
  if (sm < 80 || width(s) > 256) return is('EFFICIENT_ATTENTION');
  const shared =
    pastKey !== undefined &&
    s.seq === 1 &&
    pastKey.dims[2] === node.outputs[1]?.dims[2] &&
    [64, 128, 256].includes(s.headDim ?? 0);
  const note = shared && !attrs.softcap ? kernelNotes.xqa() : undefined;
  const plain = !(number(attrs, 'local_window_size') > 0) && !attrs.softcap && !sinks && !attrs.smooth_softmax;
  return is(plain && cudnnAttends(machine) ? 'CUDNN_FLASH_ATTENTION' : 'FLASH_ATTENTION', note);
}

function standard(node: Node, machine: Machine): AttentionKernelChoice {
  const { attrs } = node;
  const [q, k, v] = node.operands as readonly [Value, Value, Value];
  const { 3: mask, 4: pastKey, 6: nonpad } = node.operands;
  const s =
    q.rank === 3
      ? shapeOf(node, number(attrs, 'q_num_heads'), number(attrs, 'kv_num_heads'))
      : { dtype: q.dtype, seq: q.dims[2]!, kvSeq: k.dims[2]!, headDim: known(q.dims[3]), valueDim: known(v.dims[3]) };
  if (number(attrs, 'outputs') > 3) return is('NONE', kernelNotes.scores());
  if (!byEight(s)) return is('MATH', kernelNotes.headDim());
  const sm = smOf(machine);
  if (s.dtype === 'bfloat16' && sm < 80) return is('MATH');
  if (!half(s.dtype) && number(attrs, 'q_num_heads') !== number(attrs, 'kv_num_heads'))
    return is('MATH', kernelNotes.sharedHeads());
  if (mask) return withMask(s.kvSeq);
  const topLeft = number(attrs, 'is_causal') === 1 && !pastKey && s.seq !== s.kvSeq;
  if (!half(s.dtype) || sm < 80 || width(s) > 256 || s.headDim !== s.valueDim || topLeft) return is('EFFICIENT_ATTENTION');
  if (!nonpad || !cudnnAttends(machine) || (typeof s.seq === 'number' && s.seq > 1)) return is('FLASH_ATTENTION');
  return s.seq === 1 ? is('CUDNN_FLASH_ATTENTION') : is('FLASH_ATTENTION', kernelNotes.oneQuery());
}

function packed(node: Node, machine: Machine): AttentionKernelChoice {
  const { 4: places, 6: bias } = node.operands;
  const s = { ...packedShapeOf(node, number(node.attrs, 'num_heads')), ...longestOf(places!) };
  const sm = smOf(machine);
  if (!half(s.dtype)) return from256(s, bias);
  if (bias) return withBias(s);
  if (width(s) > 256 || s.headDim !== s.valueDim) return is('EFFICIENT_ATTENTION');
  const together = node.operands[0]!.rank === 4;
  if (sm < 80 || (together && typeof s.seq === 'number' && s.seq < 513))
    return is(tensorRtKernel(s, sm) ?? 'EFFICIENT_ATTENTION');
  return is('FLASH_ATTENTION', together && typeof s.seq !== 'number' ? kernelNotes.together() : undefined);
}

/** The op Attention of com.microsoft, which includes the projections. */
function projected(node: Node, machine: Machine): AttentionKernelChoice {
  const { 3: mask, 4: past, 5: bias } = node.operands;
  const s = projectedShapeOf(node, number(node.attrs, 'num_heads'));
  if (!hasCudnn(machine)) return is('NONE', kernelNotes.needsCudnn());
  if (s.dtype === 'bfloat16' && smOf(machine) < 80) return is('NONE', kernelNotes.noBfloat16());
  if (past) return is('MATH', kernelNotes.past());
  if (mask && (mask.rank > 1 || mask.dims[0] !== node.operands[0]!.dims[0])) return is('MATH', keysMask(mask));
  if (!byEight(s)) return is('MATH', kernelNotes.headDim());
  if (!half(s.dtype)) return mask ? is('MATH') : from256(s, bias);
  if (cudnnAttends(machine) && width(s) <= 256) return is('CUDNN_FLASH_ATTENTION');
  if (s.dtype === 'bfloat16') return is('MATH', kernelNotes.noBfloat16Kernel());
  const plain = number(node.attrs, 'unidirectional') !== 1 && !bias;
  const tensorRt = plain ? tensorRtKernel(s, smOf(machine)) : undefined;
  if (mask) return tensorRt ? is(tensorRt) : is('MATH', kernelNotes.lengthsNeedCudnn());
  return bias ? withBias(s) : is(tensorRt ?? 'EFFICIENT_ATTENTION');
}

function packedProjected(node: Node, machine: Machine): AttentionKernelChoice {
  const { 3: places, 5: bias } = node.operands;
  const s = { ...projectedShapeOf(node, number(node.attrs, 'num_heads')), ...longestOf(places!) };
  if (!half(s.dtype)) return is('MATH');
  if (bias) return withBias(s);
  return is(tensorRtKernel(s, smOf(machine)) ?? 'EFFICIENT_ATTENTION');
}

const surelyLonger = (a: Dim, b: Dim): boolean => typeof a === 'number' && typeof b === 'number' && a > b;

// The memory-efficient kernel requires aligned rows of the bias, that is a multiple of 4 keys. MultiHeadAttention checks the number of queries
// instead, so it fails if only that is aligned.
function withBias({ seq, kvSeq }: Shape): AttentionKernelChoice {
  if (typeof seq === 'number' && seq % 8) return is('MATH', kernelNotes.queries({ of: 8, got: seq }));
  if (seq !== kvSeq && (typeof kvSeq !== 'number' || kvSeq % 4)) return is('NONE', kernelNotes.biasKeys());
  return is('EFFICIENT_ATTENTION', typeof seq === 'number' ? kernelNotes.bias() : kernelNotes.ifQueriesAligned());
}

function withMask(kvSeq: Dim): AttentionKernelChoice {
  if (typeof kvSeq !== 'number') return is('EFFICIENT_ATTENTION', kernelNotes.ifKeysAligned());
  return kvSeq % 4 === 0 ? is('EFFICIENT_ATTENTION') : is('MATH', kernelNotes.keys({ of: 4, got: kvSeq }));
}

// In float32 and bfloat16 the memory-efficient kernel runs from 256 positions on.
function from256(s: Shape, bias?: Value): AttentionKernelChoice {
  const { seq, kvSeq } = s;
  if (typeof seq === 'number' && typeof kvSeq === 'number' && Math.max(seq, kvSeq) < 256) return is('MATH', kernelNotes.short());
  if (bias) return withBias(s);
  const certain = [seq, kvSeq].some((n) => typeof n === 'number' && n >= 256);
  return certain ? is('EFFICIENT_ATTENTION') : is('EFFICIENT_ATTENTION', kernelNotes.ifLong());
}
