// A linear map of each square of an image, as a convolution.
import { addDims, ConfigError, type Dim, init, type Module, module, mulDims, Parameter, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';

/** The squares and the width of the result. */
export interface SquaresOptions {
  readonly inChannels: number;
  readonly kernelSize: number;
  readonly stride: number;
  readonly padding: number;
  readonly dim: number;
  /** Default true. */
  readonly bias?: boolean;
}

/**
 * A linear map of each square: [batch, inChannels, height, width] → [batch, dim, rows, columns], with the parameters `weight` and, unless it is left out, `bias`.
 *
 * Throws   ConfigError for a padding of a whole square; the runner refuses an image smaller than a square
 */
export function squares(
  { inChannels, kernelSize, stride, padding, dim, bias: biased = true }: SquaresOptions,
  path: string,
): Module<(image: Value) => Value> {
  if (padding >= kernelSize)
    throw new ConfigError({
      path: `${path}.padding`,
      problem: 'patches at the edge would contain nothing of the image',
      expected: `less than kernelSize = ${kernelSize}`,
      got: String(padding),
    });
  const fan = inChannels * kernelSize * kernelSize;
  const options = { role: 'convolution' } as const;
  const weight = new Parameter([dim, inChannels, kernelSize, kernelSize], init.fanIn(fan), { ...options, part: 'weight' });
  const bias = biased ? new Parameter([dim], init.fanIn(fan), { ...options, part: 'bias' }) : undefined;
  return module({ weight, bias }, (image: Value) => {
    for (const size of image.dims.slice(2))
      image.graph.root.limit({
        size: addDims(size, 2 * padding),
        min: kernelSize,
        problem: 'an image smaller than a patch',
        by: `${path}.kernelSize`,
      });
    return ops.conv(image, weight, bias, { strides: [stride, stride], pads: [padding, padding, padding, padding] });
  });
}

/** An image as rows: [batch, dim, rows, columns] → [batch, rows · columns, dim], and its grid. */
export function asRows(image: Value): { readonly y: Value; readonly grid: readonly [Dim, Dim] } {
  const [batch, dim, rows, columns] = image.dims as [Dim, Dim, Dim, Dim];
  const y = ops.transpose(ops.reshape(image, [batch, dim, mulDims(rows, columns)]), [0, 2, 1]);
  return { y, grid: [rows, columns] };
}
