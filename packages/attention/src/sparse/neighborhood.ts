// Softmax attention to the neighbourhood of each cell of an image. Hassani et al. 2022, https://arxiv.org/abs/2204.07143
import {
  asImage,
  attend,
  ConfigError,
  ceilDivDims,
  cellsOf,
  type Dim,
  defineBlock,
  gridField,
  int,
  mulDims,
  num,
  type SequenceContext,
  subDims,
  type Value,
} from '@onnxformers/core';
import { computed } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';
import { unmaskedKernels } from '../kernels/index';

/**
 * Neighbourhood attention: the positions are the cells of an image, row by row, and each attends to kernel · kernel cells around it. At a border the neighbourhood
 * is moved inside, so that it has as many cells everywhere.
 *
 *     y_i = Σ_j softmax_j(scale · q_i k_jᵀ) v_j      j in rows and columns start … start + kernel − 1
 *     start(i) = min(max(i − (kernel − 1) / 2, 0), size − kernel), in each axis; all cells of an axis that is shorter than kernel
 *
 * It is computed for blocks of cells: each attends to the cells that any of its own may attend to, under a mask.
 *
 * Shapes   q [batch, heads, rows · columns, head_dim] · k, v [batch, kv_heads, rows · columns, …] → [batch, heads, rows · columns, v_head_dim]
 * Dtypes   float32, float16, bfloat16; softmax in float32
 * Masks    none
 * Cost     time and memory O(rows · columns · kernel² · dim): a block of side b = max(4, kernel) reads (b + kernel − 1)² cells
 * Throws   ConfigError for an even kernel, a mask, an attention bias, a memory or a cache · ShapeError for a packed batch, and where rows and columns are not known
 *          or do not fit the number of positions
 * Source   Hassani et al. 2022, https://arxiv.org/abs/2204.07143
 * Lowers   portable, cpu: Gather, primitives over blocks · wasm: Gather, Attention over blocks · webgpu: Gather, MultiHeadAttention · cuda: Gather,
 *          MultiHeadAttention or Attention
 * Example  const block = neighborhood({ kernel: 7, grid: [56, 56] });
 */
export const neighborhood = defineBlock({
  kind: 'attention',
  name: 'neighborhood',
  summary: 'Softmax attention to the neighbourhood of each cell of an image.',
  source: 'Hassani et al. 2022, https://arxiv.org/abs/2204.07143',
  masks: [],
  fields: {
    /** rows and columns of a neighbourhood; odd (positions). Default: `3`. */
    kernel: int({ doc: 'rows and columns of a neighbourhood; odd', unit: 'positions', min: 1, max: 1023, default: 3 }),
    /** [rows, columns] of the image, if no patch embedding sets them and it is not a square. Optional. */
    grid: gridField(),
    /** scale of the scores; default 1 / √head_dim. Optional. */
    scale: num({ doc: 'scale of the scores; default 1 / √head_dim', above: 0, optional: true }),
    /** dropout probability of attention weights in training. Default: `0`. */
    dropout: num({ doc: 'dropout probability of attention weights in training', min: 0, max: 0.99, default: 0 }),
  },
  inputs: (m) => {
    const seq = cellsOf(m);
    const rows = (heads: Dim, width: Dim) => ({ dtype: 'float32', dims: ['batch', heads, seq, width] }) as const;
    return { q: rows('heads', 'head_dim'), k: rows('kv_heads', 'head_dim'), v: rows('kv_heads', 'value_dim') };
  },
  examples: [{ grid: [7, 5] }, { kernel: 5, grid: [3, 11], scale: 0.3 }],
  properties: ['batchIndependent'],
  rules: unmaskedKernels,
  create({ kernel, grid, scale, dropout }, { path }) {
    if (kernel % 2 === 0)
      throw new ConfigError({
        path: `${path}.kernel`,
        problem: 'a neighbourhood has as many cells before its centre as after it',
        expected: 'an odd number',
        got: String(kernel),
      });
    const side = Math.max(4, kernel);
    const reach = side + kernel - 1;
    return (q: Value, k: Value, v: Value, ctx: SequenceContext) => {
      refuse(q, k, ctx, path);
      const image = (x: Value): Value => inGrid(x, ctx, grid, path);
      const queries = image(q);
      const [rows, columns] = [queries.dims[2]!, queries.dims[3]!];
      const axes = [axisOf(q, rows, kernel, side), axisOf(q, columns, kernel, side)] as const;
      const blocks = inBlocks(queries, axes, side);
      const near = (x: Value): Value => around(image(x), axes, reach);
      const options = { ...(scale !== undefined && { scale }), ...(dropout && { dropout }) };
      const y = attend(
        blocks,
        near(k),
        near(v),
        { mask: computed(maskOf(q.dims[0]!, axes, side, reach), 'the neighbourhood of each cell') },
        options,
      );
      return fromBlocks(y, q, [rows, columns], axes, side);
    };
  },
});

