// Sizes as scalars with memory of their own.
import { rule } from '../lower/rule';
import { gather } from '../ops/gather';
import { Reshape } from '../ops/reshape';

/**
 * Reshape of a size [1] to a scalar → Gather of its element, where the runtime shares the memory of both and frees it with the first: a later reader of
 * the scalar then gets another size.
 */
export const useOwnScalars = rule('Reshape → Gather of a size', Reshape, ({ operands: [x], attrs, outputs }, { freesViews }) => {
  if (!freesViews || x!.dtype !== 'int64' || !x!.producer || x!.rank !== 1 || attrs.dims.length > 0) return undefined;
  return { covers: outputs, unlisted: true, emit: (get) => [gather(get(x!), get(x!).graph.root.number(0, 'int64'), 0)] };
});
