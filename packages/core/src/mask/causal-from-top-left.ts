// A query attends to as many keys as there are queries up to it.
import { causal } from './causal';
import { endsIn } from './key-range';
import { defineMask } from './mask';

/** The class of {@link causalFromTopLeft}. */
export const causalFromTopLeftMask = defineMask({
  name: 'causalFromTopLeft',
  comparesPositions: true,
  ofSequences: () => true,
  allows: (_, { from, to }) => to.position <= from.index,
  tensor: (_, at) => at.graph.ops.lessOrEqual(at.keyPositions(), at.queryIndices()),
  keyRange: (_, at) => (at.packed ? {} : { end: at.graph.ops.add(endsIn(at.queryIndices()).last, 1) }),
  features: () => ({ causalFromTopLeft: true as const }),
  atSizes: (mask, { startsTogether }) => (startsTogether ? causal : mask),
  withPrefixTokens: (mask) => mask,
  print: () => 'causal from the top left',
});

/**
 * Query i attends to keys 0 … i of its sequence, also if there are more keys than queries ("top-left"; `is_causal` of PyTorch and `LowerTriangularMask` of
 * xFormers). With equal numbers it is {@link causal}.
 */
export const causalFromTopLeft = causalFromTopLeftMask();
