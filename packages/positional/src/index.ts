// Positional encodings and embeddings.
import { axialRotary } from './axial-rotary';
import { alibi, alibiSlopes } from './bias/alibi';
import { disentangled } from './bias/disentangled';
import { swinRelative } from './bias/swin-relative';
import { t5Relative } from './bias/t5-relative';
import { classToken } from './class-token';
import { convStem } from './conv-stem';
import { learnable } from './learnable';
import { mergePatches } from './merge-patches';
import { multiSectionRotary } from './multi-section-rotary';
import { patch } from './patch';
import { rotary } from './rotary';
import { sine } from './sine';
import { token } from './token';
import { vocab } from './vocab';
import { waveformStem } from './waveform-stem';
import { xpos } from './xpos';

export {
  alibi,
  alibiSlopes,
  axialRotary,
  classToken,
  convStem,
  disentangled,
  learnable,
  mergePatches,
  multiSectionRotary,
  patch,
  rotary,
  sine,
  swinRelative,
  t5Relative,
  token,
  vocab,
  waveformStem,
  xpos,
};
/** All blocks of this package. */
export const blocks = [
  sine,
  vocab,
  learnable,
  classToken,
  token,
  patch,
  convStem,
  waveformStem,
  mergePatches,
  rotary,
  axialRotary,
  multiSectionRotary,
  xpos,
  alibi,
  t5Relative,
  swinRelative,
  disentangled,
] as const;
