// ONNX Runtime's CUDA provider.

import { tryDivDims } from '../dim/dim';
import { operandOf } from '../ir/define-op';
import type { Node } from '../ir/graph';
import { defineReasons, type Reason } from '../lower/reason';
import type { Kernel, Machine, Target } from '../lower/target';
import { definitionCost, keysOrMany, repeatingCost, repeatsKeys } from './attention-cost';
import { type AttentionKernelName, attentionKernel } from './attention-kernel';
import { scoresOf } from './attention-workspace';
import { availableOn, smOf } from './available-kernels';
import { adviseOnCuda } from './cuda-advice';
import { forecast } from './cuda-forecast';
import { kernelTables } from './kernels.generated';
import { sequencesAndKeys, sequencesOnly } from './non-empty';
import { defineTarget, rotary } from './table';

// Relative time of an attention, by the kernel that the runtime runs for it. MATH computes all scores, as primitives do.
const costs: Readonly<Record<AttentionKernelName, number>> = {
  CUDNN_FLASH_ATTENTION: 0.5,
  XQA: 0.5,
  DECODER_ATTENTION: 0.7,
  FLASH_ATTENTION: 0.6,
  TRT_FLASH_ATTENTION: 0.7,
  TRT_FUSED_ATTENTION: 0.7,
  TRT_CROSS_ATTENTION: 0.7,
  EFFICIENT_ATTENTION: 1,
  MATH: definitionCost,
  NONE: Number.POSITIVE_INFINITY,
};

const own = defineReasons({
  noKernel: () => 'none of its kernels supports this call',
  onHeads: () => 'on [batch, heads, seq, head_dim] it transposes all operands',
  negativeScale: () => 'kernels that it may run here give wrong numbers for a negative scale',
  capabilityUnknown: () => 'the compute capability was not given: chosen for the newest GPUs',
  cudnnUnknown: () => 'the version of cuDNN was not given: assumed to be recent (9.14)',
  expertsInFloat32: () => 'its numbers are checked on a GPU in float32 only',
  rowsOfExperts: ({ multiple }: { readonly multiple: number }) =>
    `its matrices are read 16 bytes at once, 16 channels at least: channels and hidden channels must be multiples of ${multiple}, from 16 up`,
});

/** Adds the cost of the op's work besides the attention itself. */
const attention = (besides: (node: Node, machine: Machine) => number): Partial<Kernel> => ({
  accepts(node, machine) {
    const choice = attentionKernel(node, machine);
    if (choice?.kernel === 'NONE') return choice.note ?? own.noKernel();
    // Seen on an H200 of every one of these ops that opens with it. Calls of GroupQueryAttention that cuDNN runs are right, but which those are
    // depends on the machine.
    if (Number(node.attrs.scale) < 0) return own.negativeScale();
    return true;
  },
  cost: (node: Node, machine) =>
    withinWindow(costs[attentionKernel(node, machine)!.kernel] + besides(node, machine), node, machine),
  // Packed sequences take it only where they are short.
  workspace: (node, machine) =>
    attentionKernel(node, machine)!.kernel === 'MATH' && node.operands[0]!.rank === 3 ? scoresOf(node) : 0,
  nonEmpty: sequencesOnly,
});

// What predicts the kernel reads rows.
const onRows = (kernel: Partial<Kernel>): Partial<Kernel> => ({
  ...kernel,
  accepts: (node, machine) => (node.operands[0]!.rank === 3 ? kernel.accepts!(node, machine) : own.onHeads()),
});

/**
 * What a kernel with a window of its own takes for each key of a tile, of up to 128 keys, and a query. An H200 took 0.113 and 0.419 ms by GroupQueryAttention for a window of
 * 512 on 4,096 and 16,384 positions, which copies keys and values, and 0.063 and 0.224 ms by PagedAttention; blocks are between them.
 */
function withinWindow(whole: number, node: Node, machine: Machine): number {
  const { op, attrs } = node;
  const window = Number(attrs.local_window_size ?? -1);
  if (!(window > 0)) return whole;
  const k = operandOf(node, 'key')!;
  // Of packed tokens the mean number, if it is known.
  const [tokens, sequences] = k.rank === 2 ? [k.dims[0]!, operandOf(node, 'past_seqlens')!.dims[0]!] : [k.dims[1]!, 1];
  const mean =
    typeof tokens === 'number' && typeof sequences === 'number' ? tokens / Math.max(1, sequences) : tryDivDims(tokens, sequences);
  const keys = mean ?? 'keys';
  const share = Math.min(1, (window + 128) / keysOrMany(keys, window));
  if (op.key === 'com.microsoft.GroupQueryAttention')
    return operandOf(node, 'past_key') ? whole * share : Math.min(whole, 6 * share);
  // Pages are read by a slower kernel before Ampere.
  return Math.min(whole, (smOf(machine) >= 80 ? 3 : 12) * share);
}

