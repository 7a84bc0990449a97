// Masks as pictures: queries downwards, keys to the right.
import { checkArguments, type Mask, materialize, printMask, type Tensor } from '@onnxformers/core';
import { svg, text } from './svg';

/** A mask to draw, and its title and code. */
export interface ShownMask {
  readonly title: string;
  /** Printed below the title; default the mask itself. */
  readonly code?: string;
  readonly mask: Mask<Tensor>;
  /** Number of positions. */
  readonly seq: number;
  /** The head that is drawn; default 0, of `heads`. */
  readonly head?: number;
  readonly heads?: number;
}

/** Options of {@link drawMasks}. */
export interface DrawMasksOptions {
  /** Title of the picture. */
  readonly title?: string;
  /** Masks in a row; default 4, or as many as there are. */
  readonly columns?: number;
  /** Side of each mask in pixels; default 168. */
  readonly side?: number;
  /** What rows, columns and filled cells are; default those of a mask. */
  readonly legend?: string;
}

/**
 * Masks as one picture in SVG: each row of cells is a query, each column a key, and filled cells may attend.
 *
 * Throws   ShapeError when the data of a mask does not fit its number of positions
 * Example  const picture = drawMasks([{ title: 'causal', mask: causal, seq: 12 }]);
 */
export function drawMasks(shown: readonly ShownMask[], o: DrawMasksOptions = {}): string {
  checkArguments('drawMasks', { shown, 'options?': o });
  const {
    title = 'Masks: which query (row) may attend to which key (column)',
    columns = Math.min(4, shown.length),
    side = 168,
    legend = 'rows: queries · columns: keys · filled: may attend',
  } = o;
  const [gap, head] = [30, 52];
  const width = columns * (side + gap) + gap;
  const rows = Math.ceil(shown.length / columns);
  const parts = shown.flatMap((mask, at) => {
    const [left, top] = [gap + (at % columns) * (side + gap), Math.floor(at / columns) * (head + side)];
    const caption = mask.code ?? printMask(mask.mask);
    return [
      text(left, top + 22, mask.title),
      text(left, top + 40, caption, ' class="small"'),
      ...cellsOf(mask, left, top + head, side),
    ];
  });
  const bottom = rows * (head + side);
  return svg(title, [width, bottom + 34], [...parts, text(gap, bottom + 22, legend, ' class="small"')]);
}

const rounded = (n: number): number => Math.round(100 * n) / 100;

/** One path for the pairs that may attend and one for the others, in runs of cells. */
function cellsOf({ mask, seq, head = 0, heads = 1 }: ShownMask, left: number, top: number, side: number): readonly string[] {
  const { data } = materialize(mask, { seq, heads });
  const cell = side / seq;
  const inner = cell > 6 ? cell - 1 : cell;
  const allows = (i: number, j: number): boolean => data[(head * seq + i) * seq + j] !== 0;
  return [true, false].map((allowed) => {
    const squares: string[] = [];
    for (let i = 0; i < seq; i++)
      for (let j = 0; j < seq; j++)
        if (allows(i, j) === allowed) {
          const [x, y, w] = [left + j * cell, top + i * cell, inner].map(rounded) as [number, number, number];
          squares.push(`M${x} ${y}h${w}v${w}h${-w}z`);
        }
    return `<path class="${allowed ? 'yes' : 'no'}" d="${squares.join('')}"/>`;
  });
}
