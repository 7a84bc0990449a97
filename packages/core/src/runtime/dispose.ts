// How long the end of a runner may take.
import { ConfigError, checkOptions, describe, RunError } from '../error';

/** Options of a runner's `dispose`. */
export interface DisposeOptions {
  /**
   * For how many milliseconds to wait for the runs that were asked for. After that a worker runner ends its thread, and runs without an answer reject with
   * a RunError; any other runner rejects, and its session is freed as soon as the run has ended. Default 10,000 for a worker runner, else no limit.
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
