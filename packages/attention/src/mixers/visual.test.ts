import type { NDArray } from '@onnxformers/core';
import { expectClose, randomArray, runBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { visual } from './visual';

type Image = number[][][];
type Weights = Readonly<Record<string, NDArray>>;
const [height, width, dim] = [5, 7, 3];

const pointwise = (x: Image, { weight: w, bias }: Weights): Image =>
  x.map((row) =>
    row.map((cell) => [...bias!.data].map((b, o) => cell.reduce((sum, v, i) => sum + w!.data[o * dim + i]! * v, b))),
  );
const depthwise = (x: Image, { weight, bias }: Weights, size: number, dilation: number): Image => {
  const half = (size - 1) / 2;
  return x.map((row, r) =>
    row.map((cell, c) =>
      cell.map((_, channel) => {
        let sum = bias!.data[channel]!;
        for (let y = 0; y < size; y++)
          for (let z = 0; z < size; z++) {
            const v = x[r + dilation * (y - half)]?.[c + dilation * (z - half)]?.[channel] ?? 0;
            sum += weight!.data[(channel * size + y) * size + z]! * v;
          }
        return sum;
      }),
    ),
  );
};
// The error function by its series, exact enough for small arguments.
const erf = (x: number): number => {
  let [term, sum] = [x, x];
  for (let n = 1; n < 80; n++) {
    term *= (-x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
};
const gelu = (x: number): number => (x / 2) * (1 + erf(x / Math.SQRT2));

describe('visual', () => {
  it('is what plain loops give', () => {
    const x = randomArray('x', [2, height * width, dim]);
    const { outputs, parameters } = runBlock(visual({ dim, grid: [height, width] }), { x });
    const of = (name: string): Weights => ({ weight: parameters[`${name}.weight`]!, bias: parameters[`${name}.bias`]! });
    const block = (image: Image): Image => {
      const h = pointwise(image, of('proj_1')).map((row) => row.map((cell) => cell.map(gelu)));
      const near = depthwise(h, of('spatial_gating_unit.conv0'), 5, 1);
      const far = depthwise(near, of('spatial_gating_unit.conv_spatial'), 7, 3);
      const attention = pointwise(far, of('spatial_gating_unit.conv1'));
      const gated = h.map((row, r) => row.map((cell, c) => cell.map((v, i) => v * attention[r]![c]![i]!)));
      return pointwise(gated, of('proj_2')).map((row, r) => row.map((cell, c) => cell.map((v, i) => v + image[r]![c]![i]!)));
    };
    const data = [0, 1].flatMap((b) => {
      const cell = (r: number, c: number) =>
        Array.from({ length: dim }, (_, i) => x.data[((b * height + r) * width + c) * dim + i]!);
      return block(Array.from({ length: height }, (_, r) => Array.from({ length: width }, (_, c) => cell(r, c)))).flat(2);
    });
    expectClose(outputs.y!, { ...x, data: Float64Array.from(data) });
  });

  it('refuses positions that do not fill its grid', () => {
    expect(() => runBlock(visual({ dim, grid: [2, 3] }), { x: randomArray('x', [2, 7, dim]) })).toThrow(
      /the positions do not fill the grid/,
    );
  });
});
