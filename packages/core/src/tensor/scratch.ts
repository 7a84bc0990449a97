// Memory that is used again and again: tensors are large, and a runtime that collects garbage is slow to give memory back and to get it.

/**
 * Chunks of a stream of bytes up to this size may lie where the chunk before lay: whoever takes them uses them up before asking for the next.
 */
export const sharedBytes = 2 ** 22;

/** Free memory beyond this is let go. */
const freeBytes = 2 ** 26;

/**
 * Memory for tensors that are needed for a moment only. Whoever asks for a tensor with it says when the tensor is not needed any more; one that
 * is never given back is garbage as any other.
 */
export class Scratch {
  private free: ArrayBuffer[] = [];
  private readonly taken = new WeakSet<ArrayBufferLike>();

  /** So many bytes that nobody else uses; what they hold is left over from before. */
  take(byteLength: number): Uint8Array<ArrayBuffer> {
    const fitting = this.free.filter((buffer) => buffer.byteLength >= byteLength).sort((a, b) => a.byteLength - b.byteLength);
    const buffer = fitting[0] ?? new ArrayBuffer(byteLength);
    this.free = this.free.filter((other) => other !== buffer);
    this.taken.add(buffer);
    return new Uint8Array(buffer, 0, byteLength);
  }

  /** Says that this array is not read any more. Memory from elsewhere is left alone. */
  give({ buffer }: ArrayBufferView): void {
    if (!this.taken.delete(buffer)) return;
    const held = this.free.reduce((n, { byteLength }) => n + byteLength, buffer.byteLength);
    if (held <= freeBytes) this.free.push(buffer as ArrayBuffer);
  }

  /** Says that this array will be read for longer than the tensor it is of. */
  keep({ buffer }: ArrayBufferView): void {
    this.taken.delete(buffer);
  }
}
