import { defineBlock, int, type NDArray, type SequenceContext, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { expectClose, randomArray, runBlock, traceBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { fourierMix } from './fourier-mix';

/** Σ_s Σ_j x[s, j] cos(2π (s t / seq + j c / width)), the real part of the transform of real numbers. */
function realTransform(x: NDArray, heads: number): NDArray {
  const [, seq, dim] = x.dims as [number, number, number];
  const width = dim / heads;
  const at = (b: number, s: number, c: number) => x.data[(b * seq + s) * dim + c]!;
  const data = Float64Array.from({ length: x.data.length }, (_, i) => {
    const [b, t, c] = [Math.floor(i / (seq * dim)), Math.floor(i / dim) % seq, i % dim];
    const first = Math.floor(c / width) * width;
    let sum = 0;
    for (let s = 0; s < seq; s++)
      for (let j = 0; j < width; j++)
        sum += at(b, s, first + j) * Math.cos(2 * Math.PI * ((s * t) / seq + (j * (c - first)) / width));
    return sum;
  });
  return { ...x, data };
}

describe('fourier_mix', () => {
  it.each([{ dim: 7 }, { dim: 10, heads: 5 }])('agrees with plain loops: %o', (config) => {
    const x = randomArray('x', [2, 11, config.dim]);
    expectClose(runBlock(fourierMix(config), { x }).outputs.y!, realTransform(x, config.heads ?? 1));
  });

  it('has an optional linear map after the transform', () => {
    const x = randomArray('x', [1, 3, 4]);
    const { outputs, parameters: p } = runBlock(fourierMix({ dim: 4, outputProjection: true }), { x });
    const mixed = realTransform(x, 1).data;
    const [weight, bias] = [p['o_proj.weight']!.data, p['o_proj.bias']!.data];
    const data = Float64Array.from({ length: 12 }, (_, i) => {
      const [t, o] = [Math.floor(i / 4), i % 4];
      return [0, 1, 2, 3].reduce((sum, c) => sum + weight[o * 4 + c]! * mixed[t * 4 + c]!, bias[o]!);
    });
    expectClose(outputs.y!, { ...x, data });
    expect(Object.keys(runBlock(fourierMix({ dim: 4, outputProjection: true, bias: false }), { x }).parameters)).toEqual([
      'o_proj.weight',
    ]);
  });

  it('rotates the input by its positions first, with a rotary embedding', () => {
    const x = randomArray('x', [2, 11, 12]);
    const quarter = (row: number, c: number) => {
      // Channels of a head in pairs [x1, x2]: position t turns them by t quarter turns.
      const [head, at] = [Math.floor(c / 6), c % 6];
      const [turns, other] = [row % 4, (at + 3) % 6];
      const [cos, sin] = [[1, 0, -1, 0][turns]!, [0, 1, 0, -1][turns]!];
      return (b: number) => {
        const value = (channel: number) => x.data[(b * 11 + row) * 12 + head * 6 + channel]!;
        return value(at) * cos + (at < 3 ? -1 : 1) * value(other) * sin;
      };
    };
    const data = x.data.map((_, i) => quarter(Math.floor(i / 12) % 11, i % 12)(Math.floor(i / 132)));
    const quarterTurns = defineBlock({
      kind: 'rotaryEmbedding',
      name: 'quarter_turns',
      summary: 'Turns by a quarter for each position.',
      fields: { dim: int({ doc: 'channels', min: 1, inherit: true }) },
      examples: [{ dim: 6 }],
      create: ({ dim }) => {
        expect(dim).toBe(6);
        const turn = (rows: Value, { positions }: SequenceContext) => {
          const angles = ops.mul(ops.unsqueeze(ops.cast(positions, 'float32'), [1, 3]), Math.PI / 2);
          const [x1, x2] = [0, 3].map((from) => ops.slice(rows, { axes: [3], starts: [from], ends: [from + 3] })) as [
            Value,
            Value,
          ];
          return ops.add(ops.mul(rows, ops.cos(angles)), ops.mul(ops.concat([ops.neg(x2), x1], 3), ops.sin(angles)));
        };
        return (q: Value, k: Value, ctx: SequenceContext) => [turn(q, ctx), turn(k, ctx)] as const;
      },
    });
    const block = fourierMix({ dim: 12, heads: 2, rotaryEmbedding: quarterTurns({ dim: 6 }) });
    // The angle is rounded to float32.
    expectClose(runBlock(block, { x }).outputs.y!, realTransform({ ...x, data }, 2), { atol: 1e-4, rtol: 1e-4 });
  });

  it("passes masks over with compat: 'xformers'", () => {
    const x = randomArray('x', [1, 5, 7]);
    const lengths = { dtype: 'int64', dims: [1], data: Float64Array.of(3) } as const;
    const block = fourierMix({ dim: 7, compat: 'xformers' });
    expectClose(runBlock(block, { x, lengths }, { assumptions: ['finite padding'] }).outputs.y!, realTransform(x, 1));
  });

  it('refuses masks and heads that do not divide the channels', () => {
    expect(() => fourierMix({ dim: 7, heads: 2 })).toThrow(/fourier_mix\.heads: .*expected a divisor of dim = 7, got 2/);
    const inputs = { x: ['float32', ['batch', 'seq', 7]], lengths: ['int64', ['batch']] } as const;
    expect(() => traceBlock(fourierMix({ dim: 7 }), inputs)).toThrow(/does not support the mask: lengths/);
    expect(() =>
      traceBlock(fourierMix({ dim: 7 }), { x: ['float32', ['tokens', 7]], lengths: ['int64', ['batch']] }, { layout: 'packed' }),
    ).toThrow(/does not support the mask: documents/);
  });
});
