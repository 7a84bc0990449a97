// What a model may be compiled on. The runner checks it in every run, so there is no assumption that it does not know.

/** The assumptions about feeds that a model may be compiled on. */
export const assumptions = ['prefill into empty cache', 'no empty sequences', 'finite padding'] as const;

/** An assumption about feeds: `'prefill into empty cache'`, `'no empty sequences'` or `'finite padding'`. */
export type Assumption = (typeof assumptions)[number];

/** Whether there is an assumption of this name. */
export const isAssumption = (name: string): name is Assumption => (assumptions as readonly string[]).includes(name);
