// ONNX Runtime's CUDA provider.

import type { Node } from '../ir/graph';
import { defineReasons } from '../lower/reason';
import type { Kernel, Target } from '../lower/target';
import { definitionCost, keysOrMany } from './attention-cost';

<<<<<<< HEAD

import { type AttentionKernelName, attentionKernel } from './attention-kernel';

=======

import { type AttentionKernelName, attentionKernel, hasCudnn, kernelNotes } from './attention-kernel';
import { scoresOf } from './attention-workspace';

>>>>>>> main

import { adviseOnCuda } from './cuda-advice';
import { forecast } from './cuda-forecast';
import { kernelTables } from './kernels.generated';
import { sequencesAndKeys, sequencesOnly } from './non-empty';
import { defineTarget, rotary } from './table';

// Relative time of an attention, by the kernel that the runtime runs for it. MATH computes all scores, as primitives do.
const costs: Readonly<Record<AttentionKernelName, number>> = {
  CUDNN_FLASH_ATTENTION: 0.5,
  XQA: 0.5,
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
  negativeScale: () => 'kernels that it may run here give wrong numbers for a negative scale',
  capabilityUnknown: () => 'the compute capability was not given: chosen for the newest GPUs',
  cudnnUnknown: () => 'the version of cuDNN was not given: assumed to be recent (9.14)',
});

/** Adds the cost of the op's work besides the attention itself. */
const attention = (besides: number): Partial<Kernel> => ({
  accepts(node, machine) {
    const choice = attentionKernel(node, machine);
    if (choice?.kernel === 'NONE') return choice.note ?? own.noKernel();
    // Seen on an H200 of every one of these ops that opens with it. Calls of GroupQueryAttention that cuDNN runs are right, but which those are
    // depends on the machine.
    if (Number(node.attrs.scale) < 0) return own.negativeScale();
    return true;
  },
  cost: (node: Node, machine) => (costs[attentionKernel(node, machine)!.kernel] + besides) * withinWindow(node),
  // Packed sequences take it only where they are short.
  workspace: (node, machine) =>
    attentionKernel(node, machine)!.kernel === 'MATH' && node.operands[0]!.rank === 3 ? scoresOf(node) : 0,
  nonEmpty: sequencesOnly,
});

/** The share of the keys that a kernel with a window of its own reads: its tiles have up to 128 keys. */
function withinWindow({ attrs, operands: [, k] }: Node): number {
  const window = Number(attrs.local_window_size ?? -1);
  return window > 0 ? Math.min(1, (window + 128) / keysOrMany(k!.dims[1]!, window)) : 1;
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
    'com.microsoft.MultiHeadAttention': attention(0),
    Attention: { ...attention(0.025), nonEmpty: sequencesAndKeys },
    // It copies its keys and values to outputs, with or without a cache.
    'com.microsoft.GroupQueryAttention': attention(0.15),
    'com.microsoft.PackedMultiHeadAttention': attention(0),
    'com.microsoft.PagedAttention': attention(0),
    // The provider has it up to opset 21; above, the runtime runs it on the CPU.
    MaxPool: { dtypes: ['float64', 'float32', 'float16'] },
  },
  gpu: 'nvidia',
  waitsInLoops: true,
  assumed: ({ sm, cudnn }) => [
    ...(sm === undefined ? [own.capabilityUnknown()] : []),
    ...(cudnn === undefined ? [own.cudnnUnknown()] : []),
  ],
  forecast,
  advise: adviseOnCuda,
});
