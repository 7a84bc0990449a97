// The classes of masks. To add one: its file, and a line here.
import { andMask } from './and';
import { blocksMask } from './blocks';
import { causalMask } from './causal';
import { causalFromTopLeftMask } from './causal-from-top-left';
import { denseMask } from './dense';
import { dilatedMask } from './dilated';
import { documentIdsMask } from './document-ids';
import { documentsMask } from './documents';
import { expressionMask } from './expression';
import { globalMask } from './global-tokens';
import { keyPaddingMask } from './key-padding';
import { keyStartsMask } from './key-starts';
import { lengthsMask } from './lengths';
import { noneMask } from './none';
import { notMask } from './not';
import { orMask } from './or';
import { prefixMask } from './prefix';
import { randomMask } from './random-pairs';
import { windowMask } from './window';
import { windowFromTopLeftMask } from './window-from-top-left';

/** Every class by its name. */
export const maskClasses = {
  none: noneMask,
  causal: causalMask,
  causalFromTopLeft: causalFromTopLeftMask,
  window: windowMask,
  windowFromTopLeft: windowFromTopLeftMask,
  dilated: dilatedMask,
  prefix: prefixMask,
  global: globalMask,
  blocks: blocksMask,
  random: randomMask,
  lengths: lengthsMask,
  keyStarts: keyStartsMask,
  keyPadding: keyPaddingMask,
  documents: documentsMask,
  documentIds: documentIdsMask,
  dense: denseMask,
  expression: expressionMask,
  and: andMask,
  or: orMask,
  not: notMask,
} as const;

/** The classes of masks that a mechanism may declare. */
export type MaskKind = Exclude<keyof typeof maskClasses, 'none' | 'and'>;
