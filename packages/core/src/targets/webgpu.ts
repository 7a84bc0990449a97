import type { Target } from '../lower/target';
import { kernelTables } from './kernels.generated';
import { kernelsOf } from './table';

export const webgpu: Target = /* @__PURE__ */ Object.freeze({
  name: 'webgpu',
  opset: 24,
  providers: ['webgpu'],
  computes: ['float32', 'float16'],
  kernels: kernelsOf(kernelTables.webgpu),
} satisfies Target);
