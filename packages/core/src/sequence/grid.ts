// Positions as the cells of an image.

import { type Dim, mulDims } from '../dim/dim';
import { ShapeError } from '../error';
import { anObject, given } from '../given';
import type { Value } from '../ir/graph';
import type { SequenceContext } from './context';

/** Options of {@link asImage}. */
export interface GridOptions {
  /** [rows, columns], if they do not follow from the context. */
  readonly grid?: readonly number[] | undefined;
  /** The option that sets the grid, for errors. */
  readonly path: string;
}

/**
 * Positions as the cells of an image, row by row. Rows and columns are those of the option, otherwise of the patch embedding before the layers
 * (`ctx.grid`), otherwise those of a square, if the number of positions is known.
 *
 * Shapes   x [batch, rows · columns, dim] → [batch, rows, columns, dim]
 * Throws   ShapeError for a packed batch, and where rows and columns are not known or do not fit the number of positions
 * Lowers   everywhere: Reshape
 * Example  const image = asImage(x, ctx, { grid: [7, 5], path: 'mixer.grid' });
 */
export function asImage(x: Value, ctx: Pick<SequenceContext, 'grid' | 'layout'>, options: GridOptions): Value {
  given('asImage', { x, ctx, options }, { ctx: anObject, options: anObject });
  const { grid, path } = options;
  if (ctx.layout.kind === 'packed' || x.rank !== 3)
    throw new ShapeError({
      path,
      problem: 'packed positions are not the cells of one image',
      expected: '[batch, positions, channels]',
      got: `[${x.dims.join(', ')}]`,
    });
  const [batch, seq, dim] = x.dims as [Dim, Dim, Dim];
  const cells = (grid as readonly [number, number] | undefined) ?? ctx.grid ?? squareOf(seq);
  if (cells && mulDims(...cells) === seq) return x.graph.ops.reshape(x, [batch, ...cells, dim]);
  throw new ShapeError({
    path,
    problem: cells ? 'the positions do not fill the grid' : 'the rows and columns of the positions are not known',
    expected: cells
      ? `${cells.join(' · ')} positions`
      : 'a grid, a patch embedding before the layers, or a square number of positions',
    got: `${seq} positions`,
    hint: cells ? 'A class token is not a cell' : 'Set grid: [rows, columns], and compile with that number of positions',
  });
}

function squareOf(seq: Dim): readonly [number, number] | undefined {
  if (typeof seq !== 'number') return undefined;
  const side = Math.round(Math.sqrt(seq));
  return side * side === seq ? [side, side] : undefined;
}
