// Ctrl-C while files are written: incomplete files are removed before the process ends.
import { constants } from 'node:os';

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Ended by a signal, after incomplete files were removed. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
  /** The exit code that shells report for a process that the signal ended. */
  readonly exitCode: number;
  constructor(signal: (typeof signals)[number]) {
    super(`ended by ${signal}; nothing half-written is left`);
    this.exitCode = 128 + constants.signals[signal];
  }
}

/**
 * Runs work that an AbortSignal can abort, and aborts it when the process receives a signal. The handler is installed only during that time, because it prevents
 * signals from ending other work, such as compiling.
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
