// Mechanisms that support some masks only: refused under others, and run on padded rows if their padding is all that they can mask in a packed batch.
import { ConfigError } from '../error';
import type { Value } from '../ir/graph';
import type { MaskKind } from '../mask/classes';
import { maskKinds, printMask } from '../mask/mask';
import type { SequenceContext } from './context';

type Forward = (...args: unknown[]) => unknown;

/**
 * A mechanism that supports only these masks. Its arguments are rows or heads of queries, those of keys, and the context. Packed sequences are padded for a mechanism
 * that supports lengths and no documents: it does to each what it does to the sequence alone, in the time of a padded batch.
 *
 * Throws   (the result) ConfigError naming the masks that it does not support
 */
export function underMasks(name: string, supported: readonly string[], forward: Forward): Forward {
  return (...args) => {
    const given = args.at(-1) as SequenceContext;
    const padding = given.layout.kind === 'packed' && supported.includes('lengths') && !supported.includes('documents');
    if (!padding) {
      checkMasks(name, supported, given);
      return forward(...args);
    }
    const { ctx, pad, pack } = given.layout.asPadded(given);
    checkMasks(name, supported, ctx);
    const keys = given.keys?.layout ?? given.layout;
    const rows = args.slice(0, -1).map((x, i) => pad(x as Value, i ? keys : given.layout));
    return pack(forward(...rows, ctx) as Value);
  };
}

function checkMasks(name: string, supported: readonly string[], { mask, layout }: SequenceContext): void {
  // Packed tokens attend to their own document only; see `maskOf`.
  const packed: readonly MaskKind[] = layout.kind === 'packed' ? ['documents'] : [];
  const refused = [...new Set([...packed, ...maskKinds(mask)])].filter((kind) => !supported.includes(kind));
  if (!refused.length) return;
  throw new ConfigError({
    path: name,
    problem: `${name} does not support the mask: ${refused.join(', ')}`,
    expected: supported.length ? `masks of the kinds ${supported.join(', ')}` : 'no mask',
    got: [...packed, ...(maskKinds(mask).length ? [printMask(mask)] : [])].join(', '),
    hint: isPadding(refused)
      ? 'Run sequences of equal length together, as createEncoder does, or choose a mechanism that supports it'
      : 'Choose a mechanism that supports it, or remove the mask',
  });
}

const isPadding = (kinds: readonly string[]): boolean => kinds.every((kind) => kind === 'documents' || kind === 'lengths');
