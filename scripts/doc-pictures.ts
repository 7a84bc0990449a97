// The pictures of the guides: masks, a model's graph, a benchmark. Each is made from what it shows, in colours for light and dark pages.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  and,
  blocks,
  causal,
  compile,
  dilated,
  documents,
  globalTokens,
  keyStarts,
  type Mask,
  materialize,
  or,
  prefix,
  slidingWindow,
  type Tensor,
  targets,
  tensor,
} from '../packages/core/src/index';
import { barChart, svg, text } from '../packages/onnxformers/src/cli/bench/svg';
import { inputsOf, zoo } from '../packages/onnxformers/src/index';
import { drawGraphFile, pictureOf } from '../packages/onnxformers/src/picture/picture';
import { root } from './pnpm.mjs';

const folder = 'docs/pictures';

/** Path → SVG. */
export const pictures = async (): Promise<readonly (readonly [path: string, text: string])[]> => [
  [`${folder}/masks.svg`, masksPicture()],
  [`${folder}/encoder-graph.svg`, `${(await graphPicture()).trim()}\n`],
  [`${folder}/attention-h200.svg`, benchmarkPicture(readFileSync(join(root, 'docs/benchmarks.md'), 'utf8'))],
];

// ---- Masks ----------------------------------------------------------------------------------------------------------

const positions = 12;

/** Which pairs a mask allows, query by query. */
function pairsOf(mask: Mask<Tensor>): readonly boolean[][] {
  const { data } = materialize(mask, { seq: positions });
  return Array.from({ length: positions }, (_, i) => Array.from({ length: positions }, (_, j) => data[i * positions + j] !== 0));
}

const offsets = tensor('int64', [4], [0, 4, 9, 12]);
const layout = tensor('bool', [1, 4, 4], [1, 0, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 0, 1, 0, 1]);
const shownMasks: readonly (readonly [name: string, code: string, mask: Mask<Tensor>])[] = [
  ['causal', 'causal', causal],
  ['window', 'slidingWindow({ left: 2, right: 2 })', slidingWindow({ left: 2, right: 2 })],
  ['prefix', 'prefix(5)', prefix(5)],
  ['block diagonal, causal', 'and(documents(offsets), causal)', and(documents(offsets), causal)],
  ['dilated', 'dilated(3)', dilated(3)],
  ['local and global', 'or(window, globalTokens(1))', or(slidingWindow({ left: 2, right: 2 }), globalTokens(1))],
  ['blocks', 'blocks(layout, 3)', blocks(layout, 3)],
  ['left padding, causal', 'and(keyStarts(starts), causal)', and(keyStarts(tensor('int64', [1], [4])), causal)],
];

/** The masks in two rows, queries downwards and keys to the right. */
export function masksPicture(): string {
  const [cell, gap, head] = [14, 30, 52];
  const side = positions * cell;
  const columns = shownMasks.length / 2;
  const width = columns * (side + gap) + gap;
  const parts = shownMasks.flatMap(([name, code, mask], at) => {
    const [left, top] = [gap + (at % columns) * (side + gap), Math.floor(at / columns) * (head + side)];
    const pairs = pairsOf(mask);
    const cells = [true, false].map((allowed) => {
      const squares = pairs.flatMap((row, i) =>
        row.flatMap((value, j) =>
          value === allowed ? [`M${left + j * cell} ${top + head + i * cell}h${cell - 1}v${cell - 1}h${1 - cell}z`] : [],
        ),
      );
      return `<path class="${allowed ? 'yes' : 'no'}" d="${squares.join('')}"/>`;
    });
    return [text(left, top + 22, name), text(left, top + 40, code, ' class="small"'), ...cells];
  });
  const bottom = 2 * (head + side);
  return svg(
    'Masks: which query (row) may attend to which key (column)',
    [width, bottom + 34],
    [...parts, text(gap, bottom + 22, 'rows: queries · columns: keys · filled: may attend', ' class="small"')],
  );
}

// ---- A model's graph ------------------------------------------------------------------------------------------------

/** A pre-norm layer with its fused ops, as `onnxformers graph` draws it. */
async function graphPicture(): Promise<string> {
  const layer = zoo.build('layer', { name: 'pre_norm', dim: 64, mixer: { name: 'multi_head', heads: 4 }, feedforward: 'mlp' });
  return drawGraphFile(pictureOf(compile(layer, { target: targets.cpu, inputs: inputsOf(layer) })));
}

// ---- A benchmark ----------------------------------------------------------------------------------------------------

interface Measured {
  readonly label: string;
  readonly own: number;
  readonly torch: number;
}

/** The rows of the first table that compares with torch. */
export function measuredIn(page: string): readonly Measured[] {
  const rows = page.split('\n').map((line) => line.split('|').map((cell) => cell.trim()));
  const head = rows.findIndex((cells) => cells.includes('TFLOP/s') && cells.includes('torch, best'));
  const columns = rows[head] ?? [];
  const [seq, masked, own, torch] = ['seq', 'causal', 'TFLOP/s', 'torch, best'].map((name) => columns.indexOf(name));
  const found: Measured[] = [];
  for (const cells of rows.slice(head + 2)) {
    if (cells.length < columns.length) break;
    const label = `${cells[seq!]}${cells[masked!] === 'yes' ? ', causal' : ''}`;
    found.push({ label, own: Number(cells[own!]), torch: Number(cells[torch!]) });
  }
  if (head < 0 || !found.length || found.some((m) => !(m.own > 0 && m.torch > 0)))
    throw new Error('docs/benchmarks.md has no table of attention with TFLOP/s and torch');
  return found;
}

/** Attention on a GPU beside torch, as bars. */
export const benchmarkPicture = (page: string): string =>
  barChart({
    title: 'Attention on an H200, float16, in TFLOP/s',
    axis: 'TFLOP/s by sequence length; more is better',
    series: ['onnxformers', 'torch, best backend'],
    rows: measuredIn(page).map(({ label, own, torch }) => ({ label, values: [own, torch] })),
  });
