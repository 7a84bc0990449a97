import { expect, it } from 'vitest';
import { Scratch } from '../tensor/scratch';
import type { DType, Tensor } from '../tensor/tensor';
import { castLazy, type LazyTensor } from './lazy';

/** Seven numbers that lie in memory of the reader. */
function numbers(dtype: DType, made: (bytes: Uint8Array<ArrayBuffer>) => Tensor['data']): LazyTensor {
  const load = async (scratch?: Scratch): Promise<Tensor> => ({
    dtype,
    dims: [7],
    data: made((scratch ?? new Scratch()).take(56)),
  });
  return { dtype, dims: [7], byteLength: 56, load };
}

it('memory of a weight that was cast is reused, unless the result is in it too', async () => {
  const scratch = new Scratch();
  const wide = numbers('float64', ({ buffer }) => new Float64Array(buffer, 0, 7).fill(3));
  const narrow = await castLazy(wide, 'float32').load(scratch);
  scratch.take(56).fill(255);
  expect([...narrow.data]).toEqual(new Array(7).fill(3));
  const whole = numbers('int64', ({ buffer }) => new BigInt64Array(buffer, 0, 7).fill(5n));
  const unsigned = await castLazy(whole, 'uint64').load(scratch);
  scratch.take(56).fill(255);
  expect([...unsigned.data]).toEqual(new Array(7).fill(5n));
});
