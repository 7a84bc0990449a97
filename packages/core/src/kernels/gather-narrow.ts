// Embedding lookup in a table that is stored in a narrower dtype than the arithmetic: only the rows that are looked up are widened.
import { operandsOf } from '../ir/define-op';
import { madeBy } from '../ir/graph';
import { rule } from '../lower/rule';
import { Cast, cast } from '../ops/cast';
import { gather } from '../ops/gather';
import { Gather } from '../ops/select';
import { bitsOf } from '../tensor/tensor';

/** Gather of rows of a parameter that is cast to a wider dtype → Cast of the rows. */
export const useNarrowRows = rule('Gather(Cast) → Cast(Gather)', Gather, (node) => {
  const { indices } = operandsOf(Gather, node.operands);
  const widened = madeBy(node.operands[0], Cast);
  const table = widened?.operands[0];
  if (!widened || table?.leaf?.kind !== 'parameter' || bitsOf(table.dtype) >= bitsOf(widened.attrs.to)) return undefined;
  return { covers: node.outputs, emit: (get) => [cast(gather(get(table), get(indices), node.attrs.axis), widened.attrs.to)] };
});
