// A target from the probed table of its provider, with what a kernel takes and costs on a machine added by hand.
import type { Kernel, Target } from '../lower/target';
import { type DType, isFloat } from '../tensor/tensor';
import { advise } from './advice';

/** The probed table of one provider; see `kernels.generated.ts`. */
export interface KernelTable {
  readonly runtime: string;
  readonly kernels: { readonly [key: string]: { readonly own: string; readonly cpu?: string } };
}

interface Definition extends Omit<Target, 'kernels'> {
  readonly table: KernelTable;
  /** Ops that may run on the CPU on floats too. */
  readonly leftToCpu?: readonly string[];
  /** What the table cannot say of a kernel, by key. */
  readonly special: Readonly<Record<string, Partial<Kernel>>>;
}

/** A target. Integers and bools may run on the CPU beside the provider (shapes, positions, masks); floats need a kernel of its own. */
/* @__NO_SIDE_EFFECTS__ */
export function defineTarget({ table, special, leftToCpu = [], ...about }: Definition): Target {
  const rows = Object.entries(table.kernels).map(([key, { own, cpu }]): [string, Kernel] => {
    const beside = dtypesIn(cpu).filter((d) => !isFloat(d) || leftToCpu.includes(key));
    return [key, { dtypes: [...dtypesIn(own), ...beside], ...(beside.length && { beside }), ...special[key] }];
  });
  return Object.freeze({ advise, ...about, kernels: Object.fromEntries(rows.filter(([, kernel]) => kernel.dtypes.length)) });
}

/** Two kernels for one meaning, as fast as each other: that of the standard, if its opset is there. */
export const rotary: Readonly<Record<string, Partial<Kernel>>> = {
  RotaryEmbedding: { cost: () => 0 },
  'com.microsoft.RotaryEmbedding': { cost: () => 1 },
};

const dtypesIn = (text = ''): readonly DType[] => text.split(' ').filter((d) => d !== '') as DType[];
