// Helpers for `and` and `or`.
import { type Mask, type MaskClass, sameMask } from './mask';

/** The parts of an `and` or `or` of these masks: nested ones of the same class are joined, repeated ones removed. */
export function joined<V>(of: MaskClass, masks: readonly Mask<V>[]): readonly Mask<V>[] {
  const flat = masks.flatMap((m) => (m.class === of ? m.parts : [m]));
  return flat.filter((m, i) => flat.findIndex((other) => sameMask(m, other)) === i);
}
