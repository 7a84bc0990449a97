// How far something is that takes more than a moment.

/** How far something is. */
export interface Progress {
  /**
   * `weights`: they are read and brought into the layout of the kernels · `write`: files are written · `session`: the runtime opens the model, and does not say how
   * far it is until it is done
   */
  readonly phase: 'weights' | 'write' | 'session';
  /** From 0 to 1 in this phase. */
  readonly fraction: number;
  /** How many bytes the phase moves in all, where that is known. */
  readonly bytes?: number;
}

/** Is told how far something is. What it throws ends the work. */
export type OnProgress = (progress: Progress) => void;

/** What reports bytes that were moved, out of so many. */
export function counter(phase: Progress['phase'], total: number, onProgress: OnProgress | undefined): (bytes: number) => void {
  let done = 0;
  return (bytes) => {
    done += bytes;
    onProgress?.({ phase, fraction: total === 0 ? 1 : done / total, bytes: total });
  };
}
