// 4-bit weights (quantization): blocks of codes with one scale for each block.
import { checkArguments } from '../arguments';
import { ConfigError } from '../error';
import type { Parametrization } from '../module/reparametrize';
import { dequantizeBlocks } from '../ops/quantized';
import { unset } from '../parameter/init';
import { Parameter } from '../parameter/parameter';
import { castTensor, tensor, toArray } from '../tensor/convert';
import { isFloat, type Tensor } from '../tensor/tensor';
import { matrixDims } from './lora';

/** Options of {@link int4Blocks} and {@link quantizeInt4}. */
export interface Int4Options {
  /** Number of columns that share a scale: a power of two of at least 16. */
  readonly blockSize: number;
  /** True: each block has its own zero point. Absent: the zero point is 8. */
  readonly zeroPoints?: boolean;
}

const names = { codes: 'weight_codes', scales: 'weight_scales', zeros: 'weight_zeros' } as const;

/**
 * For `reparametrize`: a matrix from 4-bit codes. The parameters are `weight_codes` uint8 [out, blocks, blockSize / 2], `weight_scales`
 * [out, blocks] and, if requested, `weight_zeros` uint8 [out, ⌈blocks / 2⌉]; {@link quantizeInt4} computes their values from a weight.
 *
 * Throws   ConfigError for a parameter that is not a matrix, or a wrong block size
 *
 * Example  const small = reparametrize(block, (path, p) => (p.dims.length === 2 && p.options.role === 'hidden' ? int4Blocks(p, { blockSize: 32 }) : undefined));
 */
export function int4Blocks(parameter: Parameter, o: Int4Options): Parametrization {
  checkArguments('int4Blocks', { parameter, options: o });
  const { blockSize, zeroPoints = false } = o;
  const [out, columns] = matrixDims('int4Blocks', parameter);
  const blocks = blocksOf(columns, blockSize);
  const { role } = parameter.options;
  const options = { ...(role !== undefined && { role }), part: 'other', trainable: false } as const;
  const codes = new Parameter([out, blocks, blockSize / 2], unset, { ...options, dtype: 'uint8' });
  const scales = new Parameter([out, blocks], unset, options);
  const zeros = zeroPoints ? new Parameter([out, Math.ceil(blocks / 2)], unset, { ...options, dtype: 'uint8' }) : undefined;
  return {
    parameters: { [names.codes]: codes, [names.scales]: scales, ...(zeros && { [names.zeros]: zeros }) },
    replaces: true,
    value: (_, g) => dequantizeBlocks(g.param(codes), g.param(scales), zeros && g.param(zeros), { blockSize, columns }),
  };
}

/**
 * The values of {@link int4Blocks}'s parameters, by their names, from a weight [out, in]. The scales have its dtype. Without zero points the
 * element of a block with the largest magnitude is represented exactly; with them the block's range (including 0) is divided into 15 steps.
 *
 * Throws   ConfigError for a tensor that is not a matrix of floats, or a wrong block size
 */
export function quantizeInt4(weight: Tensor, o: Int4Options): Record<string, Tensor> {
  checkArguments('quantizeInt4', { tensor: weight, options: o });
  const { blockSize, zeroPoints = false } = o;
  const [out, columns] = weight.dims;
  if (weight.dims.length !== 2 || out === undefined || columns === undefined || !isFloat(weight.dtype))
    throw new ConfigError({
      path: 'quantizeInt4',
      problem: 'not a weight',
      expected: 'floats [out, in]',
      got: `${weight.dtype}[${weight.dims.join(', ')}]`,
    });
  const blocks = blocksOf(columns, blockSize);
  const values = toArray(weight).data;
  const codes = new Uint8Array((out * blocks * blockSize) / 2);
  const scales = new Float64Array(out * blocks);
  const perRow = Math.ceil(blocks / 2);
  const zeros = new Uint8Array(out * perRow);
  const rounded = (x: number): number => toArray(castTensor(tensor('float64', [], [x]), weight.dtype)).data[0]!;
  for (let row = 0; row < out; row++)
    for (let block = 0; block < blocks; block++) {
      const from = row * columns + block * blockSize;
      const part = values.subarray(from, Math.min(from + blockSize, (row + 1) * columns));
      const { scale, zero } = zeroPoints ? ranged(part, rounded) : centred(part, rounded);
      const place = row * blocks + block;
      scales[place] = scale;
      zeros[row * perRow + (block >> 1)]! |= zero << (4 * (block & 1));
      for (let i = 0; i < blockSize; i++) {
        const code = i < part.length ? codeOf(part[i]!, scale, zero) : zero;
        codes[(place * blockSize + i) >> 1]! |= code << (4 * (i & 1));
      }
    }
  return {
    [names.codes]: { dtype: 'uint8', dims: [out, blocks, blockSize / 2], data: codes },
    [names.scales]: tensor(weight.dtype, [out, blocks], scales),
    ...(zeroPoints && { [names.zeros]: { dtype: 'uint8', dims: [out, perRow], data: zeros } satisfies Tensor }),
  };
}

interface Steps {
  readonly scale: number;
  readonly zero: number;
}

const codeOf = (x: number, scale: number, zero: number): number => {
  const code = scale === 0 ? zero : Math.round(x / scale) + zero;
  return Math.min(15, Math.max(0, code));
};

// Codes 0 to 15 represent −8 to 7 steps; the element of the largest magnitude is 8 steps from 0, and its sign is that of the step.
function centred(part: Float64Array, rounded: (x: number) => number): Steps {
  const furthest = part.reduce((a, x) => (Math.abs(x) > Math.abs(a) ? x : a), 0);
  return { scale: rounded(furthest / -8), zero: 8 };
}

function ranged(part: Float64Array, rounded: (x: number) => number): Steps {
  const [low, high] = part.reduce(([a, b], x) => [Math.min(a!, x), Math.max(b!, x)], [0, 0]) as [number, number];
  const scale = rounded((high - low) / 15);
  return { scale, zero: scale === 0 ? 8 : codeOf(-low, scale, 0) };
}

function blocksOf(columns: number, blockSize: number): number {
  if (!Number.isInteger(Math.log2(blockSize)) || blockSize < 16)
    throw new ConfigError({
      path: 'blockSize',
      problem: 'not a block size',
      expected: 'a power of two of at least 16',
      got: String(blockSize),
    });
  return Math.ceil(columns / blockSize);
}
