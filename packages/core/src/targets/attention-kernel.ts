// Which kernel ONNX Runtime's CUDA provider runs for an attention node: its decision on the host, as observed on 1.29 and 1.30.
import type { Dim } from '../dim/dim';
import { type Attrs, operandOf } from '../ir/define-op';
import type { Node, Value } from '../ir/graph';
import { defineReasons, type Reason } from '../lower/reason';
import type { Machine } from '../lower/target';
import type { DType } from '../tensor/tensor';

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

interface Shape {
  readonly dtype: DType;
  readonly seq: Dim;
  readonly kvSeq: Dim;
  /** Undefined if it is not known. */
  readonly headDim: number | undefined;
  readonly valueDim: number | undefined;
}

/**
 * The kernel that ONNX Runtime will run for a node of MultiHeadAttention, GroupQueryAttention, Attention, PackedMultiHeadAttention or
 * PagedAttention on a GPU; undefined for other ops. Unknown parts of the machine are assumed to be the newest.
 */
export function attentionKernel(node: Node, machine: Machine = {}): AttentionKernelChoice | undefined {
  return choosers[node.op.key]?.(node, machine);
}

type Chooser = (node: Node, machine: Machine) => AttentionKernelChoice;
const choosers: Readonly<Record<string, Chooser>> = {
  'com.microsoft.MultiHeadAttention': multiHead,
  'com.microsoft.GroupQueryAttention': groupQuery,
  'com.microsoft.PackedMultiHeadAttention': packed,
  'com.microsoft.PagedAttention': () => ({ kernel: 'FLASH_ATTENTION', note: kernelNotes.blockSize() }),
  Attention: standard,
};

const is = (kernel: AttentionKernelName, note?: Reason): AttentionKernelChoice => ({ kernel, ...(note && { note }) });
const number = (attrs: Attrs, name: string): number => Number(attrs[name] ?? 0);
const half = (dtype: DType): boolean => dtype === 'float16' || dtype === 'bfloat16';

function multiHead(node: Node, machine: Machine): AttentionKernelChoice {
  const { attrs } = node;
  const [lengths, bias] = [operandOf(node, 'key_padding_mask'), operandOf(node, 'attention_bias')];
  const heads = number(attrs, 'num_heads');
  const s = shapeOf(node, heads, heads);
  const causal = number(attrs, 'unidirectional') === 1;
  const sm = smOf(machine);
  if (s.dtype === 'bfloat16' && sm < 80) return is('NONE', kernelNotes.noBfloat16());
  if (!byEight(s)) return is('MATH', kernelNotes.headDim());
  if (!half(s.dtype)) return lengths ? is('MATH') : bias ? withBias(s) : atLeast256(s);
  const narrow = width(s) <= 256;
  if (cudnnAttends(machine) && narrow) {
    if (!(causal && surelyLonger(s.seq, s.kvSeq))) return is('CUDNN_FLASH_ATTENTION');
    if (!bias && !lengths) return is('FLASH_ATTENTION');
  }
  const tensorRt = !causal && !bias && s.dtype === 'float16' && s.headDim === s.valueDim ? tensorRtKernel(s, sm) : undefined;
  if (lengths) return tensorRt ? is(tensorRt) : is('MATH', kernelNotes.lengthsNeedCudnn());
  if (bias) return withBias(s);
  if (s.dtype === 'bfloat16') return atLeast256(s);
  if (s.headDim !== s.valueDim || !narrow) return is('EFFICIENT_ATTENTION');
  if (sm >= 80) return is('FLASH_ATTENTION');
  const crossing = sm >= 75 && !causal && s.seq === s.kvSeq && typeof s.seq === 'number' && s.seq <= 128 && width(s) <= 64;
  return crossing ? is('TRT_CROSS_ATTENTION') : is(tensorRt ?? 'EFFICIENT_ATTENTION');
}

// TensorRT's kernels for self attention, compiled for some head sizes.
function tensorRtKernel({ seq, kvSeq, headDim = 64 }: Shape, sm: number): AttentionKernelName | undefined {
  if (seq !== kvSeq || sm >= 90 || (sm < 75 && headDim !== 64)) return undefined;
  const short = typeof seq === 'number' && seq < 385;
  if (short) return headDim === 32 || headDim === 64 ? 'TRT_FUSED_ATTENTION' : undefined;
  return [16, 32, 40, 64, 80, 128, 160, 256].includes(headDim) ? 'TRT_FLASH_ATTENTION' : undefined;
}

