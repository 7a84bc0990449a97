// Times of repeated runs: their median and their spread.

/** Milliseconds. */
export interface Times {
  readonly median: number;
  /** Half the distance between the quartiles. */
  readonly spread: number;
}

/** The median and the spread of some times. */
export function timesOf(times: readonly number[]): Times {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (share: number): number => sorted[Math.round(share * (sorted.length - 1))]!;
  return { median: at(0.5), spread: (at(0.75) - at(0.25)) / 2 };
}

/** The milliseconds that a call takes, and those of all cores together. */
export async function spent(call: () => Promise<unknown>): Promise<{ readonly passed: number; readonly processor: number }> {
  const [start, before] = [performance.now(), process.cpuUsage()];
  await call();
  const passed = performance.now() - start;
  const { user, system } = process.cpuUsage(before);
  return { passed, processor: (user + system) / 1000 };
}

/** Number of runs that are measured, and of runs before them. */
export interface Repeats {
  readonly repetitions: number;
  readonly warmups: number;
}

/** The times of calls, repeated in turn, so that a drift of the machine affects all of them. */
export async function timed(
  calls: readonly (() => Promise<unknown>)[],
  { repetitions, warmups }: Repeats,
): Promise<readonly Times[]> {
  for (let i = 0; i < warmups; i++) for (const call of calls) await call();
  const times: readonly number[][] = calls.map(() => []);
  for (let i = 0; i < repetitions; i++)
    for (const [k, call] of calls.entries()) {
      const start = performance.now();
      await call();
      times[k]!.push(performance.now() - start);
    }
  return times.map(timesOf);
}
