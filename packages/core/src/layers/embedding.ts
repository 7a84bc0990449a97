// An embedding table, looked up by id.
import type { Value } from '../ir/graph';
import { type Module, module } from '../module/module';
import { type Init, normal, type Role } from '../parameter/init';
import { Parameter } from '../parameter/parameter';
import { limitIndices } from '../sequence/limits';

/**
 * Embedding lookup in a table, with the parameter `weight` [count, dim]. Inputs with ids outside 0 … count − 1 are refused before a run; ids that the graph
 * computes are not checked (see `limitIndices`).
 *
 * Shapes   ids [...] → [..., dim]
 * Dtypes   ids int64, int32 → that of the weight
 * Throws   ShapeError (when called) for ids that are not integers
 * Lowers   everywhere: Gather
 * Example  const embedded = embedding(32000, 512)(x);
 */
export function embedding(
  count: number,
  dim: number,
  o: {
    readonly role?: Role;
    readonly init?: Init;
    /** The option that determines `count`, for errors. Default: the name of the parameter. */
    readonly field?: string;
  } = {},
): Module<(ids: Value) => Value> {
  const weight = new Parameter([count, dim], o.init ?? normal(0.02), { role: o.role ?? 'embedding', part: 'weight' });
  return module({ weight }, (ids: Value) => {
    const { where } = ids.graph;
    limitIndices(ids, count, o.field ?? (where ? `${where}.weight` : 'weight'));
    return ids.graph.ops.gather(ids.graph.param(weight), ids, 0);
  });
}
