// ONNX Runtime's CPU provider.
import { operandOf } from '../ir/define-op';
import type { Node } from '../ir/graph';
import type { Kernel, Target } from '../lower/target';
import { groupQueryCost, keepsKeysInPlace, multiHeadCost, standardCost } from './attention-cost';
import { kernelTables } from './kernels.generated';
import { groupedNonEmpty, nonEmptyOnCpu, standardNonEmpty } from './non-empty';
import { defineTarget, rotary } from './table';

const attention: Readonly<Record<string, Partial<Kernel>>> = {
  'com.microsoft.MultiHeadAttention': { accepts: keepsKeysInPlace, cost: multiHeadCost },
  'com.microsoft.GroupQueryAttention': { cost: groupQueryCost, nonEmpty: groupedNonEmpty },
  Attention: {
    accepts: keepsKeysInPlace,
    cost: standardCost,
    nonEmpty: standardNonEmpty,
  },
};

/** ONNX Runtime on the CPU: `onnxruntime-node`. Models in float16 or bfloat16 are stored in that dtype and computed in float32. */
export const cpu: Target = defineTarget({
  name: 'cpu',
  opset: 24,
  providers: ['cpu'],
  computes: ['float32', 'float16', 'float64'],
  // Measured by scripts/float16-benchmark.ts: there are few 16-bit kernels, and the casts around the other nodes cost more than converting the weights once.
  widens: ['float16'],
  table: kernelTables.cpu,
  special: { ...nonEmptyOnCpu, ...attention, ...rotary },
  notes: [{ computes: 'float16', text: 'ops without a float16 kernel compute in float32, between casts' }],
});

/** True if a GroupQueryAttention uses the tiled path of its CPU kernel. */
export const takesTiledPath = (node: Node): boolean =>
  operandOf(node, 'query')!.dims[1] !== 1 &&
  !operandOf(node, 'attention_bias') &&
  !operandOf(node, 'head_sink') &&
  !node.attrs.softcap;
