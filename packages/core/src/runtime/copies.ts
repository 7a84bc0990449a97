// Copies of plain feeds. Memory is reused from run to run, because the system takes several times as long to provide new memory as copying takes.
import type { Tensor, TensorData } from '../tensor/tensor';

/** Below this size, memory is provided fast: an allocator asks the system for larger pieces, and gives them back, each time. */
const large = 2 ** 16;

/** The copies of one runner's feeds. */
export interface Copies {
  /** A copy of the feed of an input. */
  copy(at: number, tensor: Tensor): Tensor;
  /** After a run: its copies may be overwritten, except those that are among its results. */
  release(tensors: readonly (Tensor | undefined)[], results: Readonly<Record<string, Tensor | undefined>>): void;
}

/** Keeps at most one large buffer for each input. */
export function makeCopies(): Copies {
  const free = new Map<number, ArrayBuffer>();
  const lent = new WeakSet<ArrayBufferLike>();
  /** A buffer of this size, or of up to twice as much. */
  const take = (at: number, bytes: number): ArrayBuffer => {
    const kept = free.get(at);
    free.delete(at);
    return kept && kept.byteLength >= bytes && kept.byteLength <= 2 * bytes ? kept : new ArrayBuffer(bytes);
  };
  return {
    copy(at, { dtype, dims, data }) {
      if (data.byteLength < large) return { dtype, dims: [...dims], data: data.slice() as TensorData };
      const buffer = take(at, data.byteLength);
      lent.add(buffer);
      const Type = data.constructor as new (buffer: ArrayBuffer, from: number, length: number) => TensorData;
      const copy = new Type(buffer, 0, data.length);
      copy.set(data as never);
      return { dtype, dims: [...dims], data: copy };
    },
    release(tensors, results) {
      for (let at = 0; at < tensors.length; at++) {
        const data = tensors[at]?.data;
        // A runtime in another thread may have taken the buffer, which is empty then.
        if (!data || data.byteLength < large) continue;
        const buffer = data.buffer as ArrayBuffer;
        if (lent.has(buffer) && !Object.values(results).some((t) => t?.data.buffer === buffer)) free.set(at, buffer);
      }
    },
  };
}
