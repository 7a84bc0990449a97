// A linear map of each square of an image, as a convolution.
import {
  addDims,
  ConfigError,
  ceilDivDims,
  type Dim,
  init,
  type Module,
  module,
  mulDims,
  Parameter,
  subDims,
  type Value,
} from '@onnxformers/core';
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
  /** Squares beyond the right and lower edge are filled with zeros; default false: they are left out. */
  readonly fillEdge?: boolean;
}

/**
 * A linear map of each square: [batch, inChannels, height, width] → [batch, dim, rows, columns], with the parameters `weight` and, unless it is left out, `bias`.
 *
 * Throws   ConfigError for a padding of a whole square; the runner refuses an image smaller than a square
 */
export function squares(
  { inChannels, kernelSize, stride, padding, dim, bias: biased = true, fillEdge = false }: SquaresOptions,
  path: string,
): Module<(image: Value) => Value> {
  if (padding >= kernelSize)
    throw new ConfigError({
      path: `${path}.padding`,
      problem: 'patches at the edge would contain nothing of the image',
      expected: `less than kernelSize = ${kernelSize}`,
      got: String(padding),
    });
  if (fillEdge && (padding || stride !== kernelSize))
    throw new ConfigError({
      path: `${path}.fillEdge`,
      problem: 'an edge is filled up to whole squares that lie side by side',
      expected: 'padding: 0 and stride = kernelSize',
      got: `padding: ${padding}, stride: ${stride}`,
    });
  const fan = inChannels * kernelSize * kernelSize;
  const options = { role: 'convolution' } as const;
  const weight = new Parameter([dim, inChannels, kernelSize, kernelSize], init.fanIn(fan), { ...options, part: 'weight' });
  const bias = biased ? new Parameter([dim], init.fanIn(fan), { ...options, part: 'bias' }) : undefined;
  return module({ weight, bias }, (image: Value) => {
    for (const size of image.dims.slice(2))
      image.graph.root.limit({
        size: addDims(size, 2 * padding),
        min: fillEdge ? 1 : kernelSize,
        problem: 'an image smaller than a patch',
        by: `${path}.kernelSize`,
      });
    const whole = fillEdge ? filled(image, kernelSize) : image;
    return ops.conv(whole, weight, bias, { strides: [stride, stride], pads: [padding, padding, padding, padding] });
  });
}

/** An image [batch, channels, rows, columns] with zeros on the right and below, up to a multiple of `side`. */
export function filled(image: Value, side: number): Value {
  const sizes = image.dims.slice(2);
  const after = sizes.map((size) => subDims(mulDims(ceilDivDims(size, side), side), size));
  return after.every((more) => more === 0) ? image : image.graph.ops.pad(image, { axes: [2, 3], before: [0, 0], after });
}

/** An image as rows: [batch, dim, rows, columns] → [batch, rows · columns, dim], and its grid. */
export function asRows(image: Value): { readonly y: Value; readonly grid: readonly [Dim, Dim] } {
  const [batch, dim, rows, columns] = image.dims as [Dim, Dim, Dim, Dim];
  const y = ops.transpose(ops.reshape(image, [batch, dim, mulDims(rows, columns)]), [0, 2, 1]);
  return { y, grid: [rows, columns] };
}
