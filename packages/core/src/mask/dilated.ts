// Keys at regular distances from the query.
import { expectCount } from './check';
import { defineMask, type Mask } from './mask';

/** Options of a dilated mask. */
export interface DilatedOptions {
  readonly step: number;
}

/** The class of {@link dilated}. */
export const dilatedMask = defineMask<never, DilatedOptions>({
  name: 'dilated',
  comparesPositions: true,
  ofSequences: () => true,
  measuresDistance: true,
  allows: ({ options: { step } }, { from, to }) => (from.position - to.position) % step === 0,
  tensor({ options: { step } }, at) {
    const { equal, mod } = at.graph.ops;
    if (step === 1) return true;
    // Equal remainders: two small tensors instead of one for each pair. Remainders of ONNX's Mod are not negative.
    return equal(mod(at.queryPositions(), step), mod(at.keyPositions(), step));
  },
  seesOwnKey: () => true,
  withPrefixTokens: (mask) => mask as Mask<never>,
  print: ({ options: { step } }) => `dilated(${step})`,
});

/**
 * Keys whose distance from the query is a multiple of `step`, a positive integer. With a window: `and(slidingWindow({ left: 6, right: 6 }), dilated(3))`.
 *
 * Source   Beltagy et al. 2020, https://arxiv.org/abs/2004.05150
 *
 * @throws ShapeError for another step
 */
export function dilated(step: number): Mask<never> {
  expectCount('dilated', step, 1);
  return dilatedMask({ options: { step } });
}
