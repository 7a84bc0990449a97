import { describe, expect, it } from 'vitest';
import { configReader } from '../config';
import { candidates, chooser } from './choose';
import { type GenerationOptions, settingsOf, withoutEffect } from './settings';

const none = configReader({});
const settings = (o: GenerationOptions, defaults: object = {}) => settingsOf({ seed: 3, ...o }, configReader(defaults), none);
const logits = Float32Array.of(1, 3, 2, 2.5, -1);
const at = { ids: [1, 3], step: 1, steps: 5 };
const chosen = (o: GenerationOptions, progress = at) => chooser(settings(o))(logits, progress);
const kept = (o: GenerationOptions) => candidates(logits, settings({ top_k: 0, ...o })).map(({ id }) => id);

describe('the next token', () => {
  it('is the likeliest, the first of equal ones', () => {
    expect(chosen({})).toBe(1);
    expect(chooser(settings({}))(Float32Array.of(2, 5, 5), at)).toBe(1);
  });

  it('is kept from what is forbidden', () => {
    expect(chosen({ suppress_tokens: [1] })).toBe(3);
    expect(chosen({ bad_words_ids: [[1], [3]] })).toBe(2);
    expect(chosen({ begin_suppress_tokens: [1] })).toBe(1);
    expect(chosen({ begin_suppress_tokens: [1] }, { ...at, step: 0 })).toBe(3);
    expect(chosen({ eos_token_id: 1, min_new_tokens: 2 })).toBe(3);
    expect(chosen({ eos_token_id: [1], min_new_tokens: 1 })).toBe(1);
    // 3 / 1.6 and 2.5 / 1.6 are less than 2.
    expect(chosen({ repetition_penalty: 1.6 })).toBe(2);
    expect(chosen({ no_repeat_ngram_size: 2 }, { ...at, ids: [0, 1, 2, 0] })).toBe(3);
    expect(chosen({ no_repeat_ngram_size: 1 })).toBe(2);
  });

  it('is what is forced', () => {
    expect(chosen({ forced_bos_token_id: 4 }, { ...at, step: 0 })).toBe(4);
    expect(chosen({ forced_eos_token_id: 0 }, { ...at, step: 4 })).toBe(0);
    expect(chosen({ forced_eos_token_id: 0 })).toBe(1);
  });

  it('is drawn with the probabilities of the logits', () => {
    const draw = chooser(settings({ do_sample: true, top_k: 0, temperature: 0.7 }));
    const counts = [0, 0, 0, 0, 0];
    const n = 20_000;
    for (let i = 0; i < n; i++) counts[draw(logits, at)]!++;
    const weights = Array.from(logits, (x) => Math.exp(x / 0.7));
    const total = weights.reduce((a, b) => a + b, 0);
    // Five standard deviations of a count.
    weights.forEach((w, id) => {
      const p = w / total;
      expect(Math.abs(counts[id]! / n - p)).toBeLessThan(5 * Math.sqrt((p * (1 - p)) / n));
    });
  });

  it('is drawn from the likeliest', () => {
    expect(kept({})).toEqual([1, 3, 2, 0, 4]);
    expect(kept({ top_k: 2 })).toEqual([1, 3]);
    // Probabilities 0.461, 0.280, 0.170, 0.062, 0.008 up to rounding.
    expect(kept({ top_p: 0.45 })).toEqual([1]);
    expect(kept({ top_p: 0.5 })).toEqual([1, 3]);
    expect(kept({ min_p: 0.3 })).toEqual([1, 3, 2]);
    expect(kept({ top_p: 0 })).toEqual([1]);
    expect(chosen({ do_sample: true, temperature: 0 })).toBe(1);
  });
});

describe('settings', () => {
  it('come from the call, then from the checkpoint', () => {
    expect(settings({ top_k: 3 }, { top_k: 7, top_p: 0.5 })).toMatchObject({ top_k: 3, top_p: 0.5 });
    expect(settings({}).steps(4)).toBe(20);
    expect(settings({}, { max_length: 30 }).steps(4)).toBe(26);
    expect(settings({}, { max_length: 30, max_new_tokens: 5 }).steps(4)).toBe(5);
    expect(settings({ max_length: 30 }, { max_new_tokens: 5 }).steps(4)).toBe(26);
  });

  it('that are not possible are refused by name', () => {
    for (const [key, value] of [
      ['temperature', -1],
      ['top_p', 2],
      ['max_new_tokens', Number.NaN],
      ['eos_token_id', 'x'],
      ['do_sample', 1],
      ['bad_words_ids', [[1, 2]]],
    ] as const)
      expect(() => settings({ [key]: value } as GenerationOptions).steps(1), key).toThrow(new RegExp(`generation: ${key}`));
  });

  it('of a checkpoint that have no effect are listed', () => {
    expect(withoutEffect(configReader({ num_beams: 4, typical_p: 1 }))).toEqual(['num_beams: 4']);
  });
});
