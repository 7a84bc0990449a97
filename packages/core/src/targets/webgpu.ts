// ONNX Runtime's native WebGPU provider.
import { operandOf } from '../ir/define-op';
import { isReduced, rangeReasons } from '../kernels/range-reduction';
import { defineReasons } from '../lower/reason';
import type { Kernel, Target } from '../lower/target';
import { advise } from './advice';
import { repeatingCost } from './attention-cost';
import { kernelTables } from './kernels.generated';
import { sequencesOnly } from './non-empty';
import { defineTarget, rotary } from './table';

const own = defineReasons({
  zeroPoints: () => 'without zero points it may use those of another node',
  poolsAsOutputs: () => 'it requires its pools as outputs',
});

// The accuracy that WGSL guarantees: an error of at most 2⁻¹¹ between −π and π, and no bound elsewhere.
const nearZero: Partial<Kernel> = {
  error: 2 ** -11,
  accepts: ({ operands }) => isReduced(operands[0]) || rangeReasons.angles(),
};

/**
 * ONNX Runtime on WebGPU: `onnxruntime-web/webgpu` in a browser, `onnxruntime-node` elsewhere. (The default entry of `onnxruntime-web`
 * has an older provider with fewer kernels, some of them wrong.) Its kernels support opsets up to 21; newer versions of some ops
 * have no kernel.
 */
export const webgpu: Target = defineTarget({
  name: 'webgpu',
  opset: 21,
  providers: ['webgpu'],
  computes: ['float32', 'float16'],
  table: kernelTables.webgpu,
  // Loop: its body runs on the GPU. Cast: weights in a dtype that the GPU lacks are converted once. The others are rare.
  leftToCpu: ['Loop', 'Cast', 'IsNaN', 'IsInf', 'Mod'],
  waitsInLoops: true,
  advise: (situation) => advise(situation, { takesLengths: false, wholeMasks: true }),
  special: {
    ...rotary,
    Sin: nearZero,
    Cos: nearZero,
    'com.microsoft.MultiHeadAttention': {
      cost: (node) => (operandOf(node, 'attention_bias') ? 1.5 : 1) + repeatingCost(node),
      nonEmpty: sequencesOnly,
    },
    'com.microsoft.GroupQueryAttention': {
      // Other kernels need a tensor over all pairs for a window.
      cost: ({ attrs }) => (Number(attrs.local_window_size ?? -1) > 0 ? 1.4 : 2),
      nonEmpty: sequencesOnly,
    },
    // Shaders of two forms of the op have the same cache key, so the second uses the zero point of the first.
    'com.microsoft.GatherBlockQuantized': {
      accepts: (node) => operandOf(node, 'zeroPoints') !== undefined || own.zeroPoints(),
    },
    'com.microsoft.PagedAttention': { accepts: () => own.poolsAsOutputs() },
  },
  // Observed on 1.29 and read in its shader: it loads as many keys as a subgroup has lanes, and weights eight or sixteen of them.
  notes: [
    {
      text: 'attention over 32 queries or more is wrong on adapters whose subgroups may have 4 lanes, as software adapters have',
    },
  ],
});
