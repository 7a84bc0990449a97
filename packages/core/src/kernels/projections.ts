// The linear maps in front of an attention, and their weights.
import { operandsOf } from '../ir/define-op';
import { apply, type Get, type MatchContext, madeBy, type Node, type Value } from '../ir/graph';
import { Linear } from '../ops/matmul';
import { Transpose } from '../ops/movement';
import { Reshape } from '../ops/reshape';

/** A linear map whose result becomes heads: [batch, seq, heads · width] → [batch, heads, seq, width]. */
export interface Projection {
  readonly linear: Node;
  readonly split: Node;
  readonly turned: Node;
}

/** The projection that made the heads; undefined if something else did. */
export function projectionOf(heads: Value): Projection | undefined {
  const turned = madeBy(heads, Transpose);
  const split = turned && madeBy(turned.operands[0], Reshape);
  const linear = split && madeBy(split.operands[0], Linear);
  if (!linear || !isHeadsFirst(turned.attrs.perm)) return undefined;
  return channelsOf(split.outputs[0]!) === split.operands[0]!.dims.at(-1) ? { linear, split, turned } : undefined;
}

/** [batch, seq, heads, width] → [batch, heads, seq, width], and back. */
export const isHeadsFirst = (perm: readonly number[] | undefined): boolean => `${perm}` === '0,2,1,3';
/** Channels of [batch, seq, heads, width]. */
export const channelsOf = ({ dims: [, , heads, width] }: Value): number => Number(heads) * Number(width);

/** True if nothing but the attention reads the heads, nor what they are made of. */
export const readOnce = ({ linear, split, turned }: Projection, { uses }: MatchContext): boolean =>
  [linear, split, turned].every((node) => uses(node.outputs[0]!) === 1);

/** The same heads from another linear map: with these operands. */
export function withLinear({ linear, split, turned }: Projection, operands: readonly Value[]): Value {
  const like = (node: Node, of: readonly Value[]): Value =>
    of[0]!.graph.root.at(node.scope, () => apply(node.op, of, node.attrs)[0]!, node);
  return like(turned, [like(split, [like(linear, operands)])]);
}

/** The same heads without the bias of their projection. */
export function withoutBias(projection: Projection, get: Get): Value {
  const { x, weight } = operandsOf(Linear, projection.linear.operands);
  return withLinear(projection, [get(x), get(weight)]);
}

/** Depends only on constants, and on parameters that are stored with the model. */
export function isStored(v: Value): boolean {
  const { leaf, producer } = v;
  if (leaf) return leaf.kind === 'constant' || (leaf.kind === 'parameter' && !v.graph.root.inputs.includes(v));
  if (!producer || producer.op.impure || producer.op.writes) return false;
  return producer.operands.every((o) => o === undefined || isStored(o));
}

/** Numbers that are computed in float64 at a time when the model is written. */
const atOnce = 2 ** 22;

/** What `f` makes of the rows of a weight [to, from], in parts, so that a large weight is never completely in memory in float64. */
export function byRows(weight: Value, f: (rows: Value, starts: number, ends: number) => Value): Value {
  const { concat, slice } = weight.graph.ops;
  const [to, from] = weight.dims as readonly [number, number];
  const rows = Math.max(1, Math.floor(atOnce / from));
  if (to <= rows) return f(weight, 0, to);
  const parts = Array.from({ length: Math.ceil(to / rows) }, (_, i) => {
    const [starts, ends] = [i * rows, Math.min(to, (i + 1) * rows)];
    return f(slice(weight, { axes: [0], starts: [starts], ends: [ends] }), starts, ends);
  });
  return concat(parts, 0);
}
