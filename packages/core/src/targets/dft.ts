// Limits of the runtime's DFT kernel.
import type { Node } from '../ir/graph';
import { defineReasons } from '../lower/reason';
import type { Kernel } from '../lower/target';

const own = defineReasons({
  imprecise: ({ length }: { readonly length: number | string }) =>
    `the kernel is imprecise for lengths that are not a power of two, got ${length}`,
});

/**
 * Lengths that are not a power of two are transformed through a convolution, whose float32 errors are much larger than those of products with
 * cosines and sines: 8e-3 instead of 2e-5 for a spectrum of up to 52 at 768 points.
 */
export const transforms: Partial<Kernel> = {
  accepts({ operands, attrs }: Node) {
    const length = attrs.length ?? operands[0]!.dims[attrs.axis as number];
    if (typeof length === 'number' && Number.isInteger(Math.log2(length))) return true;
    return own.imprecise({ length: length as number | string });
  },
};