function refuse(q: Value, k: Value, ctx: SequenceContext, path: string): void {
  if (!ctx.bias && !ctx.queryMask && !ctx.keys && q.dims[2] === k.dims[2]) return;
  throw new ConfigError({
    path,
    problem: 'queries and keys are the cells of the same image',
    expected: 'self attention without a cache and an attention bias',
    got: ctx.bias ? 'an attention bias' : ctx.keys && !ctx.queryMask ? 'a cache' : 'a memory',
  });
}

/** [batch, heads, positions, width] → [batch, heads, rows, columns, width] */
function inGrid(x: Value, ctx: SequenceContext, grid: readonly number[] | undefined, path: string): Value {
  const [batch, heads, seq, width] = x.dims as [Dim, Dim, Dim, Dim];
  if (ctx.layout.kind === 'packed') return asImage(ops.reshape(x, [seq, width]), ctx, { path });
  const image = asImage(ops.reshape(x, [mulDims(batch, heads), seq, width]), ctx, { grid, path: `${path}.grid` });
  return ops.reshape(image, [batch, heads, image.dims[1]!, image.dims[2]!, width]);
}

/** Blocks along an axis of an image. */
interface Axis {
  readonly count: Dim;
  /** int64 [count, reach]: the cells that each block reads. */
  readonly cells: Value;
  /** bool [count, side, reach]: which of them a cell of the block attends to. */
  readonly keep: Value;
}

function axisOf({ graph }: Value, size: Dim, kernel: number, side: number): Axis {
  const g = graph.root;
  const count = ceilDivDims(size, side);
  const last = ops.sub(ops.size(g, size), 1);
  const least = (x: Value, most: Value): Value => ops.min(ops.max(x, 0), most);
  const start = (cell: Value): Value => least(ops.sub(cell, (kernel - 1) / 2), ops.max(ops.sub(last, kernel - 1), 0));
  const first = ops.mul(ops.reshape(ops.iota(g, count), [count, 1]), side);
  const within = (length: number): Value => ops.reshape(ops.iota(g, length), [1, length]);
  const all = ops.add(start(first), within(side + kernel - 1));
  // Cells beyond the image are read as its last one, and hidden.
  const own = ops.unsqueeze(start(ops.min(ops.add(first, within(side)), last)), [2]);
  const read = ops.unsqueeze(all, [1]);
  const inside = ops.logicalAnd(ops.greaterOrEqual(read, own), ops.less(read, ops.add(own, kernel)));
  return { count, cells: ops.min(all, last), keep: ops.logicalAnd(inside, ops.lessOrEqual(read, last)) };
}

type Axes = readonly [Axis, Axis];

/** [batch, heads, rows, columns, width] → [batch · blocks, heads, side², width] */
function inBlocks(x: Value, [down, across]: Axes, side: number): Value {
  const [batch, heads, rows, columns, width] = x.dims as [Dim, Dim, Dim, Dim, Dim];
  const more = (count: Dim, size: Dim): Dim => subDims(mulDims(count, side), size);
  const after = [more(down.count, rows), more(across.count, columns)];
  const whole = ops.pad(x, { axes: [2, 3], before: [0, 0], after });
  const parted = ops.reshape(whole, [batch, heads, down.count, side, across.count, side, width]);
  const blocks = ops.transpose(parted, [0, 2, 4, 1, 3, 5, 6]);
  return ops.reshape(blocks, [mulDims(batch, down.count, across.count), heads, side * side, width]);
}

/** The inverse of {@link inBlocks}, as [batch, heads, positions, width]. */
function fromBlocks(y: Value, { dims }: Value, [rows, columns]: readonly [Dim, Dim], [down, across]: Axes, side: number): Value {
  const [batch, heads, seq] = dims as [Dim, Dim, Dim];
  const width = y.dims[3]!;
  const parted = ops.reshape(y, [batch, down.count, across.count, heads, side, side, width]);
  const whole = ops.reshape(ops.transpose(parted, [0, 3, 1, 4, 2, 5, 6]), [
    batch,
    heads,
    mulDims(down.count, side),
    mulDims(across.count, side),
    width,
  ]);
  return ops.reshape(ops.cropTo(ops.cropTo(whole, 2, rows), 3, columns), [batch, heads, seq, width]);
}

/** The cells that each block reads, [batch · blocks, heads, reach², width]. */
function around(x: Value, [down, across]: Axes, reach: number): Value {
  const [batch, heads, , , width] = x.dims as [Dim, Dim, Dim, Dim, Dim];
  const read = ops.gather(ops.gather(x, down.cells, 2), across.cells, 4);
  const blocks = ops.transpose(read, [0, 2, 4, 1, 3, 5, 6]);
  return ops.reshape(blocks, [mulDims(batch, down.count, across.count), heads, reach * reach, width]);
}

/** bool [batch · blocks, 1, side², reach²] */
function maskOf(batch: Dim, [down, across]: Axes, side: number, reach: number): Value {
  const rows = ops.reshape(down.keep, [1, down.count, 1, side, 1, reach, 1]);
  const columns = ops.reshape(across.keep, [1, 1, across.count, 1, side, 1, reach]);
  const all = ops.expand(ops.logicalAnd(rows, columns), [batch, down.count, across.count, side, side, reach, reach]);
  return ops.reshape(all, [mulDims(batch, down.count, across.count), 1, side * side, reach * reach]);
}
