// A target made from the probed table of its provider; restrictions and costs of kernels on a machine are added by hand.
import type { Fusions } from '../lower/fusions';
import type { KernelLimits } from '../lower/kernel-limits';
import type { Kernel, Target } from '../lower/target';
import { type DType, isFloat } from '../tensor/tensor';
import { advise } from './advice';

/** dtypes with a kernel on the provider, and those that it runs on the CPU. */
interface Row {
  readonly own: string;
  readonly cpu?: string;
  /** Those of a kernel that is wrong, which is not used. */
  readonly wrong?: string;
}

/** The dtypes in which a fusion of the runtime fails or is less precise, by its name. */
interface FusionRows {
  readonly [fusion: string]: string;
}

/** The probed table of one provider; see `kernels.generated.ts`. A key is that of an op, followed by a space and the form of the op if it has forms. */
export interface KernelTable {
  readonly runtime: string;
  readonly kernels: { readonly [row: string]: Row };
  readonly fusions: FusionRows;
  /** What kernels refuse or compute wrongly, by op. */
  readonly limits: Readonly<Record<string, KernelLimits>>;
  /** Older versions of the runtime: the kernels that differ, null if there is no kernel, and all fusions and limits. */
  readonly older: readonly {
    readonly runtime: string;
    readonly kernels: { readonly [row: string]: Row | null };
    readonly fusions: FusionRows;
    readonly limits: Readonly<Record<string, KernelLimits>>;
  }[];
}

interface Definition extends Omit<Target, 'kernels' | 'runtime' | 'older'> {
  readonly table: KernelTable;
  /** Ops that may run on the CPU for floats too. */
  readonly leftToCpu?: readonly string[];
  /** What the table does not contain, by key. */
  readonly special: Readonly<Record<string, Partial<Kernel>>>;
}

/** A target. Nodes on integers and bools may run on the CPU (shapes, positions, masks); floats need a kernel of the provider. */
/* @__NO_SIDE_EFFECTS__ */
export function defineTarget({ table, special, leftToCpu = [], ...about }: Definition): Target {
  type Version = Pick<KernelTable, 'runtime' | 'fusions' | 'limits'>;
  const on = ({ runtime, fusions, limits }: Version, rows: Readonly<Record<string, Row | null>>): Target => ({
    advise,
    ...about,
    runtime,
    fusions: fusionsIn(fusions),
    kernels: limited(kernelsIn(rows, special, leftToCpu), limits),
  });
  const older = table.older.map((version) => Object.freeze(on(version, { ...table.kernels, ...version.kernels })));
  return Object.freeze({ ...on(table, table.kernels), older });
}

/** Fusions that go wrong, from the rows of a table, or of several together. */
export function fusionsIn(...tables: readonly FusionRows[]): Fusions {
  const fusions: Record<string, readonly DType[]> = {};
  for (const table of tables)
    for (const [fusion, text] of Object.entries(table)) fusions[fusion] = union(fusions[fusion], dtypesIn(text));
  return fusions;
}

/** Kernels with their limits. */
export const limited = (
  kernels: Readonly<Record<string, Kernel>>,
  limits: KernelTable['limits'],
): Readonly<Record<string, Kernel>> =>
  Object.fromEntries(
    Object.entries(kernels).map(([key, kernel]) => [key, limits[key] ? { ...kernel, limits: limits[key] } : kernel]),
  );

function kernelsIn(
  table: Readonly<Record<string, Row | null>>,
  special: Definition['special'],
  leftToCpu: readonly string[],
): Readonly<Record<string, Kernel>> {
  const kernels = new Map<string, Kernel>();
  for (const [row, dtypes] of Object.entries(table)) {
    if (!dtypes) continue;
    const [key, form] = parts(row);
    const onCpu = dtypesIn(dtypes.cpu).filter((d) => !isFloat(d) || leftToCpu.includes(key));
    const own = { dtypes: [...dtypesIn(dtypes.own), ...onCpu], ...(onCpu.length && { onCpu }) };
    if (!own.dtypes.length && !special[key]?.dtypes) continue;
    const known = kernels.get(key);
    const forms = form === undefined ? undefined : { ...known?.forms, [form]: own };
    const all = { dtypes: union(known?.dtypes, own.dtypes), onCpu: union(known?.onCpu, onCpu) };
    kernels.set(key, {
      dtypes: all.dtypes,
      ...(all.onCpu.length && { onCpu: all.onCpu }),
      ...(forms && { forms }),
      ...special[key],
    });
  }
  return Object.fromEntries(kernels);
}

// `ScatterND reduction=add`: the key of an op, and its form.
function parts(row: string): readonly [key: string, form: string | undefined] {
  const at = row.indexOf(' ');
  return at < 0 ? [row, undefined] : [row.slice(0, at), row.slice(at + 1)];
}
const union = (a: readonly DType[] = [], b: readonly DType[] = []): readonly DType[] => [...new Set([...a, ...b])];

/** Two kernels for one op that are equally fast: the standard's is preferred if the opset has it. */
export const rotary: Readonly<Record<string, Partial<Kernel>>> = {
  RotaryEmbedding: { cost: () => 0 },
  'com.microsoft.RotaryEmbedding': { cost: () => 1 },
};

const dtypesIn = (text = ''): readonly DType[] => text.split(' ').filter((d) => d !== '') as DType[];
