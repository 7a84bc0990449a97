// Weights as blocks of integers (quantization): codes of 4 or 8 bits, with one scale for each block.
import { checkArguments } from '../arguments';
import { ConfigError, checkOptions, describe } from '../error';
import type { Parametrization } from '../module/reparametrize';
import { type AccuracyLevel, type CodeBits, dequantizeBlocks, middleOf } from '../ops/quantized';
import { unset } from '../parameter/init';
import { Parameter } from '../parameter/parameter';
import { castTensor, tensor, toArray } from '../tensor/convert';
import { type DType, isFloat, type Tensor, type TensorData } from '../tensor/tensor';
import { matrixDims } from './lora';

/** How {@link quantizedBlocks} and {@link quantizeBlocks} store a matrix. */
export interface BlockFormat {
  /** Bits of a code. */
  readonly bits: CodeBits;
  /** Number of columns that share a scale: a power of two of at least 16. */
  readonly blockSize: number;
  /** True: each block has its own zero point. Absent: the zero point is 8, or 128 of 8 bits. */
  readonly zeroPoints?: boolean;
  /**
   * In what a kernel may compute products: absent or 0 in the dtype of the activations; 4 allows int8, which rounds the activations and is faster on some
   * CPUs.
   */
  readonly accuracyLevel?: AccuracyLevel;
}

const names = { codes: 'weight_codes', scales: 'weight_scales', zeros: 'weight_zeros' } as const;

/**
 * For `reparametrize`: a matrix from codes. The parameters are `weight_codes` uint8 [out, blocks, blockSize · bits / 8], `weight_scales` [out, blocks]
 * and, if requested, `weight_zeros` uint8 [out, ⌈blocks · bits / 8⌉]; {@link quantizeBlocks} computes their values from a weight.
 *
 * Throws   ConfigError for a parameter that is not a matrix, or a wrong format
 *
 * Example  const small = reparametrize(block, (path, p) => (p.dims.length === 2 && p.options.role === 'hidden' ? quantizedBlocks(p, { bits: 4, blockSize: 32 }) : undefined));
 */
export function quantizedBlocks(parameter: Parameter, format: BlockFormat): Parametrization {
  checkArguments('quantizedBlocks', { parameter });
  checkFormat('quantizedBlocks', format);
  const { bits, blockSize, zeroPoints = false, accuracyLevel = 0 } = format;
  const [out, columns] = matrixDims('quantizedBlocks', parameter);
  const blocks = Math.ceil(columns / blockSize);
  const { role } = parameter.options;
  const options = { ...(role !== undefined && { role }), part: 'other', trainable: false } as const;
  const bytes = { ...options, dtype: 'uint8' } as const;
  const codes = new Parameter([out, blocks, (blockSize * bits) / 8], unset, bytes);
  const scales = new Parameter([out, blocks], unset, options);
  const zeros = zeroPoints ? new Parameter([out, Math.ceil((blocks * bits) / 8)], unset, bytes) : undefined;
  return {
    parameters: { [names.codes]: codes, [names.scales]: scales, ...(zeros && { [names.zeros]: zeros }) },
    replaces: true,
    value: (_, g) =>
      dequantizeBlocks(g.param(codes), g.param(scales), zeros && g.param(zeros), { bits, blockSize, columns, accuracyLevel }),
  };
}

/** Throws   ConfigError for a format with another option, number of bits, block size or accuracy level */
export function checkFormat(path: string, format: BlockFormat): void {
  checkOptions(path, format, { bits: true, blockSize: true, zeroPoints: true, accuracyLevel: true });
  const { bits, blockSize, zeroPoints, accuracyLevel = 0 } = format;
  const wrong = (option: keyof BlockFormat, problem: string, expected: string): never => {
    throw new ConfigError({ path: `${path}.${option}`, problem, expected, got: describe(format[option]) });
  };
  if (bits !== 4 && bits !== 8) wrong('bits', 'not a number of bits', '4 or 8');
  if (typeof blockSize !== 'number' || !Number.isInteger(Math.log2(blockSize)) || blockSize < 16)
    wrong('blockSize', 'not a block size', 'a power of two of at least 16');
  if (zeroPoints !== undefined && typeof zeroPoints !== 'boolean') wrong('zeroPoints', 'wrong value', 'true or false');
  if (![0, 1, 2, 3, 4].includes(accuracyLevel)) wrong('accuracyLevel', 'not an accuracy level', '0, 1, 2, 3 or 4');
}

/** Elements that are converted to float64 at a time. */
const atOnce = 1 << 18;

/**
 * The values of {@link quantizedBlocks}' parameters, by their names, from a weight [out, in]. The scales have its dtype, or the one given. Without zero points
 * the element of a block with the largest magnitude is represented exactly; with them the block's range (including 0) is divided into 2^bits − 1 steps.
 *
 * Throws   ConfigError for a tensor that is not a matrix of finite floats, or a wrong format
 */
