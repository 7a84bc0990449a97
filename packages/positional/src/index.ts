// Positional encodings and embeddings.
import { alibi, alibiSlopes } from './bias/alibi';
import { t5Relative } from './bias/t5-relative';
import { learnable } from './learnable';
import { mergePatches } from './merge-patches';
import { patch } from './patch';
import { rotary } from './rotary';
import { sine } from './sine';
import { token } from './token';
import { vocab } from './vocab';

export { alibi, alibiSlopes, learnable, mergePatches, patch, rotary, sine, t5Relative, token, vocab };
/** All blocks of this package. */
export const blocks = [sine, vocab, learnable, token, patch, mergePatches, rotary, alibi, t5Relative] as const;
