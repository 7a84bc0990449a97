import { expectClose, randomArray, runBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { pooling } from './pooling';

describe('pooling', () => {
  it.each([
    [3, [3, 7]],
    [5, [5, 2]],
    [1, [2, 3]],
  ] as const)('with %i rows of neighbours in %o cells is what plain loops give', (poolSize, [height, width]) => {
    const [batch, dim] = [2, 5];
    const x = randomArray('x', [batch, height * width, dim]);
    const half = (poolSize - 1) / 2;
    const at = (b: number, r: number, c: number, channel: number) => x.data[((b * height + r) * width + c) * dim + channel]!;
    const data = x.data.map((own, i) => {
      const [cell, channel] = [Math.floor(i / dim), i % dim];
      const [b, r, c] = [Math.floor(cell / (height * width)), Math.floor(cell / width) % height, cell % width];
      let [sum, count] = [0, 0];
      for (let y = Math.max(0, r - half); y <= Math.min(height - 1, r + half); y++)
        for (let z = Math.max(0, c - half); z <= Math.min(width - 1, c + half); z++) {
          sum += at(b, y, z, channel);
          count++;
        }
      return sum / count - own;
    });
    expectClose(runBlock(pooling({ dim, poolSize, grid: [height, width] }), { x }).outputs.y!, { ...x, data });
  });

  it('reads a square row by row', () => {
    const x = randomArray('x', [2, 25, 3]);
    const y = (grid?: [number, number]) => runBlock(pooling({ dim: 3, ...(grid && { grid }) }), { x }).outputs.y!;
    expectClose(y(), y([5, 5]));
  });

  it('refuses an even size, and positions that are not an image', () => {
    expect(() => pooling({ dim: 3, poolSize: 2 })).toThrow(
      /poolSize: an even square of neighbours has no centre; expected an odd number, got 2/,
    );
    expect(() => runBlock(pooling({ dim: 3 }), { x: randomArray('x', [2, 13, 3]) })).toThrow(
      /rows and columns of the positions are not known/,
    );
  });
});
