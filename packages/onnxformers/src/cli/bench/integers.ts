// Lists of integers on the command line.
import { UsageError } from '../command';

/** The integers of a list. Throws UsageError. */
export const integersOf = (name: string, list: readonly string[]): readonly number[] =>
  list.map((text) => {
    if (!/^\d+$/.test(text)) throw new UsageError(`--${name} must be a list of integers, got "${text}"`);
    return Number(text);
  });
