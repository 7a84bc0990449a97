// ONNX Runtime's CPU provider, compiled to WebAssembly.
import type { Target } from '../lower/target';
import { standardAttention, takesTiledPath } from './cpu';
import { transforms } from './dft';
import { kernelTables } from './kernels.generated';
import { defineTarget, rotary } from './table';

/** ONNX Runtime in WebAssembly: `onnxruntime-web`. bfloat16 models are stored in it and computed in float32. */
export const wasm: Target = defineTarget({
  name: 'wasm',
  opset: 24,
  providers: ['wasm'],
  computes: ['float32', 'float16', 'float64'],
  table: kernelTables.wasm,
  special: {
    ...rotary,
    DFT: transforms,
    'com.microsoft.MultiHeadAttention': { cost: ({ operands }) => (operands[5] ? 3 : 1) },
    'com.microsoft.GroupQueryAttention': {
      accepts: (node) =>
        !takesTiledPath(node) || 'several rows at once are 8 times slower there than the plain graph, unless there are sinks',
      cost: ({ operands }) => (operands[10] ? 3.2 : 2),
    },
    Attention: { accepts: standardAttention, cost: () => 3.5 },
  },
  notes: ['float16: ops without a kernel in it compute in float32, between casts'],
});
