import type { Target } from '../lower/target';
import { kernelTables } from './kernels.generated';
import { kernelsOf } from './table';

export const wasm: Target = /* @__PURE__ */ Object.freeze({
  name: 'wasm',
  opset: 24,
  providers: ['wasm'],
  computes: ['float32', 'float16', 'float64'],
  kernels: kernelsOf(kernelTables.wasm),
} satisfies Target);
