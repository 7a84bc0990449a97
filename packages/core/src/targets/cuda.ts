import type { Target } from '../lower/target';
import { kernelTables } from './kernels.generated';
import { kernelsOf } from './table';

export const cuda: Target = /* @__PURE__ */ Object.freeze({
  name: 'cuda',
  opset: 24,
  providers: ['cuda'],
  computes: ['float32', 'float16', 'bfloat16', 'float64'],
  kernels: kernelsOf(kernelTables.cuda),
} satisfies Target);
