// ONNX Runtime's CPU provider, compiled to WebAssembly.
import { operandOf } from '../ir/define-op';
import { defineReasons } from '../lower/reason';
import type { Target } from '../lower/target';
import { repeatingCost } from './attention-cost';
import { scoresOf } from './attention-workspace';
import { experts, takesTiledPath } from './cpu';
import { kernelTables } from './kernels.generated';
import { groupedNonEmpty, nonEmptyOnCpu, standardNonEmpty } from './non-empty';
import { defineTarget, rotary } from './table';

const own = defineReasons({
  slowerThanPlain: () => 'with several queries it is 8 times slower than primitives, unless there are sinks',
});

/** ONNX Runtime in WebAssembly: `onnxruntime-web`. Models in float16 or bfloat16 are stored in that dtype and computed in float32. */
export const wasm: Target = defineTarget({
  name: 'wasm',
  opset: 24,
  providers: ['wasm'],
  computes: ['float32', 'float16', 'float64'],
  // Measured by scripts/float16-benchmark.ts: there are few 16-bit kernels, and the casts around the other nodes cost more than converting the weights once.
  widens: ['float16'],
  table: kernelTables.wasm,
  special: {
    ...nonEmptyOnCpu,
    ...rotary,
    ...experts,
    'com.microsoft.MultiHeadAttention': {
      cost: (node) => (operandOf(node, 'attention_bias') ? 3 : 1) + repeatingCost(node),
      workspace: scoresOf,
    },
    'com.microsoft.GroupQueryAttention': {
      accepts: (node) => !takesTiledPath(node) || own.slowerThanPlain(),
      cost: (node) => (operandOf(node, 'attention_bias') ? 3.2 : 2),
      workspace: scoresOf,
      nonEmpty: groupedNonEmpty,
    },
    Attention: { cost: () => 3.5, workspace: scoresOf, nonEmpty: standardNonEmpty },
  },
  notes: [{ computes: 'float16', text: 'ops without a float16 kernel compute in float32, between casts' }],
});
