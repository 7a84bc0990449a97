import { ConfigError, type NDArray } from '@onnxformers/core';
import { expectClose, randomArray, runBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { axialRotary, multiSectionRotary, rotary, xpos } from './index';

const float32 = { atol: 5e-6, rtol: 1e-6 };
const two = (seq: number, dim: number) => ({ q: randomArray('q', [2, 3, seq, dim]), k: randomArray('k', [2, 1, seq, dim]) });

/** Each pair of channels, turned by an angle and multiplied by a factor for its sequence, position and pair. */
function turned(
  x: NDArray,
  angle: (b: number, t: number, i: number) => number,
  o: { interleaved?: boolean; factor?: (t: number, i: number) => number } = {},
): NDArray {
  const [, heads, seq, dim] = x.dims as [number, number, number, number];
  const data = x.data.slice();
  for (let r = 0; r < x.data.length / dim; r++)
    for (let i = 0; i < dim / 2; i++) {
      const [b, t] = [Math.floor(r / (heads * seq)), r % seq];
      const [first, second] = o.interleaved ? [2 * i, 2 * i + 1] : [i, i + dim / 2];
      const [u, v] = [x.data[r * dim + first]!, x.data[r * dim + second]!];
      const [a, f] = [angle(b, t, i), o.factor?.(t, i) ?? 1];
      data[r * dim + first] = f * (u * Math.cos(a) - v * Math.sin(a));
      data[r * dim + second] = f * (v * Math.cos(a) + u * Math.sin(a));
    }
  return { ...x, data };
}
const rate = (i: number, dim: number, theta = 10_000) => theta ** (-(2 * i) / dim);

describe('axial_rotary', () => {
  // Of 12 channels, pairs 0 to 2 turn with the row and 3 to 5 with the column, each as a rotary embedding of 6 channels.
  it.each([
    [{ dim: 12, grid: [3, 5] }, 15],
    [{ dim: 12, grid: [5, 2], theta: 100, interleaved: true, prefixTokens: 3 }, 13],
  ] as const)('%o turns by row and by column', (config, seq) => {
    const given = two(seq, 12);
    const {
      prefixTokens = 0,
      theta,
      interleaved = false,
    } = config as { prefixTokens?: number; theta?: number; interleaved?: boolean };
    const columns = config.grid[1];
    const angle = (_: number, t: number, i: number) => {
      const cell = t - prefixTokens;
      if (cell < 0) return 0;
      return (i < 3 ? Math.floor(cell / columns) : cell % columns) * rate(i % 3, 6, theta);
    };
    const { outputs } = runBlock(axialRotary(config), given);
    expectClose(outputs.q_rotated!, turned(given.q, angle, { interleaved }), float32);
    expectClose(outputs.k_rotated!, turned(given.k, angle, { interleaved }), float32);
  });

  it('makes scores depend on the offsets in both axes only', () => {
    const same = (x: NDArray): NDArray => ({ ...x, data: x.data.map((_, i) => x.data[i % x.dims[3]!]!) });
    const given = two(21, 8);
    const { outputs } = runBlock(axialRotary({ dim: 8, grid: [3, 7] }), { q: same(given.q), k: same(given.k) });
    const { q_rotated: q, k_rotated: k } = outputs;
    const score = (i: number, j: number) =>
      Array.from({ length: 8 }, (_, c) => q!.data[i * 8 + c]! * k!.data[j * 8 + c]!).reduce((a, b) => a + b);
    expect(score(2 * 7 + 5, 7 + 1)).toBeCloseTo(score(7 + 4, 0), 6);
    expect(score(2 * 7 + 5, 7 + 1)).not.toBeCloseTo(score(7 + 4, 1), 3);
  });

  it('refuses channels without quarters, and other positions than its cells', () => {
    expect(() => axialRotary({ dim: 6 })).toThrow(/axial_rotary\.dim: .*expected a multiple of 4, got 6/);
    expect(() => runBlock(axialRotary({ dim: 8, grid: [3, 5], prefixTokens: 1 }), two(15, 8))).toThrow(
      /axial_rotary\.grid: the positions are not prefixTokens and the cells of one image; expected 1 \+ 3 · 5 positions, got 15/,
    );
    expect(() => runBlock(axialRotary({ dim: 8 }), two(15, 8))).toThrow(/the rows and columns are not known/);
  });
});

describe('multi_section_rotary', () => {
  const at = (seq: number, packed = false): NDArray => ({
    dtype: 'int64',
    dims: packed ? [3, seq] : [3, 2, seq],
    data: Float64Array.from({ length: packed ? 3 * seq : 6 * seq }, (_, i) => (7 * i + 3) % 23),
  });

  // Sections as in Qwen2-VL and, in turn, as in Qwen3-VL.
  it.each([
    [{ dim: 16, sections: [4, 3, 1] }, [0, 0, 0, 0, 1, 1, 1, 2]],
    [{ dim: 16, sections: [4, 2, 2], sectionOrder: 'interleaved', interleaved: true, theta: 500 }, [0, 1, 2, 0, 1, 2, 0, 0]],
    [{ dim: 16 }, [0, 0, 1, 1, 1, 2, 2, 2]],
  ] as const)('%o turns each pair by its own position', (config, sections) => {
    const given = two(5, 16);
    const three = at(5);
    const { theta, interleaved = false } = config as { theta?: number; interleaved?: boolean };
    const angle = (b: number, t: number, i: number) => three.data[(sections[i]! * 2 + b) * 5 + t]! * rate(i, 16, theta);
    const { outputs } = runBlock(multiSectionRotary(config), { ...given, multimodal_position_ids: three });
    expectClose(outputs.q_rotated!, turned(given.q, angle, { interleaved }), { atol: 2e-5, rtol: 1e-6 });
    expectClose(outputs.k_rotated!, turned(given.k, angle, { interleaved }), { atol: 2e-5, rtol: 1e-6 });
  });

  it('is a rotary embedding for text', () => {
    const given = two(11, 6);
    expectClose(
      runBlock(multiSectionRotary({ dim: 6 }), given).outputs.q_rotated!,
      runBlock(rotary({ dim: 6 }), given).outputs.q_rotated!,
    );
  });

  it.each([
    [{ dim: 16, sections: [4, 3, 2] }, /multi_section_rotary\.sections: .*add up to dim \/ 2 = 8, got \[4, 3, 2\]/],
    [{ dim: 16, sections: [2, 3, 3], sectionOrder: 'interleaved' }, /in turn, got \[2, 3, 3\]/],
    [{ dim: 7 }, /dim \/ 2 = 3\.5/],
  ] as const)('refuses %o', (config, message) => {
    expect(() => multiSectionRotary(config)).toThrow(ConfigError);
    expect(() => multiSectionRotary(config)).toThrow(message);
  });

  it('refuses positions of other tokens', () => {
    expect(() => runBlock(multiSectionRotary({ dim: 6 }), { ...two(5, 6), multimodal_position_ids: at(4) })).toThrow(
      /multi_section_rotary\.input: .*expected int64\[3, 2, 5\], got \[3, 2, 4\]/,
    );
  });
});

describe('xpos', () => {
  it.each([{ dim: 6 }, { dim: 10, theta: 500, scaleBase: 7, gamma: 0.9, interleaved: true }])(
    '%o turns queries and keys, and multiplies them by inverse factors',
    (config) => {
      const { dim } = config;
      const { theta, scaleBase = 512, gamma = 0.4, interleaved = false } = config as Parameters<typeof xpos>[0];
      const given = two(11, dim);
      const angle = (_: number, t: number, i: number) => t * rate(i, dim, theta);
      const zeta = (t: number, i: number) => (((2 * i) / dim + gamma) / (1 + gamma)) ** (t / scaleBase);
      const { outputs } = runBlock(xpos(config), given);
      expectClose(outputs.q_rotated!, turned(given.q, angle, { interleaved, factor: zeta }), float32);
      expectClose(outputs.k_rotated!, turned(given.k, angle, { interleaved, factor: (t, i) => 1 / zeta(t, i) }), float32);
    },
  );

  it('refuses odd channels', () => {
    expect(() => xpos({ dim: 5 })).toThrow(/xpos\.dim: channels form pairs; expected an even number, got 5/);
  });
});
