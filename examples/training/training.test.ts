import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { microGpt, sample, trainGpt } from './micro-gpt';
import { metaFormer, trainClassifier, visionTransformer } from './vision';

describe('the GPT of characters', () => {
  it('learns, and goes on with a text in its own characters, the same for the same numbers', async () => {
    const text = readFileSync(new URL('../../LICENSE', import.meta.url), 'utf8');
    const gpt = microGpt(text);
    const trained = await trainGpt(gpt, text, 25);
    expect(trained.losses[0]).toBeCloseTo(Math.log(gpt.characters.length), 0);
    expect(trained.losses.at(-1)!).toBeLessThan(trained.losses[0]! - 0.7);
    const once = () => {
      let state = 7;
      const random = () => {
        state = (state * 48_271) % 2_147_483_647;
        return state / 2_147_483_647;
      };
      return sample(gpt, trained, { prompt: 'The ', count: 40, random });
    };
    const written = await once();
    expect(written).toHaveLength(44);
    expect(written.startsWith('The ')).toBe(true);
    expect([...written].every((c) => text.includes(c))).toBe(true);
    expect(await once()).toBe(written);
  }, 60_000);
});

it.each([
  ['the vision transformer', visionTransformer],
  ['the MetaFormer', metaFormer],
])(
  '%s learns to tell directions of stripes',
  async (_, model) => {
    const { losses } = await trainClassifier(model(), 12);
    expect(losses[0]).toBeCloseTo(Math.log(10), 0);
    expect(losses.at(-1)!).toBeLessThan(losses[0]! - 0.5);
  },
  60_000,
);
