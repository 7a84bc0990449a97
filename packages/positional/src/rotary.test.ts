import { ConfigError, type NDArray } from '@onnxformers/core';
import { expectClose, randomArray, runBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { rotary } from './index';
import { frequencies } from './rotary-frequencies';

type Config = Parameters<typeof rotary>[0];
const float32 = { atol: 5e-6, rtol: 1e-6 };
const two = (seq: number, dim: number) => ({ q: randomArray('q', [2, 3, seq, dim]), k: randomArray('k', [2, 1, seq, dim]) });

/** Each pair of channels turned by its rate times the position, and scaled. */
function turned(
  x: NDArray,
  inverseFrequencies: readonly number[],
  o: { interleaved?: boolean; at?: NDArray; scale?: number } = {},
): NDArray {
  const [, heads, seq, dim] = x.dims as [number, number, number, number];
  const data = x.data.slice();
  for (let r = 0; r < x.data.length / dim; r++) {
    const t = o.at ? o.at.data[Math.floor(r / (heads * seq)) * seq + (r % seq)]! : r % seq;
    inverseFrequencies.forEach((rate, i) => {
      const [a, b] = o.interleaved ? [2 * i, 2 * i + 1] : [i, i + inverseFrequencies.length];
      const [u, v] = [x.data[r * dim + a]!, x.data[r * dim + b]!];
      const [cos, sin] = [Math.cos(t * rate) * (o.scale ?? 1), Math.sin(t * rate) * (o.scale ?? 1)];
      data[r * dim + a] = u * cos - v * sin;
      data[r * dim + b] = v * cos + u * sin;
    });
  }
  return { ...x, data };
}
const plain = (dim: number, theta = 10_000) => Array.from({ length: dim / 2 }, (_, i) => theta ** (-(2 * i) / dim));

describe('rotary', () => {
  it.each([
    [{ dim: 6 }, plain(6), {}],
    [{ dim: 10, rotaryDim: 4, theta: 500 }, plain(4, 500), {}],
    [{ dim: 10, rotaryDim: 6, interleaved: true }, plain(6), { interleaved: true }],
  ] as [Config, number[], object][])('of %o turns pairs of channels', (config, inverseFrequencies, o) => {
    const given = two(11, config.dim);
    const { outputs } = runBlock(rotary(config), given);
    expectClose(outputs.q_rotated!, turned(given.q, inverseFrequencies, o), float32);
    expectClose(outputs.k_rotated!, turned(given.k, inverseFrequencies, o), float32);
  });

  it('uses the positions of the context', () => {
    const at: NDArray = { dtype: 'int64', dims: [2, 3], data: Float64Array.of(5, 6, 7, 0, 9, 2) };
    const given = two(3, 6);
    const { outputs } = runBlock(rotary({ dim: 6 }), { ...given, position_ids: at });
    expectClose(outputs.q_rotated!, turned(given.q, plain(6), { at }), float32);
  });

  it('makes scores depend on distances only', () => {
    const same = (x: NDArray): NDArray => ({ ...x, data: x.data.map((_, i) => x.data[i % x.dims[3]!]!) });
    const given = two(11, 6);
    const { q_rotated: q, k_rotated: k } = runBlock(rotary({ dim: 6 }), { q: same(given.q), k: same(given.k) }).outputs;
    const score = (i: number, j: number) =>
      [0, 1, 2, 3, 4, 5].reduce((sum, c) => sum + q!.data[i * 6 + c]! * k!.data[j * 6 + c]!, 0);
    expect(score(9, 4)).toBeCloseTo(score(6, 1), 6);
    expect(score(9, 4)).not.toBeCloseTo(score(9, 5), 3);
  });

  it.each([
    [{ dim: 6, rotaryDim: 3 }, 'rotaryDim is odd or larger than dim; expected an even number up to dim = 6, got 3'],
    [{ dim: 6, rotaryDim: 8 }, 'got 8'],
    [
      { dim: 6, scaling: 'yarn', factor: 2 },
      "rotary.originalMaxPositions: scaling: 'yarn' requires originalMaxPositions, the longest sequence of the training",
    ],
    [
      { dim: 6, factor: 2 },
      "rotary.factor: factor has no effect without a scaling; expected a scaling, got factor 2 and scaling 'none'",
    ],
    [
      { dim: 6, scaling: 'llama3', factor: 2 },
      "scaling: 'llama3' requires originalMaxPositions, the longest sequence of the training",
    ],
  ] as [Config, string][])('refuses %o', (config, message) => {
    expect(() => rotary(config)).toThrow(ConfigError);
    expect(() => rotary(config)).toThrow(message);
  });
});

describe('scaling', () => {
  const options = {
    rotaryDim: 16,
    theta: 10_000,
    factor: 4,
    originalMaxPositions: 37,
    lowFreqFactor: 1,
    highFreqFactor: 4,
    betaFast: 3,
    betaSlow: 1,
    truncate: true,
  };
  const none = { attentionFactor: undefined, shortFactor: undefined, longFactor: undefined };
  const of = (scaling: Parameters<typeof frequencies>[0]['scaling'], more = {}) =>
    frequencies({ ...options, ...none, scaling, ...more }, 'rotary');
  const close = (got: readonly number[], expected: readonly number[]) =>
    got.forEach((rate, i) => expect(rate / expected[i]!).toBeCloseTo(1, 12));

  it('linear: as if positions were closer', () => {
    close(
      of('linear').inverseFrequencies,
      plain(16).map((rate) => rate / 4),
    );
  });

  it('ntk: the slowest pair slows by the factor, the fastest not at all', () => {
    const { inverseFrequencies, scale } = of('ntk');
    expect(inverseFrequencies[0]).toBe(1);
    expect(inverseFrequencies[7]! * 4).toBeCloseTo(plain(16)[7]!, 12);
    close(inverseFrequencies, plain(16, 10_000 * 4 ** (16 / 14)));
    expect(scale).toBe(1);
  });

  // By wavelengths, as their authors write it.
  it('llama3: long wavelengths slow, short ones do not, between them a blend', () => {
    const [low, high] = [37 / 1, 37 / 4];
    const expected = plain(16).map((rate) => {
      const wavelength = (2 * Math.PI) / rate;
      if (wavelength < high) return rate;
      if (wavelength > low) return rate / 4;
      const smooth = (37 / wavelength - 1) / (4 - 1);
      return (1 - smooth) * (rate / 4) + smooth * rate;
    });
    close(of('llama3').inverseFrequencies, expected);
    const changes = expected.map((rate, i) => rate / plain(16)[i]!);
    expect(changes[0]).toBe(1);
    expect(changes.at(-1)).toBeCloseTo(0.25, 12);
    expect(changes.some((c) => c > 0.26 && c < 0.99)).toBe(true);
  });

  // Bounds are the pairs that make betaFast and betaSlow turns over the original length.
  it('yarn: a ramp from pairs that turn often to those that turn seldom, and a temperature', () => {
    const pair = (turns: number) => (16 * Math.log(37 / (turns * 2 * Math.PI))) / (2 * Math.log(10_000));
    const [first, last] = [Math.floor(pair(3)), Math.ceil(pair(1))].map((p) => Math.min(15, Math.max(0, p))) as [number, number];
    const expected = plain(16).map((rate, i) => {
      const ramp = Math.min(1, Math.max(0, (i - first) / (last - first)));
      return (rate / 4) * ramp + rate * (1 - ramp);
    });
    const { inverseFrequencies, scale } = of('yarn');
    close(inverseFrequencies, expected);
    expect(scale).toBeCloseTo(0.1 * Math.log(4) + 1, 12);
    expect(of('yarn', { attentionFactor: 0.5 }).scale).toBe(0.5);
    expect(of('yarn', { factor: 1 }).scale).toBe(1);
  });

  it('yarn without truncate: the ramp begins and ends between pairs', () => {
    const pair = (turns: number) => (16 * Math.log(97 / (turns * 2 * Math.PI))) / (2 * Math.log(10_000));
    const expected = plain(16).map((rate, i) => {
      const ramp = Math.min(1, Math.max(0, (i - Math.max(0, pair(3))) / (pair(1) - Math.max(0, pair(3)))));
      return (rate / 4) * ramp + rate * (1 - ramp);
    });
    const more = { originalMaxPositions: 97, truncate: false };
    close(of('yarn', more).inverseFrequencies, expected);
    expect(of('yarn', { ...more, truncate: true }).inverseFrequencies).not.toEqual(of('yarn', more).inverseFrequencies);
  });

  it('reaches the graph: inverseFrequencies and scale', () => {
    const given = two(11, 16);
    const config = { dim: 16, scaling: 'yarn', factor: 4, originalMaxPositions: 37, betaFast: 3 } as const;
    const { inverseFrequencies, scale } = of('yarn');
    expectClose(
      runBlock(rotary(config), given).outputs.q_rotated!,
      turned(given.q, inverseFrequencies, { scale: scale }),
      float32,
    );
  });
});

describe('scaling by the length of each sequence', () => {
  const given = two(11, 6);
  const lengths: NDArray = { dtype: 'int64', dims: [2], data: Float64Array.of(4, 11) };
  // The first sequence ends within 5 positions, the second does not.
  const halves = (short: readonly number[], long: readonly number[], scale = 1) => {
    const [a, b] = [turned(given.q, short, { scale }), turned(given.q, long, { scale })];
    const half = a.data.length / 2;
    return { ...a, data: Float64Array.from([...a.data.subarray(0, half), ...b.data.subarray(half)]) };
  };
  const of = (config: Config, feeds: object) =>
    runBlock(rotary(config), { ...given, ...feeds }, { assumptions: ['finite padding'] });

  it('dynamic: the base of longer sequences grows', () => {
    const config = { dim: 6, scaling: 'dynamic', factor: 3, originalMaxPositions: 5 } as const;
    const long = plain(6, 10_000 * ((3 * 11) / 5 - 2) ** (6 / 4));
    expectClose(of(config, {}).outputs.q_rotated!, turned(given.q, long), float32);
    expectClose(of(config, { lengths }).outputs.q_rotated!, halves(plain(6), long), float32);
  });

  it('longrope: longer sequences have other divisors', () => {
    const [shortFactor, longFactor] = [
      [1, 1.5, 2],
      [1, 3, 7],
    ];
    const config = { dim: 6, scaling: 'longrope', factor: 4, originalMaxPositions: 5, shortFactor, longFactor } as const;
    const by = (factors: readonly number[]) => plain(6).map((rate, i) => rate / factors[i]!);
    const scale = Math.sqrt(1 + Math.log(4) / Math.log(5));
    expectClose(of(config, {}).outputs.q_rotated!, turned(given.q, by(longFactor!), { scale }), float32);
    expectClose(of(config, { lengths }).outputs.q_rotated!, halves(by(shortFactor!), by(longFactor!), scale), float32);
    const steps: NDArray = {
      dtype: 'int64',
      dims: [2, 11],
      data: Float64Array.from({ length: 22 }, (_, i) => (i % 11 === 10 ? 4 : 0)),
    };
    const at = { at: steps, scale };
    expectClose(of(config, { position_ids: steps }).outputs.q_rotated!, turned(given.q, by(shortFactor!), at), float32);
    expect(() => rotary({ ...config, longFactor: [1, 2] })).toThrow(
      /rotary\.longFactor: .*requires a factor for each pair.*expected a list of rotaryDim \/ 2 = 3, got a list of 2/,
    );
    expect(() => rotary({ dim: 6, scaling: 'longrope', originalMaxPositions: 5 })).toThrow(/rotary\.shortFactor.*got nothing/);
    expect(() => rotary({ ...config, originalMaxPositions: 1 })).toThrow(/rotary\.originalMaxPositions: .* expected at least 2/);
  });
});
