// A target's kernels from the probed table, with what a kernel takes and costs on a machine added by hand.
import type { Kernel } from '../lower/target';
import { type DType, isFloat } from '../tensor';

/** The probed table of one provider; see `kernels.generated.ts`. */
export interface KernelTable {
  readonly runtime: string;
  readonly kernels: { readonly [key: string]: { readonly own: string; readonly cpu?: string } };
}

const dtypesIn = (text = ''): readonly DType[] => text.split(' ').filter((d) => d !== '') as DType[];

/**
 * The kernels of a provider. Integers and bools may run on the CPU beside it (shapes, positions, masks); floats must have a kernel of its
 * own.
 */
export function kernelsOf(table: KernelTable, special: Readonly<Record<string, Partial<Kernel>>> = {}): Readonly<Record<string, Kernel>> {
  const rows = Object.entries(table.kernels).map(([key, { own, cpu }]): [string, Kernel] => {
    const beside = dtypesIn(cpu).filter((d) => !isFloat(d));
    return [key, { dtypes: [...dtypesIn(own), ...beside], ...(beside.length && { beside }), ...special[key] }];
  });
  return Object.fromEntries(rows.filter(([, kernel]) => kernel.dtypes.length));
}
