// Layouts of square blocks: which blocks of queries attend to which blocks of keys, for the mask `blocks`.
import { checkArguments, type Dim, divDims, mulDims, randomStream, type Tensor, tensor, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { fault } from './grid';

/** Options of every layout. */
export interface LayoutOptions {
  readonly seqLen: number;
  readonly heads: number;
  /** Positions of a block; default 16. */
  readonly blockSize?: number;
  /** Heads have layouts of their own; otherwise all have that of the first. Default false. */
  readonly perHead?: boolean;
}

/** `bidirectional`, or `unidirectional`: blocks attend only to themselves and to those before them. */
export type Direction = 'bidirectional' | 'unidirectional';

/** A layout while it is made. */
type Cells = readonly Uint8Array[];

/** The layout of each head, from the function that says which block attends to which. */
function layout(
  path: string,
  { seqLen, heads, blockSize = 16, perHead = false }: LayoutOptions,
  make: (head: number, blocks: number) => (row: number, column: number) => boolean,
): Tensor {
  expectCounts(path, { seqLen, heads, blockSize }, 1);
  if (seqLen % blockSize)
    throw fault(
      `${path}.seqLen`,
      'the sequence is not a number of whole blocks',
      `a multiple of blockSize = ${blockSize}`,
      seqLen,
    );
  const n = seqLen / blockSize;
  const cells: Cells = Array.from({ length: perHead ? heads : 1 }, (_, h) => {
    const allows = make(h, n);
    return Uint8Array.from({ length: n * n }, (_, i) => Number(allows(Math.floor(i / n), i % n)));
  });
  const data = Array.from({ length: heads }, (_, h) => [...(cells[h] ?? cells[0]!)]).flat();
  return tensor('bool', [heads, n, n], data);
}

/**
 * Every block attends to every block.
 *
 * Shapes   → bool [heads, blocks, blocks]
 * Throws   ShapeError for a sequence that is not a number of whole blocks
 */
export const denseLayout = (o: LayoutOptions): Tensor => {
  checkArguments('denseLayout', { options: o });
  return layout('denseLayout', o, () => () => true);
};

/** Options of {@link fixedLayout}. */
export interface FixedLayoutOptions extends LayoutOptions {
  /** Blocks of a window, in which all attend to each other; default 4. */
  readonly localBlocks?: number;
  /** Blocks of each window that all blocks attend to; default 1. */
  readonly globalBlocks?: number;
  readonly direction?: Direction;
  /** The global blocks attend to all others too. Default false. */
  readonly horizontalGlobal?: boolean;
  /** Number of heads after which the choice of global blocks repeats; default 1. */
  readonly globalPatterns?: number;
}

/**
 * Windows of blocks, of which the last ones are global: head h has the global blocks `globalBlocks · (1 + h mod globalPatterns)` before the end of each window.
 *
 * Shapes   → bool [heads, blocks, blocks]
 * Throws   ShapeError for sizes and numbers that do not fit, and for options that exclude each other
 * Source   Child et al. 2019, https://arxiv.org/abs/1904.10509
 * Example  const layout = fixedLayout({ seqLen: 128, heads: 2 });
 */
export function fixedLayout(o: FixedLayoutOptions): Tensor {
  checkArguments('fixedLayout', { options: o });
  const { localBlocks: local = 4, globalBlocks: global = 1, globalPatterns: patterns = 1 } = o;
  const { horizontalGlobal = false, perHead = false } = o;
  const uni = isUnidirectional('fixedLayout', o.direction);
  expectCounts('fixedLayout', { localBlocks: local, globalBlocks: global, globalPatterns: patterns }, 1);
  if (local % global)
    throw fault(
      'fixedLayout.localBlocks',
      'windows have no whole number of global blocks',
      `a multiple of globalBlocks = ${global}`,
      local,
    );
  if (horizontalGlobal && uni)
    throw fault('fixedLayout.horizontalGlobal', 'global blocks would attend to later ones', 'false if unidirectional', true);
  if (patterns > 1 && !perHead)
    throw fault('fixedLayout.globalPatterns', 'all heads have the same layout', '1, or perHead: true', patterns);
  if (patterns > local / global)
    throw fault(
      'fixedLayout.globalPatterns',
      'more patterns than places of global blocks',
      `at most ${local / global}`,
      patterns,
    );
  return layout('fixedLayout', o, (head, n) => {
    const first = local - (1 + (head % patterns)) * global;
    const whole = n - (n % local);
    const starts = Array.from({ length: Math.ceil((whole - first) / local) }, (_, i) => first + i * local);
    if (whole < n) starts.push(Math.min(whole + first, n - global));
    const within = (i: number, start: number): boolean => i >= start && i < start + global;
    return (row, column) => {
      if (Math.floor(row / local) === Math.floor(column / local) && (!uni || column <= row)) return true;
      if (starts.some((start) => within(column, start) && (!uni || row >= start))) return true;
      return horizontalGlobal && starts.some((start) => within(row, start));
    };
  });
}

/** Options of layouts with global blocks at chosen places. */
interface GlobalBlocks {
  /** Numbers of global blocks, or the first of each range; default [0]. Those beyond the layout are left out. */
  readonly globalIndices?: readonly number[];
  /** The end (exclusive) of each range. */
  readonly globalEnds?: readonly number[];
  readonly direction?: Direction;
}

/** Options of {@link variableLayout}. */
export interface VariableLayoutOptions extends LayoutOptions, GlobalBlocks {
  /** Random blocks of each row; default 0. */
  readonly randomBlocks?: number;
  /** Sizes of the windows in order; the last one is repeated. Default [4]. */
  readonly windows?: readonly number[];
  /** The global blocks attend to all others too. Default false. */
  readonly horizontalGlobal?: boolean;
  /** Of the random blocks; default 0. */
  readonly seed?: number;
}

/**
 * Windows of different sizes, global blocks, and random blocks.
 *
 * Shapes   → bool [heads, blocks, blocks]
 * Throws   ShapeError for sizes and numbers that do not fit, and for options that exclude each other
 * Source   Child et al. 2019, https://arxiv.org/abs/1904.10509
 * Example  const layout = variableLayout({ seqLen: 160, heads: 1, windows: [1, 2, 3] });
 */
export function variableLayout(o: VariableLayoutOptions): Tensor {
  checkArguments('variableLayout', { options: o });
  const { windows = [4], randomBlocks = 0, horizontalGlobal = false, seed = 0 } = o;
  const uni = isUnidirectional('variableLayout', o.direction);
  const ranges = rangesOf('variableLayout', o);
  if (horizontalGlobal && uni)
    throw fault('variableLayout.horizontalGlobal', 'global blocks would attend to later ones', 'false if unidirectional', true);
  if (!windows.length || windows.some((w) => !Number.isSafeInteger(w) || w < 1))
    throw fault('variableLayout.windows', 'not sizes of windows', 'integers of at least 1', `[${windows.join(', ')}]`);
  return layout('variableLayout', o, (head, n) => {
    const random = randomColumns('variableLayout', { seed, head, n, count: randomBlocks, uni });
    const window = windowNumbers(windows, n);
    return (row, column) =>
      random[row]!.has(column) ||
      (window[row] === window[column] && (!uni || column <= row)) ||
      ranges.some((range) => within(column, range) && (!uni || row >= range[0])) ||
      (horizontalGlobal && ranges.some((range) => within(row, range)));
  });
}

/** Options of {@link bigBirdLayout}. */
export interface BigBirdLayoutOptions extends LayoutOptions {
  /** Random blocks of each row; default 1. */
  readonly randomBlocks?: number;
  /** Width of the sliding window, in blocks; default 3. */
  readonly windowBlocks?: number;
  /** The first blocks, which attend to all and all attend to; default 1. */
  readonly globalBlocks?: number;
  readonly direction?: Direction;
  /** Of the random blocks; default 0. */
  readonly seed?: number;
}

/**
 * A sliding window, the first blocks as global ones, and random blocks. If unidirectional, a row with fewer blocks before it than random ones has all of them.
 *
 * Shapes   → bool [heads, blocks, blocks]
 * Throws   ShapeError for sizes and numbers that do not fit
 * Source   Zaheer et al. 2020, https://arxiv.org/abs/2007.14062
 * Example  const layout = bigBirdLayout({ seqLen: 128, heads: 1, seed: 7 });
 */
export function bigBirdLayout(o: BigBirdLayoutOptions): Tensor {
  checkArguments('bigBirdLayout', { options: o });
  const { randomBlocks = 1, windowBlocks = 3, globalBlocks = 1, seed = 0 } = o;
  const uni = isUnidirectional('bigBirdLayout', o.direction);
  return layout('bigBirdLayout', o, (head, n) => {
    expectCounts('bigBirdLayout', { randomBlocks, windowBlocks, globalBlocks }, 0, n);
    const random = randomColumns('bigBirdLayout', { seed, head, n, count: randomBlocks, uni });
    return (row, column) => {
      if (uni && column > row) return false;
      const near = Math.abs(row - column) <= Math.floor(windowBlocks / 2);
      return near || row < globalBlocks || column < globalBlocks || random[row]!.has(column);
    };
  });
}

/** Options of {@link longformerLayout}. */
export interface LongformerLayoutOptions extends LayoutOptions, GlobalBlocks {
  /** Width of the sliding window, in blocks; default 3. */
  readonly windowBlocks?: number;
}

/**
 * A sliding window and global blocks, which attend to all and all attend to.
 *
 * Shapes   → bool [heads, blocks, blocks]
 * Throws   ShapeError for sizes and numbers that do not fit
 * Source   Beltagy et al. 2020, https://arxiv.org/abs/2004.05150
 * Example  const layout = longformerLayout({ seqLen: 128, heads: 1, globalIndices: [0, 3] });
 */
export function longformerLayout(o: LongformerLayoutOptions): Tensor {
  checkArguments('longformerLayout', { options: o });
  const { windowBlocks = 3 } = o;
  const uni = isUnidirectional('longformerLayout', o.direction);
  const ranges = rangesOf('longformerLayout', o);
  return layout('longformerLayout', o, (_, n) => {
    expectCounts('longformerLayout', { windowBlocks }, 0, n);
    return (row, column) => {
      if (uni && column > row) return false;
      const near = Math.abs(row - column) <= Math.floor(windowBlocks / 2);
      return near || ranges.some((range) => within(row, range) || within(column, range));
    };
  });
}

// ---- Parts of layouts ---------------------------------------------------------------------------------------------------

function expectCounts(
  path: string,
  counts: Readonly<Record<string, number>>,
  least: number,
  blocks = Number.MAX_SAFE_INTEGER,
): void {
  for (const [name, n] of Object.entries(counts)) {
    if (!Number.isSafeInteger(n) || n < least)
      throw fault(`${path}.${name}`, 'not a count', `an integer of at least ${least}`, n);
    if (n > blocks) throw fault(`${path}.${name}`, 'more than there are blocks', `at most ${blocks}`, n);
  }
}

type Range = readonly [start: number, end: number];
const within = (i: number, [start, end]: Range): boolean => i >= start && i < end;

function rangesOf(path: string, { globalIndices = [0], globalEnds }: GlobalBlocks): readonly Range[] {
  if (globalEnds && globalEnds.length !== globalIndices.length)
    throw fault(`${path}.globalEnds`, 'another number of ends than of starts', `${globalIndices.length} ends`, globalEnds.length);
  expectCounts(path, Object.fromEntries(globalIndices.map((start, i) => [`globalIndices[${i}]`, start])), 0);
  return globalIndices.map((start, i): Range => {
    const end = globalEnds?.[i] ?? start + 1;
    if (start >= end) throw fault(`${path}.globalEnds`, 'an empty range of global blocks', `more than ${start}`, end);
    return [start, end];
  });
}

function isUnidirectional(path: string, direction: Direction = 'bidirectional'): boolean {
  if (direction !== 'bidirectional' && direction !== 'unidirectional')
    throw fault(`${path}.direction`, 'not a direction', 'bidirectional or unidirectional', direction);
  return direction === 'unidirectional';
}

function windowNumbers(sizes: readonly number[], n: number): readonly number[] {
  const numbers: number[] = [];
  for (let window = 0; numbers.length < n; window++)
    for (let i = 0; i < (sizes[window] ?? sizes.at(-1)!); i++) numbers.push(window);
  return numbers;
}

/** For each row, columns drawn without replacement; if unidirectional, none of later blocks. */
function randomColumns(
  path: string,
  { seed, head, n, count, uni }: { seed: number; head: number; n: number; count: number; uni: boolean },
): readonly ReadonlySet<number>[] {
  expectCounts(path, { randomBlocks: count }, 0, n);
  const numbers = new Float64Array(n);
  const stream = randomStream(seed, `${path} of head ${head}`);
  return Array.from({ length: n }, (_, row) => {
    stream.uniform(numbers);
    const columns = Array.from({ length: uni ? row + 1 : n }, (_, i) => i);
    return new Set(columns.sort((a, b) => numbers[a]! - numbers[b]!).slice(0, count));
  });
}

function expectFlags(path: string, { dtype, dims }: Tensor): void {
  if (dtype !== 'bool') throw fault(path, 'not flags', 'a bool tensor', `${dtype} [${dims.join(', ')}]`);
}

// ---- Patterns and layouts -----------------------------------------------------------------------------------------------

/**
 * The layout of a pattern: blocks with at least one allowed pair.
 *
 * Shapes   pattern bool [seq, kv_seq] or [heads, seq, kv_seq] → bool [seq / blockSize, …] or [heads, …]
 * Throws   ShapeError for sizes that are not numbers of whole blocks, and for another dtype
 * Example  const layout = layoutOf(materialize(causal, { seq: 64 }), 16);
 */
export function layoutOf(pattern: Tensor, blockSize: number): Tensor {
  checkArguments('layoutOf', { tensor: pattern });
  const [rows, columns] = pattern.dims.slice(-2) as [number, number];
  expectCounts('layoutOf', { blockSize }, 1);
  expectFlags('layoutOf', pattern);
  if ([rows, columns].some((n) => n % blockSize))
    throw fault('layoutOf', 'the pattern is not a number of whole blocks', `multiples of ${blockSize}`, `[${rows}, ${columns}]`);
  const lead = pattern.dims.slice(0, -2);
  const dims = [...lead, rows / blockSize, columns / blockSize];
  const data = new Uint8Array(dims.reduce((a, b) => a * b, 1));
  const [height, width] = [rows / blockSize, columns / blockSize];
  (pattern.data as Uint8Array).forEach((allowed, i) => {
    if (!allowed) return;
    const [matrix, row, column] = [Math.floor(i / (rows * columns)), Math.floor(i / columns) % rows, i % columns];
    data[(matrix * height + Math.floor(row / blockSize)) * width + Math.floor(column / blockSize)] = 1;
  });
  return tensor('bool', dims, data);
}

/**
 * The pattern of a layout: every pair of its blocks.
 *
 * Shapes   layout bool [blocks, blocks] or [heads, blocks, blocks] → bool [… · blockSize, … · blockSize]
 * Throws   ShapeError for a block size below 1, and for another dtype
 * Example  const mask = fromPattern(patternOf(bigBirdLayout({ seqLen: 128, heads: 2 }), 16));
 */
export function patternOf(layout: Tensor, blockSize: number): Tensor {
  checkArguments('patternOf', { tensor: layout });
  const [rows, columns] = layout.dims.slice(-2) as [number, number];
  expectCounts('patternOf', { blockSize }, 1);
  expectFlags('patternOf', layout);
  const [height, width] = [rows * blockSize, columns * blockSize];
  const count = layout.dims.slice(0, -2).reduce((a, b) => a * b, 1);
  const data = new Uint8Array(count * height * width);
  for (let i = 0; i < data.length; i++) {
    const [matrix, row, column] = [Math.floor(i / (height * width)), Math.floor(i / width) % height, i % width];
    const cell = (matrix * rows + Math.floor(row / blockSize)) * columns + Math.floor(column / blockSize);
    data[i] = (layout.data as Uint8Array)[cell]!;
  }
  return tensor('bool', [...layout.dims.slice(0, -2), height, width], data);
}

/**
 * The blocks of a tensor that a layout has, in the order of heads, rows and columns.
 *
 * Shapes   x [batch, heads, rows, columns], layout bool [heads, rows / blockSize, columns / blockSize] → [batch, blocks, blockSize, blockSize]
 * Throws   ShapeError when the layout does not fit x
 * Lowers   everywhere: Reshape, Transpose, Gather
 * Example  const sparse = sparsifyBlocks(x, denseLayout({ seqLen: 64, heads: 2 }), 16);
 */
export function sparsifyBlocks(x: Value, layout: Tensor, blockSize: number): Value {
  checkArguments('sparsifyBlocks', { x, tensor: layout });
  expectFlags('sparsifyBlocks', layout);
  const [batch, heads, rows, columns] = x.dims as [Dim, Dim, Dim, Dim];
  const counts = [heads, divDims(rows, blockSize), divDims(columns, blockSize)];
  if (counts.some((n, i) => n !== layout.dims[i]))
    throw fault('sparsifyBlocks', 'the layout does not fit', `[${counts.join(', ')}]`, `[${layout.dims.join(', ')}]`);
  const cut = ops.reshape(x, [batch, heads, counts[1]!, blockSize, counts[2]!, blockSize]);
  const blocks = ops.reshape(ops.transpose(cut, [0, 1, 2, 4, 3, 5]), [batch, mulDims(...counts), blockSize, blockSize]);
  const kept = Array.from(layout.data as Uint8Array).flatMap((flag, i) => (flag ? [i] : []));
  return ops.gather(blocks, x.graph.root.constant(tensor('int64', [kept.length], kept)), 1);
}
