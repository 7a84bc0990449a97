// Moves tokens to the slots of their experts and back.
import { addDims, type Dim, mulDims, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import type { Choice, Placed } from './routing';

/** Applies all experts: [experts, rows, dim] or, the same rows for all, [1, rows, dim] → [experts, rows, outDim]. */
export type Experts = (rows: Value) => Value;

/** Every expert processes every token; the chosen results are added. */
export function withoutLimit(tokens: Value, choices: readonly Choice[], experts: Experts): Value {
  const count = tokens.dims[0]!;
  const results = rowsOf(experts(ops.unsqueeze(tokens, [0])));
  const own = ops.iota(tokens, count);
  const places = choices.map(({ expert }) => ops.add(ops.mul(expert, ops.size(tokens, count)), own));
  return summed(results, choices, places);
}

/** Each expert processes its slots; dropped choices add 0. */
export function throughSlots(
  tokens: Value,
  choices: readonly Placed[],
  experts: Experts,
  o: { readonly experts: number; readonly slots: Dim },
): Value {
  // From the graph: experts without a limit load nothing of this.
  const { ops } = tokens.graph;
  const [count, dim] = tokens.dims as [Dim, Dim];
  const all = mulDims(o.experts, o.slots);
  // Dropped choices go to one more place, behind all slots.
  const behind = ops.size(tokens, all);
  const places = choices.map(({ expert, slot, kept }) =>
    ops.where(kept, ops.add(ops.mul(expert, ops.size(tokens, o.slots)), slot), behind),
  );
  const own = ops.iota(tokens, count);
  const empty = ops.expand(ops.reshape(ops.size(tokens, count), [1]), [addDims(all, 1)]);
  const taken = ops.scatterElements(empty, joined(places), joined(places.map(() => own)), 0);
  const rows = ops.gather(withZeroRow(tokens), ops.cropTo(taken, 0, all), 0);
  const results = rowsOf(experts(ops.reshape(rows, [o.experts, o.slots, dim])));
  return summed(withZeroRow(results), choices, places);
}

const joined = (xs: readonly Value[]): Value => (xs.length === 1 ? xs[0]! : xs[0]!.graph.ops.concat(xs, 0));
const withZeroRow = (x: Value): Value => x.graph.ops.pad(x, { axes: [0], before: [0], after: [1] });
const rowsOf = (x: Value): Value => ops.reshape(x, [mulDims(x.dims[0]!, x.dims[1]!), x.dims[2]!]);

function summed(results: Value, choices: readonly Choice[], places: readonly Value[]): Value {
  return choices
    .map(({ weight }, i) => {
      const rows = ops.gather(results, places[i]!, 0);
      return ops.mul(rows, ops.cast(ops.unsqueeze(weight, [1]), rows.dtype));
    })
    .reduce((a, b) => ops.add(a, b));
}