export function quantizeBlocks(weight: Tensor, format: BlockFormat, dtype?: DType): Record<string, Tensor> {
  checkArguments('quantizeBlocks', { tensor: weight, 'dtype?': dtype });
  const scaleDtype = dtype ?? weight.dtype;
  checkFormat('quantizeBlocks', format);
  const { bits, blockSize, zeroPoints = false } = format;
  const [out, columns] = weight.dims;
  if (weight.dims.length !== 2 || out === undefined || columns === undefined || !isFloat(weight.dtype))
    throw notAWeight(`${weight.dtype}[${weight.dims.join(', ')}]`);
  const blocks = Math.ceil(columns / blockSize);
  const bytesPerBlock = (blockSize * bits) / 8;
  const perRow = Math.ceil((blocks * bits) / 8);
  const codes = new Uint8Array(out * blocks * bytesPerBlock);
  const zeros = new Uint8Array(out * perRow);
  const scales = castTensor(
    { dtype: 'float32', dims: [out, blocks], data: new Float32Array(out * blocks) },
    scaleDtype ?? weight.dtype,
  );
  const step = Math.max(1, Math.floor(atOnce / Math.max(1, columns)));
  const middle = middleOf(bits);
  const most = 2 ** bits - 1;
  for (let from = 0; from < out; from += step) {
    const count = Math.min(step, out - from);
    const some = rowsOf(weight, from, count);
    const steps = stepsOf(some, count, columns, format);
    // Codes are chosen for the scale as it is stored.
    const stored = castTensor(tensor('float64', [steps.length], steps), scaleDtype);
    (scales.data as Uint8Array).set(stored.data as Uint8Array, from * blocks);
    const rounded = toArray(stored).data;
    for (let row = 0, block = 0; row < count; row++)
      for (let b = 0; b < blocks; b++, block++) {
        const start = row * columns + b * blockSize;
        const end = Math.min(start + blockSize, (row + 1) * columns);
        const scale = rounded[block]!;
        if (!Number.isFinite(scale)) throw notAWeight(`values that ${scaleDtype} scales cannot represent, in row ${from + row}`);
        const zero = zeroPoints && scale !== 0 ? clamped(-leastOf(some, start, end) / scale, bits) : middle;
        if (zeroPoints) put(zeros, (from + row) * perRow, b, zero, bits);
        const place = ((from + row) * blocks + b) * bytesPerBlock;
        for (let i = 0; i < blockSize; i++) {
          const exact = start + i < end && scale !== 0 ? some[start + i]! / scale + zero : zero;
          const code = (Math.min(Math.max(exact, 0), most) + 0.5) | 0;
          if (bits === 8) codes[place + i] = code;
          else codes[place + (i >> 1)]! |= code << (4 * (i & 1));
        }
      }
  }
  return {
    [names.codes]: { dtype: 'uint8', dims: [out, blocks, bytesPerBlock], data: codes },
    [names.scales]: scales,
    ...(zeroPoints && { [names.zeros]: { dtype: 'uint8', dims: [out, perRow], data: zeros } satisfies Tensor }),
  };
}

const notAWeight = (got: string): ConfigError =>
  new ConfigError({ path: 'quantizeBlocks', problem: 'not a weight', expected: 'finite floats [out, in]', got });

/** Rows of a matrix in float64. */
function rowsOf({ dtype, dims, data }: Tensor, from: number, count: number): Float64Array {
  const columns = dims[1]!;
  const part = data.subarray(from * columns, (from + count) * columns) as TensorData;
  return toArray({ dtype, dims: [count, columns], data: part }).data;
}

/** The step of each block: codes are steps from the zero point. */
function stepsOf(
  some: Float64Array,
  rows: number,
  columns: number,
  { bits, blockSize, zeroPoints = false }: BlockFormat,
): Float64Array {
  const blocks = Math.ceil(columns / blockSize);
  const steps = new Float64Array(rows * blocks);
  for (let row = 0, block = 0; row < rows; row++)
    for (let b = 0; b < blocks; b++, block++) {
      const start = row * columns + b * blockSize;
      const end = Math.min(start + blockSize, (row + 1) * columns);
      let [low, high] = [0, 0];
      for (let i = start; i < end; i++) {
        const x = some[i]!;
        if (x < low) low = x;
        else if (x > high) high = x;
        else if (Number.isNaN(x)) low = Number.NaN; // makes the scale NaN, which is refused
      }
      // Codes represent −2^(bits − 1) to 2^(bits − 1) − 1 steps. The element furthest from 0 is −2^(bits − 1) steps, and its sign is that of the step.
      steps[block] = zeroPoints ? (high - low) / (2 ** bits - 1) : -(-low > high ? low : high) / middleOf(bits);
      if (Number.isNaN(low)) steps[block] = Number.NaN;
    }
  return steps;
}

function leastOf(some: Float64Array, start: number, end: number): number {
  let least = 0;
  for (let i = start; i < end; i++) if (some[i]! < least) least = some[i]!;
  return least;
}

const clamped = (x: number, bits: CodeBits): number => Math.min(2 ** bits - 1, Math.max(0, Math.round(x)));

/** Writes the code of an element: of 4 bits, two to a byte, low half first. */
function put(bytes: Uint8Array, from: number, i: number, code: number, bits: CodeBits): void {
  if (bits === 8) bytes[from + i] = code;
  else bytes[from + (i >> 1)]! |= code << (4 * (i & 1));
}
