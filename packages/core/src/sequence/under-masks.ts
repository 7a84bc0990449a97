// Mechanisms that support some masks only: refused under others, and run on padded rows if their padding is all that they can mask in a packed batch.
import { ConfigError } from '../error';
import type { Value } from '../ir/graph';
import type { MaskKind } from '../mask/classes';
import { declaredKinds, maskText } from '../mask/mask';
import type { SequenceContext } from './context';

/** A mechanism that supports some masks only. */
export interface Masked {
  readonly name: string;
  readonly masks: readonly string[];
  /** Whether it treats each sequence of a batch by itself. */
  readonly batchIndependent: boolean;
  /** Of rows or heads of queries, those of keys, and the context. */
  readonly forward: (...args: unknown[]) => unknown;
}

/**
 * The forward function of a mechanism that refuses other masks. Packed sequences are padded for a mechanism that supports lengths and no documents, and treats each
 * sequence by itself: it does to it what it does to the sequence alone, in the time of a padded batch.
 *
 * Throws   (the result) ConfigError naming the masks that it does not support
 */
export function underMasks({ name, masks: supported, batchIndependent, forward }: Masked): Masked['forward'] {
  const onPaddedRows = batchIndependent && supported.includes('lengths') && !supported.includes('documents');
  return (...args) => {
    const given = args.at(-1) as SequenceContext;
    if (given.layout.kind === 'padded' || !onPaddedRows) {
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
  const refused = [...new Set([...packed, ...declaredKinds(mask)])].filter((kind) => !supported.includes(kind));
  if (!refused.length) return;
  throw new ConfigError({
    path: name,
    problem: `${name} does not support the mask: ${refused.join(', ')}`,
    expected: supported.length ? `masks of the kinds ${supported.join(', ')}` : 'no mask',
    got: [...packed, ...(declaredKinds(mask).length ? [maskText(mask)] : [])].join(', '),
    hint: isPadding(refused)
      ? 'Run sequences of equal length together, as createEncoder does, or choose a mechanism that supports it'
      : 'Choose a mechanism that supports it, or remove the mask',
  });
}

const isPadding = (kinds: readonly string[]): boolean => kinds.every((kind) => kind === 'documents' || kind === 'lengths');
