// Whether a mechanism supports the masks of a sequence.
import { ConfigError } from '../error';
import type { MaskKind } from '../mask/classes';
import { maskKinds, printMask } from '../mask/mask';
import type { SequenceContext } from './context';

/**
 * Refuses masks that a mechanism does not support.
 *
 * Throws   ConfigError naming them
 */
export function checkMasks(name: string, supported: readonly string[], { mask, layout }: SequenceContext): void {
  // Packed tokens attend to their own document only; see `maskOf`.
  const packed: readonly MaskKind[] = layout.kind === 'packed' ? ['documents'] : [];
  const refused = [...new Set([...packed, ...maskKinds(mask)])].filter((kind) => !supported.includes(kind));
  if (!refused.length) return;
  throw new ConfigError({
    path: name,
    problem: `${name} does not support the mask: ${refused.join(', ')}`,
    expected: supported.length ? `masks of the kinds ${supported.join(', ')}` : 'no mask',
    got: [...packed, ...(maskKinds(mask).length ? [printMask(mask)] : [])].join(', '),
    hint: 'Choose a mechanism that supports it, or remove the mask',
  });
}
