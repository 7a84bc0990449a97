// The classes of masks. To add one: its file, and a line here.
import { andMask } from './and';
import { causalMask } from './causal';
import { denseMask } from './dense';
import { documentsMask } from './documents';
import { keyPaddingMask } from './key-padding';
import { lengthsMask } from './lengths';
import { noneMask } from './none';
import { notMask } from './not';
import { orMask } from './or';
import { windowMask } from './window';

/** Every class by its name. */
export const maskClasses = {
  none: noneMask,
  causal: causalMask,
  window: windowMask,
  lengths: lengthsMask,
  keyPadding: keyPaddingMask,
  documents: documentsMask,
  dense: denseMask,
  and: andMask,
  or: orMask,
  not: notMask,
} as const;

/** The classes of masks that a mechanism may declare. */
export type MaskKind = Exclude<keyof typeof maskClasses, 'none' | 'and'>;
