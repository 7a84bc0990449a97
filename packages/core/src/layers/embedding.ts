// A table of rows looked up by id.
import type { Value } from '../ir/graph';
import { type Module, module } from '../module/module';
import { gather } from '../ops/select';
import { type Init, normal, type Role } from '../parameter/init';
import { Parameter } from '../parameter/parameter';

/**
 * Rows of a table, with the parameter `weight` [count, dim]. Ids outside 0 … count − 1 are an error of the runtime.
 *
 * Shapes   ids [...] → [..., dim]
 * Dtypes   ids int64, int32 → that of the weight
 * Throws   ShapeError (when called) for ids that are no integers
 * Lowers   everywhere: Gather
 * Example  const rows = embedding(32000, 512)(x);
 */
export function embedding(
  count: number,
  dim: number,
  o: { readonly role?: Role; readonly init?: Init } = {},
): Module<(ids: Value) => Value> {
  const weight = new Parameter([count, dim], o.init ?? normal(0.02), { role: o.role ?? 'embedding', part: 'weight' });
  return module({ weight }, (ids: Value) => gather(ids.graph.param(weight), ids, 0));
}
