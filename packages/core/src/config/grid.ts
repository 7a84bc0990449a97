// Blocks whose positions are the cells of an image: their option, and their inputs.
import type { AnyModule } from '../module/module';
import { int, list } from './fields';

/**
 * The field `grid` of a block that reads its positions as an image: see {@link asImage}.
 *
 * Example  const fields = { grid: gridField() };
 */
export const gridField = () =>
  list(int({ doc: 'rows or columns', unit: 'positions', min: 1 }), {
    doc: '[rows, columns] of the image, if no patch embedding sets them and it is not a square',
    length: 2,
    optional: true,
  });

/** Rows · columns of a block's option `grid`; without it a size of the run. */
export function cellsOf({ about: { config } }: AnyModule): number | 'seq' {
  const grid = config!.grid as readonly [number, number] | undefined;
  return grid ? grid[0] * grid[1] : 'seq';
}

/**
 * The inputs of a block with the field of {@link gridField} that is compiled alone: x [batch, rows · columns, dim].
 *
 * Example  const { x: image } = imageInputs(block);
 */
export const imageInputs = (m: AnyModule) =>
  ({ x: { dtype: 'float32', dims: ['batch', cellsOf(m), m.about.config!.dim as number] } }) as const;
