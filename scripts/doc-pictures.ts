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
  or,
  prefix,
  slidingWindow,
  type Tensor,
  targets,
  tensor,
} from '../packages/core/src/index';
import { barChart } from '../packages/onnxformers/src/cli/bench/svg';
import {
  axial,
  bigBirdLayout,
  dilatedOnGrid,
  drawMasks,
  fixedLayout,
  fromPattern,
  inputsOf,
  localOnGrid,
  longformerLayout,
  swinWindows,
  variableLayout,
  zoo,
} from '../packages/onnxformers/src/index';
import { drawGraphFile, pictureOf } from '../packages/onnxformers/src/picture/picture';
import { root } from './pnpm.mjs';

const folder = 'docs/pictures';

/** Path → SVG. */
export const pictures = async (): Promise<readonly (readonly [path: string, text: string])[]> => [
  [`${folder}/masks.svg`, masksPicture()],
  [`${folder}/patterns.svg`, patternsPicture()],
  [`${folder}/encoder-graph.svg`, `${(await graphPicture()).trim()}\n`],
  [`${folder}/attention-h200.svg`, benchmarkPicture(readFileSync(join(root, 'docs/benchmarks.md'), 'utf8'))],
];

// ---- Masks ----------------------------------------------------------------------------------------------------------

const positions = 12;

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
export const masksPicture = (): string =>
  drawMasks(shownMasks.map(([title, code, mask]) => ({ title, code, mask, seq: positions })));

// ---- Patterns -------------------------------------------------------------------------------------------------------

const image: readonly [number, number] = [6, 6];
const layouts = { seqLen: 192, heads: 1 } as const;

/** Patterns of an image of 6 × 6 points, and layouts of 12 × 12 blocks. */
export const patternsPicture = (): string =>
  drawMasks(
    [
      {
        title: 'near in an image',
        code: 'localOnGrid([6, 6], { distance: 2 })',
        mask: localOnGrid(image, { distance: 2 }),
        seq: 36,
      },
      { title: 'axial', code: 'axial([6, 6])', mask: axial(image), seq: 36 },
      {
        title: 'shifted windows',
        code: 'swinWindows([6, 6], { window: 3, … })',
        mask: swinWindows(image, { window: 3, shift: 1 }),
        seq: 36,
      },
      { title: 'dilated in an image', code: 'dilatedOnGrid([6, 6], 2)', mask: dilatedOnGrid(image, 2), seq: 36 },
      { title: 'fixed', code: 'fixedLayout(…)', mask: fromPattern(fixedLayout(layouts)), seq: 12 },
      {
        title: 'variable',
        code: 'variableLayout({ windows: [1, 2, 3] })',
        mask: fromPattern(variableLayout({ ...layouts, windows: [1, 2, 3] })),
        seq: 12,
      },
      { title: 'big bird', code: 'bigBirdLayout(…)', mask: fromPattern(bigBirdLayout({ ...layouts, seed: 1 })), seq: 12 },
      { title: 'longformer', code: 'longformerLayout(…)', mask: fromPattern(longformerLayout(layouts)), seq: 12 },
    ],
    { title: 'Patterns of images and layouts of blocks' },
  );

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
