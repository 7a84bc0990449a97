// Two layouts of queries, keys and values: heads [batch, heads, seq, head_dim], as blocks have them, and rows [batch, seq, heads · head_dim], as most kernels require.
import { type Layout, mergeHeads, type Node, padded, splitHeads, type Value } from '@onnxformers/core';
import { type Get, type MatchContext, madeBy, operandsOf } from '@onnxformers/core/lowering';

/** The layout for splitting and merging heads of packed tokens; positions are not needed. */
export const tokens = { kind: 'packed' } as Layout;

/** Heads to rows. If a split of rows made the heads, these rows are the result, and no node is added. */
export const toRows = (heads: Value, layout: Layout = padded): Value => mergeHeads(heads, layout);
/** Rows to heads. If the heads are then merged again, both nodes disappear. */
export const toHeads = (rows: Value, heads: number, layout: Layout = padded): Value => splitHeads(rows, heads, layout);

/** The linear maps that made queries, keys and values. Kernels can add their biases. */
export interface Projections {
  readonly maps: readonly Node[];
  /** Values that are no longer needed if the kernel adds the biases. */
  readonly absorbs: readonly Value[];
}

/**
 * The projections of these heads, for a kernel that adds their biases; undefined if something else reads their results, or if fewer than two have a bias: the
 * kernel adds all three, which takes as long as adding two before it.
 */
export function biasedProjections(
  heads: readonly Value[],
  context: MatchContext,
  layout: Layout = padded,
): Projections | undefined {
  const maps = heads.map((h) => projection(h, context, layout.kind === 'packed' ? 2 : 3));
  if (!maps.every((m) => m !== undefined) || maps.filter(biasOf).length < 2) return undefined;
  return { maps, absorbs: maps.flatMap((m) => (biasOf(m) ? m.outputs : [])) };
}

const biasOf = (map: Node): Value | undefined => operandsOf(map.graph.ops.Linear, map.operands).bias;

function projection(heads: Value, context: MatchContext, rank: number): Node | undefined {
  const { Linear, Reshape, Transpose } = heads.graph.ops;
  const turned = madeBy(heads, Transpose);
  const split = turned && madeBy(turned.operands[0], Reshape);
  const linear = split && madeBy(split.operands[0], Linear);
  const through = [heads, turned?.operands[0], split?.operands[0]];
  return linear && linear.outputs[0]!.rank === rank && through.every((v) => v && context.uses(v) === 1) ? linear : undefined;
}

/** The result of each projection without its bias, and the concatenated biases. */
export function withoutBiases({ maps }: Projections, get: Get): { readonly rows: readonly Value[]; readonly bias: Value } {
  const { ops } = maps[0]!.graph;
  const rows = maps.map((m) => {
    const { x, weight } = operandsOf(ops.Linear, m.operands);
    return ops.linear(get(x), get(weight));
  });
  const biases = maps.map((m, i) => {
    const bias = biasOf(m);
    return bias ? get(bias) : ops.fill(rows[i]!.graph, [rows[i]!.dims.at(-1)!], 0, rows[i]!.dtype);
  });
  return { rows, bias: ops.concat(biases, 0) };
}
