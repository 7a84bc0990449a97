// Positional encodings and embeddings.
import { learnable } from './learnable';
import { rotary } from './rotary';
import { sine } from './sine';
import { token } from './token';
import { vocab } from './vocab';

export { learnable, rotary, sine, token, vocab };
/** All blocks of this package. */
export const blocks = [sine, vocab, learnable, token, rotary] as const;
