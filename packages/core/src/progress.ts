// Progress of operations that take longer.

/** The progress of an operation. */
export interface Progress {
  /**
   * `compile`: the model is traced (to one half) and lowered · `weights`: weights are read and converted to the layout of the kernels · `write`: files are written · `session`: the runtime opens the model, and reports no
   * progress until it is done
   */
  readonly phase: 'compile' | 'weights' | 'write' | 'session';
  /** From 0 to 1 in this phase. */
  readonly fraction: number;
  /** Total number of bytes of the phase, if known. */
  readonly bytes?: number;
}

/** Called with the progress. An error that it throws stops the operation. */
export type OnProgress = (progress: Progress) => void;

/** A function that reports how many of `total` bytes were processed. */
export function counter(phase: Progress['phase'], total: number, onProgress: OnProgress | undefined): (bytes: number) => void {
  let done = 0;
  return (bytes) => {
    done += bytes;
    onProgress?.({ phase, fraction: total === 0 ? 1 : done / total, bytes: total });
  };
}
