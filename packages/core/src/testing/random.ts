// Data for tests: random, but the same in every run.

/** Numbers in [0, 1), the same ones for the same name. */
export function randomNumbers(name: string): () => number {
  let state = 0x9e3779b9;
  for (const c of name) state = Math.imul(state ^ c.codePointAt(0)!, 0x01000193);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
