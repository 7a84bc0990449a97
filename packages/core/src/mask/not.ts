// The complement of another mask.
import { aMask, given } from '../given';
import { defineMask, type Mask, printMask } from './mask';
import { negated } from './truth';

/** The class of {@link not}. */
export const notMask = defineMask({
  name: 'not',
  comparesPositions: false,
  ofSequences: () => true,
  allows: ({ parts: [part] }, pair) => !part!.class.definition.allows(part!, pair),
  tensor: ({ parts: [part] }, at) => negated(part!.class.definition.tensor(part!, at)),
  print: ({ parts: [part] }) => `not (${printMask(part!)})`,
});

/** The negated mask: pairs that the other mask hides. */
export function not<V>(mask: Mask<V>): Mask<V> {
  given('not', { mask }, { mask: aMask });
  return mask.class === notMask.class ? mask.parts[0]! : notMask({ parts: [mask] });
}