function groupQuery(node: Node, machine: Machine): AttentionKernelChoice {
  const { attrs } = node;
  const [pastKey, bias, sinks] = ['past_key', 'attention_bias', 'head_sink'].map((name) => operandOf(node, name));
  const s = shapeOf(node, number(attrs, 'num_heads'), number(attrs, 'kv_num_heads'));
  const sm = smOf(machine);
  if (s.dtype === 'bfloat16' && sm < 80) return is('NONE', kernelNotes.noBfloat16());
  if (bias) return is('MATH', kernelNotes.bias());
  if (sm < 80 || width(s) > 256) return is('EFFICIENT_ATTENTION');
  const shared =
    pastKey !== undefined && s.seq === 1 && pastKey.dims[2] === attrs.present && [64, 128, 256].includes(s.headDim ?? 0);
  const note = shared && !attrs.softcap ? kernelNotes.xqa() : undefined;
  const plain = !(number(attrs, 'local_window_size') > 0) && !attrs.softcap && !sinks;
  return is(plain && cudnnAttends(machine) ? 'CUDNN_FLASH_ATTENTION' : 'FLASH_ATTENTION', note);
}

function standard(node: Node, machine: Machine): AttentionKernelChoice {
  const { attrs } = node;
  const [q, k, v] = node.operands as readonly [Value, Value, Value];
  const [mask, pastKey] = ['mask', 'pastKey'].map((name) => operandOf(node, name));
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
  return half(s.dtype) && sm >= 80 && width(s) <= 256 && s.headDim === s.valueDim && !topLeft
    ? is('FLASH_ATTENTION')
    : is('EFFICIENT_ATTENTION');
}

function packed(node: Node, machine: Machine): AttentionKernelChoice {
  const [q, k, v] = node.operands;
  const heads = number(node.attrs, 'num_heads');
  const width1 = (x: Value | undefined): number | undefined => (typeof x?.dims[1] === 'number' ? x.dims[1] / heads : undefined);
  const s: Shape = { dtype: q!.dtype, seq: 'tokens', kvSeq: 'tokens', headDim: width1(q), valueDim: width1(v ?? k ?? q) };
  if (operandOf(node, 'attention_bias')) return withBias(s);
  if (!half(s.dtype)) return atLeast256(s);
  if (width(s) > 256 || s.headDim !== s.valueDim) return is('EFFICIENT_ATTENTION');
  return smOf(machine) >= 80 ? is('FLASH_ATTENTION') : is('TRT_FUSED_ATTENTION');
}

const known = (d: Dim | undefined): number | undefined => (typeof d === 'number' ? d : undefined);

function shapeOf({ operands }: Node, heads: number, kvHeads: number): Shape {
  const [q, k, v] = operands as readonly [Value, Value, Value];
  const share = (x: Value, n: number): number | undefined => (typeof x.dims[2] === 'number' ? x.dims[2] / n : undefined);
  return { dtype: q.dtype, seq: q.dims[1]!, kvSeq: k.dims[1]!, headDim: share(q, heads), valueDim: share(v, kvHeads) };
}

const width = ({ headDim = 0, valueDim = 0 }: Shape): number => Math.max(headDim, valueDim);
const byEight = ({ headDim = 0, valueDim = 0 }: Shape): boolean => headDim % 8 === 0 && valueDim % 8 === 0;
const surelyLonger = (a: Dim, b: Dim): boolean => typeof a === 'number' && typeof b === 'number' && a > b;

// The memory-efficient kernel requires aligned rows of the bias, that is a multiple of 4 keys. MultiHeadAttention checks the number of queries
// instead, so it fails if only that is aligned.
function withBias({ seq, kvSeq }: Shape): AttentionKernelChoice {
  if (typeof seq === 'number' && seq % 8) return is('MATH', kernelNotes.queries({ of: 8, got: seq }));
  if (seq !== kvSeq && (typeof kvSeq !== 'number' || kvSeq % 4)) return is('NONE', kernelNotes.biasKeys());
  return typeof seq === 'number' ? is('EFFICIENT_ATTENTION') : is('EFFICIENT_ATTENTION', kernelNotes.ifQueriesAligned());
}

function withMask(kvSeq: Dim): AttentionKernelChoice {
  if (typeof kvSeq !== 'number') return is('EFFICIENT_ATTENTION', kernelNotes.ifKeysAligned());
  return kvSeq % 4 === 0 ? is('EFFICIENT_ATTENTION') : is('MATH', kernelNotes.keys({ of: 4, got: kvSeq }));
}

function atLeast256({ seq, kvSeq }: Shape): AttentionKernelChoice {
  if (typeof seq !== 'number' || typeof kvSeq !== 'number') return is('EFFICIENT_ATTENTION', kernelNotes.ifLong());
  return Math.max(seq, kvSeq) >= 256 ? is('EFFICIENT_ATTENTION') : is('MATH', kernelNotes.short());
}
