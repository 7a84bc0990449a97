// Ctrl-C while files are written: what is half-written goes first, then the process.
import { constants } from 'node:os';

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Ended by a signal, with nothing half-written left. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
  /** What shells make of a process that the signal ended. */
  readonly exitCode: number;
  constructor(signal: (typeof signals)[number]) {
    super(`ended by ${signal}; nothing half-written is left`);
    this.exitCode = 128 + constants.signals[signal];
  }
}

/**
 * Does something that an AbortSignal ends, and aborts it when the process is told to end. Only meanwhile: a handler keeps signals from ending
 * what is not asked, such as compiling.
 */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const ending = new AbortController();
  const handlers = signals.map((name) => [name, () => ending.abort(new Interrupted(name))] as const);
  for (const [name, handle] of handlers) process.once(name, handle);
  try {
    return await work(ending.signal);
  } finally {
    for (const [name, handle] of handlers) process.removeListener(name, handle);
  }
}
