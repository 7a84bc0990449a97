// Models of tokens in the runtime: their inputs, their logits, and whether a cache gives those of the whole sequence.
import { pastOf, type Runner, type Tensor, tensor } from '@onnxformers/core';
import { expect } from 'vitest';

/** Tokens of the vocabulary of these models. */
export const vocab = 29;
/** A batch of two prompts. */
export const prompt = [
  [3, 14, 15, 9, 2],
  [6, 5, 3, 5, 8],
];

/** int64 [batch, seq] */
export const ids = (rows: readonly (readonly number[])[]): Tensor => tensor('int64', [rows.length, rows[0]!.length], rows.flat());
/** A vector of int64. */
export const int64 = (...values: number[]): Tensor => tensor('int64', [values.length], values);
/** The logits of one position. */
export const row = (t: Tensor, b: number, i: number): number[] =>
  Array.from({ length: vocab }, (_, c) => Number(t.data[(b * t.dims[1]! + i) * vocab + c]));
/** The place of the largest number. */
export const best = (xs: readonly number[]): number => xs.indexOf(Math.max(...xs));
/** The largest difference. */
export const away = (a: readonly number[], b: readonly number[]): number => Math.max(...a.map((x, i) => Math.abs(x - b[i]!)));

/** A growing cache, from a prompt of two tokens on, gives the logits of the whole prompt, token by token. */
export async function expectLogitsOfWhole(cached: Runner, plain: Runner): Promise<void> {
  const whole = (await plain({ ids: ids(prompt) })).logits!;
  let outputs = await cached({ ids: ids(prompt.map((r) => r.slice(0, 2))) });
  for (let i = 1; ; i++) {
    for (const b of prompt.keys())
      expect(away(row(outputs.logits!, b, outputs.logits!.dims[1]! - 1), row(whole, b, i))).toBeLessThan(2e-5);
    if (i === 4) break;
    outputs = await cached({ ids: ids(prompt.map((r) => [r[i + 1]!])), ...pastOf(outputs) });
  }
}
