import { describe, expect, it } from 'vitest';
import { compare } from './demo';
import { buildPlain } from './plain-encoder.test-helper';
import { recorded } from './reference.test-helper';
import { similaritiesOf } from './report';

describe('compare', () => {
  it('returns the similarities of the original, also for empty sentences, and disposes of the encoder', async () => {
    const cases = recorded().filter(({ ids }) => ids.length < 12);
    expect(cases.some(({ ids }) => ids.length === 0)).toBe(true);
    let disposed = 0;
    const steps: string[] = [];
    const { report, picture } = await compare(
      { sentences: cases.map(({ text }) => text), target: 'cpu', dtype: 'float32' },
      async (weights, o) => {
        o.onProgress?.({ phase: 'session', fraction: 0.5 });
        return { ...(await buildPlain(weights, o)), dispose: async () => void disposed++ };
      },
      (what) => steps.push(what),
    );
    expect(steps).toEqual([
      'read and check weights and vocabulary',
      'tokenise',
      'compile and start the session',
      'open the session, 50 %',
      'first run',
      '7 runs',
    ]);
    const expected = similaritiesOf(cases.map(({ vector }) => vector));
    for (const [i, row] of expected.entries())
      for (const [j, value] of row.entries()) expect(report.similarities[i]![j]).toBeCloseTo(value, 5);
    expect(report.kernels.reduce((n, { paths }) => n + paths.length, 0)).toBe(picture.nodes.length);
    expect(report.perSentence).toBeGreaterThan(0);
    expect(report.timings).toHaveLength(5);
    expect(disposed).toBe(1);
  });

  it('disposes of an encoder that fails', async () => {
    let disposed = 0;
    const failing = compare({ sentences: ['a'], target: 'cpu', dtype: 'float32' }, async (...args) => ({
      ...(await buildPlain(...args)),
      encode: () => Promise.reject(new Error('no')),
      dispose: async () => void disposed++,
    }));
    await expect(failing).rejects.toThrow('no');
    expect(disposed).toBe(1);
  });
});
