// ONNX Runtime's CPU provider.
import { addDims } from '../dim/dim';
import type { Node } from '../ir/graph';
import { defineReasons, type Reason } from '../lower/reason';
import type { Kernel, Target } from '../lower/target';
import { transforms } from './dft';
import { kernelTables } from './kernels.generated';
import { defineTarget, rotary } from './table';

// Relative time of long sequences: GroupQueryAttention skips what causal forbids, unless sinks, softcap or a bias lead it past its
// tiled path; a MultiHeadAttention with a bias over all scores makes all of them.
const attention: Readonly<Record<string, Partial<Kernel>>> = {
  'com.microsoft.MultiHeadAttention': { cost: ({ operands, attrs }) => (operands[5] ? 3 : attrs.unidirectional ? 2 : 1) },
  'com.microsoft.GroupQueryAttention': {
    cost: (node) => Math.max(groupQueryCost(node), windowCost(node)),
  },
  Attention: { accepts: standardAttention, cost: () => 3.5 },
};

function groupQueryCost({ operands, attrs }: Node): number {
  return operands[10] ? 3.2 : operands[11] || attrs.softcap ? 2.5 : 1;
}

// GroupQueryAttention computes the scores of all keys under a window too. Measured at a window of 64 against blocks of primitives (a cost of
// 10): they meet at 38 windows, and at 65,536 rows it takes 27 times as long. A cache is its alone, whatever it costs.
function windowCost({ operands: [q, , , pastKey], attrs }: Node): number {
  const [window, seq] = [Number(attrs.local_window_size ?? -1), q!.dims[1]!];
  if (window <= 0 || pastKey) return 0;
  return typeof seq === 'number' ? (10 * seq) / (38 * window) : 12;
}

/** ONNX Runtime on the CPU: `onnxruntime-node`. bfloat16 models are stored in it and computed in float32. */
export const cpu: Target = defineTarget({
  name: 'cpu',
  opset: 24,
  providers: ['cpu'],
  computes: ['float32', 'float16', 'float64'],
  table: kernelTables.cpu,
  special: { ...attention, ...rotary, DFT: transforms },
  notes: [{ computes: 'float16', text: 'ops without a float16 kernel compute in float32, between casts' }],
});

/** True where a GroupQueryAttention takes the tiled path of its CPU kernel. */
export const takesTiledPath = ({ operands, attrs }: Node): boolean =>
  operands[0]!.dims[1] !== 1 && !operands[10] && !operands[11] && !attrs.softcap;

const own = defineReasons({
  maskTooShort: () => 'the kernel needs a mask over all keys, those of the cache too',
  finiteForbidden: () => 'the kernel outputs forbidden scores as the lowest float instead of −∞',
});

/** What the CPU kernel of the standard's Attention does otherwise than the standard, as observed on 1.29 and 1.30. */
export function standardAttention({ operands, attrs }: Node): true | Reason {
  const [q, k, , mask, pastKey] = operands;
  const [keys, past] = [k!.dims[q!.rank - 2]!, pastKey?.dims[2] ?? 0];
  if (mask && mask.dims.at(-1) !== addDims(keys, past)) return own.maskTooShort();
  const shown = Number(attrs.outputs ?? 1) > 3 && attrs.qk_matmul_output_mode === 2;
  if (shown && (attrs.is_causal === 1 || mask?.dtype === 'bool')) return own.finiteForbidden();
  return true;
}