/**
 * Of making and reading a number for every pair, a bias or a mask: on an H200 attention of 4,096 positions with a mask in its bias took 0.284 ms, without 0.068. The kernel
 * that writes all scores anyway adds it to them.
 */
const overPairs = (node: Node, machine: Machine, operand: string): number =>
  operandOf(node, operand) && attentionKernel(node, machine)!.kernel !== 'MATH' ? 1.6 : 0;

/**
 * Of repeating keys and values, which takes as long whatever the number of queries; measured on an H200, docs/benchmarks.md: with cuDNN it is faster than flash
 * attention on grouped heads from about 320 causal queries on, 160 without a mask. Where the number of queries is not known it is assumed to be large if it is
 * that of the keys; otherwise a step of a decoder is possible.
 */
function ofRepeating(node: Node): number {
  if (!repeatsKeys(node)) return 0;
  const [queries, keys] = [operandOf(node, 'query')!.dims[1]!, operandOf(node, 'key')!.dims[1]!];
  if (typeof queries !== 'number') return queries === keys ? ofRepeatingForMany : repeatingCost(node);
  // Never cheaper than the same kernel on grouped heads.
  return 0.03 + (node.attrs.unidirectional === 1 ? 30 : 15) / Math.max(1, queries);
}
const ofRepeatingForMany = 0.09;

/** The matrices of MoE are read 16 bytes at once, and an H200 answers "requires hidden_size >= 16". */
function fillsReads(node: Node): true | Reason {
  const [x, second] = [operandOf(node, 'x'), operandOf(node, 'second')];
  if (x!.dtype !== 'float32') return own.expertsInFloat32();
  const multiple = 4;
  const fits = [x!.dims[1]!, second!.dims[2]!].every((n) => typeof n === 'number' && n % multiple === 0 && n >= 16);
  return fits || own.rowsOfExperts({ multiple });
}

/** ONNX Runtime on NVIDIA GPUs: `onnxruntime-node` with its CUDA provider. */
export const cuda: Target = defineTarget({
  name: 'cuda',
  opset: 24,
  providers: ['cuda'],
  computes: ['float32', 'float16', 'bfloat16', 'float64'],
  table: kernelTables.cuda,
  // Forms without a kernel on the GPU and without a replacement: the last of equal extremes, sizes that a stride does not determine.
  leftToCpu: ['ArgMax', 'ArgMin', 'ConvTranspose'],
  special: {
    ...rotary,
    'com.microsoft.MultiHeadAttention': attention(
      (node, machine) => ofRepeating(node) + overPairs(node, machine, 'attention_bias'),
    ),
    Attention: { ...onRows(attention((node, machine) => 0.025 + overPairs(node, machine, 'mask'))), nonEmpty: sequencesAndKeys },
    // It copies its keys and values to outputs, with or without a cache.
    'com.microsoft.GroupQueryAttention': attention(() => 0.15),
    'com.microsoft.PackedMultiHeadAttention': attention(() => 0),
    'com.microsoft.PagedAttention': attention(() => 0),
    'com.microsoft.MoE': { accepts: fillsReads, nonEmpty: sequencesOnly },
    // It competes with Gather, in the dtypes that it has.
    'com.microsoft.RestorePadding': { cost: () => 0 },
    // The provider has it up to opset 21; above, the runtime runs it on the CPU.
    MaxPool: { dtypes: ['float64', 'float32', 'float16'] },
  },
  gpu: 'nvidia',
  waitsInLoops: true,
  // Most of its kernels count elements in 32 bits: on an H200 Pad and Slice gave wrong numbers for more, Where an illegal access, Expand an error.
  mostElements: 2 ** 31 - 1,
  headMultiple: 8,
  takesLengths: (machine) => availableOn(machine).cudnn !== 'never',
  biasTakesPass: true,
  // Seen on an H200: beside a sum of the same Shape, the decoder of T5 read past + seq where seq was, or freed memory.
  freesViews: true,
  assumed: ({ sm, cudnn }) => [
    ...(sm === undefined ? [own.capabilityUnknown()] : []),
    ...(cudnn === undefined ? [own.cudnnUnknown()] : []),
  ],
  forecast,
  advise: adviseOnCuda,
});
