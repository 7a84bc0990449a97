// What masks joined by `and` and `or` share.
import { type Mask, type MaskClass, sameMask } from './mask';

/** What stands in an `and` or `or` of these masks: nested ones of the same class join, repeated ones disappear. */
export function joined<V>(of: MaskClass, masks: readonly Mask<V>[]): readonly Mask<V>[] {
  const flat = masks.flatMap((m) => (m.class === of ? m.parts : [m]));
  return flat.filter((m, i) => flat.findIndex((other) => sameMask(m, other)) === i);
}
