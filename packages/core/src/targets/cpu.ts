// ONNX Runtime's CPU provider.
import { operandOf } from '../ir/define-op';
import type { Node } from '../ir/graph';
import { defineReasons } from '../lower/reason';
import type { Kernel, Target } from '../lower/target';
import { groupQueryCost, keepsKeysInPlace, multiHeadCost, standardCost } from './attention-cost';
import { scoresOf } from './attention-workspace';
import { kernelTables } from './kernels.generated';
import { groupedNonEmpty, nonEmptyOnCpu, standardNonEmpty } from './non-empty';
import { defineTarget, rotary } from './table';

const own = defineReasons({
  overwritesRows: () => 'it may write its result over the rows that it still reads: the second of two in a model returns 0',
});

/** Experts in one op. Its output takes the memory of its first input where nothing reads that afterwards, and the kernel clears the output first. */
export const experts: Readonly<Record<string, Partial<Kernel>>> = {
  'com.microsoft.MoE': { accepts: () => own.overwritesRows() },
};

const attention: Readonly<Record<string, Partial<Kernel>>> = {
  'com.microsoft.MultiHeadAttention': {
    accepts: keepsKeysInPlace,
    cost: multiHeadCost,
    workspace: (node) => (takesFlashPath(node) ? 0 : scoresOf(node)),
  },
  'com.microsoft.GroupQueryAttention': {
    cost: groupQueryCost,
    workspace: (node) => (takesTiledPath(node) && isFloat32(node) ? 0 : scoresOf(node)),
    nonEmpty: groupedNonEmpty,
  },
  Attention: {
    accepts: keepsKeysInPlace,
    cost: standardCost,
    workspace: scoresOf,
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
  special: { ...nonEmptyOnCpu, ...attention, ...experts, ...rotary },
  notes: [{ computes: 'float16', text: 'ops without a float16 kernel compute in float32, between casts' }],
});

const isFloat32 = ({ operands: [query] }: Node): boolean => query!.dtype === 'float32';

// True if a MultiHeadAttention uses the path of its CPU kernel that keeps no scores.
const takesFlashPath = (node: Node): boolean =>
  isFloat32(node) && !node.attrs.unidirectional && !operandOf(node, 'key_padding_mask') && !operandOf(node, 'attention_bias');

/** True if a GroupQueryAttention uses the tiled path of its CPU kernel. */
export const takesTiledPath = (node: Node): boolean =>
  operandOf(node, 'query')!.dims[1] !== 1 &&
  !operandOf(node, 'attention_bias') &&
  !operandOf(node, 'head_sink') &&
  !node.attrs.softcap;
