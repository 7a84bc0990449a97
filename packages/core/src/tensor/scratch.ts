// Reusable buffers: tensors are large, and a garbage-collected runtime is slow to allocate and to free memory.

/**
 * Chunks of a stream of bytes up to this size may reuse the memory of the previous chunk: a consumer must have used one before it requests the next.
 */
export const sharedBytes = 2 ** 22;

/** Free memory beyond this is released. */
const freeBytes = 2 ** 26;

/**
 * Memory for short-lived tensors. The caller that requests a tensor returns it when it is no longer needed; a tensor that
 * is never returned is garbage-collected as usual.
 */
export class Scratch {
  private free: ArrayBuffer[] = [];
  private readonly taken = new WeakSet<ArrayBufferLike>();

  /** So many unused bytes; their contents are undefined. */
  take(byteLength: number): Uint8Array<ArrayBuffer> {
    const fitting = this.free.filter((buffer) => buffer.byteLength >= byteLength).sort((a, b) => a.byteLength - b.byteLength);
    const buffer = fitting[0] ?? new ArrayBuffer(byteLength);
    this.free = this.free.filter((other) => other !== buffer);
    this.taken.add(buffer);
    return new Uint8Array(buffer, 0, byteLength);
  }

  /** Returns an array that is no longer read. Memory from elsewhere is ignored. */
  give({ buffer }: ArrayBufferView): void {
    if (!this.taken.delete(buffer)) return;
    const held = this.free.reduce((n, { byteLength }) => n + byteLength, buffer.byteLength);
    if (held <= freeBytes) this.free.push(buffer as ArrayBuffer);
  }

  /** Marks an array that will be read for longer than its tensor. */
  keep({ buffer }: ArrayBufferView): void {
    this.taken.delete(buffer);
  }
}
