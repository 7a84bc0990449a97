import { expect, test } from 'vitest';
import { apply } from '../ir/graph';
import { MatMulNBits } from '../kernels/mat-mul-n-bits';
import { checkOp } from '../testing';
import { lowRankUpdate } from './low-rank';
import { dequantizeBlocks } from './quantized';
import { GraphBuilder } from './vocabulary';

const packed = { dtype: 'uint8', dims: [3, 2, 8], low: 0, high: 255 } as const;
const scales = { dtype: 'float32', dims: [3, 2] } as const;
const zeros = { dtype: 'uint8', dims: [3, 1], low: 0, high: 255 } as const;
const options = { bits: 4, blockSize: 16, columns: 29 } as const;

test('codes count from 8 without zero points, low half first', () =>
  checkOp({
    name: 'dequantizeBlocks',
    inputs: [
      { dtype: 'uint8', dims: [1, 2, 8], values: [0x10, 0x8f, 0, 0, 0, 0, 0, 0, 0x79, 0, 0, 0, 0, 0, 0, 0] },
      { dtype: 'float32', dims: [1, 2], values: [0.5, -2] },
    ],
    build: (_, p, s) => dequantizeBlocks(p, s, undefined, { bits: 4, blockSize: 16, columns: 18 }),
    expected: [[-4, -3.5, 3.5, 0, ...Array(12).fill(-4), -2, 2]],
    differentiable: [1],
  }));

test('zero points are stored two to a byte', () => {
  checkOp({
    name: 'dequantizeBlocks with zero points',
    inputs: [packed, scales, zeros],
    build: (_, p, s, z) => dequantizeBlocks(p, s, z, options),
    differentiable: [1],
  });
  checkOp({
    name: 'dequantizeBlocks, known zero points',
    inputs: [
      { dtype: 'uint8', dims: [1, 2, 8], values: Array(16).fill(0x44) },
      { dtype: 'float32', dims: [1, 2], values: [1, 10] },
      { dtype: 'uint8', dims: [1, 1], values: [0x53] },
    ],
    build: (_, p, s, z) => dequantizeBlocks(p, s, z, { bits: 4, blockSize: 16, columns: 17 }),
    expected: [[...Array(16).fill(1), -10]],
    differentiable: [1],
  });
});

test('the kernel means the product with the unpacked weight', () =>
  checkOp({
    name: 'MatMulNBits',
    inputs: [{ dtype: 'float32', dims: ['batch', 29] }, packed, scales, zeros],
    build: (_, x, p, s, z) => apply(MatMulNBits, [x, p, s, z], { K: 29, N: 3, bits: 4, block_size: 16 })[0]!,
    differentiable: [0, 2],
  }));

test('an update of low rank', () =>
  checkOp({
    name: 'lowRankUpdate',
    inputs: [
      { dtype: 'float32', dims: [3, 2], values: [1, 2, 3, 4, 5, 6] },
      { dtype: 'float32', dims: [3, 1], values: [1, 0, -1] },
      { dtype: 'float32', dims: [1, 2], values: [10, 20] },
    ],
    build: (_, w, b, a) => lowRankUpdate(w, b, a, 0.5),
    expected: [[6, 12, 3, 4, 0, -4]],
  }));

test('operands that do not fit are named', () => {
  const g = new GraphBuilder();
  const [p, s] = [g.input('p', 'uint8', [3, 2, 8]), g.input('s', 'float32', [3, 4])];
  expect(() => dequantizeBlocks(p, s, undefined, options)).toThrow(
    'the scales do not fit; expected float32[3, 2], got float32[3, 4]',
  );
  expect(() => dequantizeBlocks(s, s, undefined, options)).toThrow(
    'the packed weights do not fit; expected uint8[3, 2, 8], got float32[3, 4]',
  );
  expect(() => lowRankUpdate(s, s, s, 1)).toThrow('the update does not fit the weight; expected [3, rank] and [rank, 4]');
});
