// Embedding lookup in a table that is stored in float16 under wider arithmetic: only the rows that are looked up are widened.
import { operandsOf } from '../ir/define-op';
import { madeBy } from '../ir/graph';
import { rule } from '../lower/rule';
import { Cast, cast } from '../ops/cast';
import { gather } from '../ops/gather';
import { Gather } from '../ops/select';

/** Gather of rows of a parameter in float16 that is cast to a wider dtype → Cast of the rows. Not of one in bfloat16, which not every Gather takes. */
export const useNarrowRows = rule('Gather(Cast) → Cast(Gather)', Gather, (node) => {
  const { indices } = operandsOf(Gather, node.operands);
  const widened = madeBy(node.operands[0], Cast);
  const table = widened?.operands[0];
  if (!widened || table?.leaf?.kind !== 'parameter' || table.dtype !== 'float16') return undefined;
  return { covers: node.outputs, emit: (get) => [cast(gather(get(table), get(indices), node.attrs.axis), widened.attrs.to)] };
});
