// The timeout of a runner's `dispose`.
import { ConfigError, checkOptions, describe, RunError } from '../error';

/** Options of a runner's `dispose`. */
export interface DisposeOptions {
  /**
   * For how many milliseconds to wait for runs that were started. After that unanswered runs of a worker runner reject with a RunError, and its thread
   * ends when the call of the runtime that it executes has returned; any other runner rejects, and its session is freed as soon as the run has ended. Default 10,000 for a worker runner, otherwise no limit.
   */
  readonly timeout?: number;
}

/** The timeout. Throws ConfigError for one that is not a duration. */
export function checkTimeout(options: DisposeOptions | undefined, otherwise: number): number {
  checkOptions('options', options ?? {}, { timeout: true });
  const timeout = options?.timeout ?? otherwise;
  if (typeof timeout === 'number' && timeout >= 0) return timeout;
  throw new ConfigError({
    path: 'options.timeout',
    problem: 'not a duration',
    expected: 'milliseconds, 0 or more',
    got: describe(timeout),
  });
}

/** The error of a run, or of `dispose`, after a timeout. */
export const lateError = (timeout: number, what: string, hint: string): RunError =>
  new RunError({
    path: 'runner',
    problem: `a run had not ended ${timeout} ms after dispose was called, and ${what}`,
    hint,
  });
