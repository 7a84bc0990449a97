// The pictures of the guides: masks, a model's graph, a benchmark. Each is made from what it shows, in colours for light and dark pages.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  and,
  blockLayout,
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
  [`${folder}/attention-h200.svg`, benchmarkPicture(benchmarks())],
  [`${folder}/varlen-h200.svg`, varlenPicture(benchmarks())],
];

const benchmarks = (): string => readFileSync(join(root, 'docs/benchmarks.md'), 'utf8');

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
  ['blocks', 'blockLayout(layout, 3)', blockLayout(layout, 3)],
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

/** The rows of the first table of a page that has these columns; cells by column. */
function tableIn<N extends string>(page: string, names: readonly N[]): readonly Readonly<Record<N, string>>[] {
  const lines = page.split('\n').map((line) => line.split('|').map((cell) => cell.trim()));
  const head = lines.findIndex((cells) => names.every((name) => cells.includes(name)));
  if (head < 0) throw new Error(`docs/benchmarks.md has no table with the columns ${names.join(', ')}`);
  const columns = lines[head]!;
  const end = lines.findIndex((cells, i) => i > head && cells.length < columns.length);
  const at = (cells: readonly string[], name: N): string => cells[columns.indexOf(name)]!;
  return lines.slice(head + 2, end < 0 ? undefined : end).map((cells) => {
    return Object.fromEntries(names.map((name) => [name, at(cells, name)])) as Record<N, string>;
  });
}

/** A measured number, perhaps with a remark: `63.20 (padded)`; undefined for an empty cell. */
function measured(text: string): number | undefined {
  if (text === '') return undefined;
  const number = Number.parseFloat(text);
  if (!(number > 0)) throw new Error(`docs/benchmarks.md: expected a number, got "${text}"`);
  return number;
}

/** Attention on a GPU beside torch, as bars. */
export const benchmarkPicture = (page: string): string =>
  barChart({
    title: 'Attention on an H200, float16, in TFLOP/s',
    axis: 'TFLOP/s by sequence length; more is better',
    series: ['onnxformers', 'torch, best backend'],
    rows: tableIn(page, ['seq', 'causal', 'TFLOP/s', 'torch, best']).map((row) => ({
      label: `${row.seq}${row.causal === 'yes' ? ', causal' : ''}`,
      values: [measured(row['TFLOP/s']), measured(row['torch, best'])],
    })),
  });

/** A model on sequences of different lengths on a GPU, beside torch. */
export const varlenPicture = (page: string): string =>
  barChart({
    title: 'A 24-layer model on 32 sequences of different lengths on an H200, in milliseconds',
    axis: 'milliseconds a run of 17,267 tokens; less is better',
    series: ['onnxformers', 'torch, compiled'],
    rows: tableIn(page, ['batch', 'ms', 'torch, packed, compiled']).map((row) => ({
      label: row.batch,
      values: [measured(row.ms), measured(row['torch, packed, compiled'])],
      notes: [row.ms, row['torch, packed, compiled']],
    })),
  });
