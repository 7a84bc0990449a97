import type { Target } from '../lower/target';
import { kernelTables } from './kernels.generated';
import { kernelsOf } from './table';

export const cpu: Target = /* @__PURE__ */ Object.freeze({
  name: 'cpu',
  opset: 24,
  providers: ['cpu'],
  computes: ['float32', 'float16', 'float64'],
  kernels: kernelsOf(kernelTables.cpu),
} satisfies Target);
