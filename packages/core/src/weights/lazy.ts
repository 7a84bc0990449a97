// Tensors that are loaded on request.

import { checkArguments } from '../arguments';
import { castTensor } from '../tensor/convert';
import type { Scratch } from '../tensor/scratch';
import { bytesOf, countOf, type DType, type Tensor } from '../tensor/tensor';

/** A tensor whose elements are read or computed on request, and not kept. */
export interface LazyTensor {
  readonly dtype: DType;
  readonly dims: readonly number[];
  readonly byteLength: number;
  /** Reads or computes the tensor, in memory of `scratch` if that is given and suitable. */
  load(scratch?: Scratch): Promise<Tensor>;
  /** The same synchronously; present if no file has to be read. */
  loadSync?(): Tensor;
}

/** A lazy tensor that a function computes, again for each load. */
export function lazily(dtype: DType, dims: readonly number[], make: () => Tensor): LazyTensor {
  checkArguments('lazily', { dtype, dims, make });
  return { dtype, dims, byteLength: bytesOf(dtype, countOf(dims)), load: async () => make(), loadSync: make };
}

/** A tensor in memory as a lazy one. */
export const lazyTensor = (t: Tensor): LazyTensor => {
  checkArguments('lazyTensor', { tensor: t });
  return lazily(t.dtype, t.dims, () => t);
};

/** Whether a tensor is a lazy one. */
export const isLazy = (t: Tensor | LazyTensor): t is LazyTensor => {
  checkArguments('isLazy', { tensor: t });
  return 'load' in t;
};

/** A lazy tensor as another dtype, cast when loaded; see {@link castTensor}. */
export function castLazy(t: LazyTensor, dtype: DType): LazyTensor {
  checkArguments('castLazy', { tensor: t, dtype });
  if (t.dtype === dtype) return t;
  const { loadSync } = t;
  return {
    dtype,
    dims: t.dims,
    byteLength: bytesOf(dtype, countOf(t.dims)),
    load: async (scratch) => {
      const whole = await t.load(scratch);
      const cast = castTensor(whole, dtype);
      if (cast.data.buffer !== whole.data.buffer) scratch?.give(whole.data); // 64-bit integers are not copied
      return cast;
    },
    ...(loadSync && { loadSync: () => castTensor(loadSync(), dtype) }),
  };
}
