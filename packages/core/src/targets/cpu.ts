// ONNX Runtime's CPU provider.
import { addDims } from '../dim/dim';
import { operandOf } from '../ir/define-op';
import type { Node } from '../ir/graph';
import { defineReasons, type Reason } from '../lower/reason';
import type { Kernel, Target } from '../lower/target';
import type { DType } from '../tensor/tensor';
import { groupQueryCost, keepsKeysInPlace, multiHeadCost, standardCost } from './attention-cost';
import { transforms } from './dft';
import { kernelTables } from './kernels.generated';
import { groupedNonEmpty, nonEmptyOnCpu, standardNonEmpty } from './non-empty';
import { defineTarget, rotary } from './table';

const attention: Readonly<Record<string, Partial<Kernel>>> = {
  'com.microsoft.MultiHeadAttention': { accepts: keepsKeysInPlace, cost: multiHeadCost },
  'com.microsoft.GroupQueryAttention': { cost: groupQueryCost, nonEmpty: groupedNonEmpty },
  Attention: {
    accepts: (node) => {
      const right = standardAttention(node);
      return right === true ? keepsKeysInPlace(node) : right;
    },
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
  special: { ...nonEmptyOnCpu, ...attention, ...rotary, DFT: transforms },
  notes: [{ computes: 'float16', text: 'ops without a float16 kernel compute in float32, between casts' }],
});

/** True if a GroupQueryAttention uses the tiled path of its CPU kernel. */
export const takesTiledPath = (node: Node): boolean =>
  operandOf(node, 'query')!.dims[1] !== 1 &&
  !operandOf(node, 'attention_bias') &&
  !operandOf(node, 'head_sink') &&
  !node.attrs.softcap;

const own = defineReasons({
  maskTooShort: () => 'the kernel requires a mask over all keys, including those of the cache',
  scoresIn16Bits: ({ dtype }: { readonly dtype: DType }) =>
    `the kernel rounds scores to ${dtype}; attention is defined with scores and a softmax in float32`,
  finiteForbidden: () => 'the kernel outputs masked scores as the lowest float instead of −∞',
});

/** Refuses the standard's Attention where its CPU kernel deviates from the standard, as observed on 1.29 and 1.30. */
export function standardAttention(node: Node): true | Reason {
  const { attrs } = node;
  const [k, mask, pastKey] = ['k', 'mask', 'pastKey'].map((name) => operandOf(node, name));
  if (k!.dtype === 'float16' || k!.dtype === 'bfloat16') return own.scoresIn16Bits({ dtype: k!.dtype });
  const [keys, past] = [k!.dims.at(-2)!, pastKey?.dims[2] ?? 0];
  if (mask && mask.dims.at(-1) !== addDims(keys, past)) return own.maskTooShort();
  const shown = Number(attrs.outputs ?? 1) > 3 && attrs.qk_matmul_output_mode === 2;
  if (shown && (attrs.is_causal === 1 || mask?.dtype === 'bool')) return own.finiteForbidden();
  return true;
}
