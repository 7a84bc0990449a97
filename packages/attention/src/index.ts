// Attention mechanisms and mixers.
import { multiHead } from './mixers/multi-head';
import { scaledDotProduct } from './scaled-dot-product';

export { multiHead, scaledDotProduct };
/** All blocks of this package. */
export const blocks = [scaledDotProduct, multiHead] as const;
