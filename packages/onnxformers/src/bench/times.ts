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

/** Number of runs that are measured, and of runs before them. */
export interface Repeats {
  readonly repetitions: number;
  readonly warmups: number;
}

/** The time of a call, repeated. */
export async function timed(call: () => Promise<unknown>, { repetitions, warmups }: Repeats): Promise<Times> {
  for (let i = 0; i < warmups; i++) await call();
  const times: number[] = [];
  for (let i = 0; i < repetitions; i++) {
    const start = performance.now();
    await call();
    times.push(performance.now() - start);
  }
  return timesOf(times);
}
