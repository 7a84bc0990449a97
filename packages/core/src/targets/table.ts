// A target made from the probed table of its provider; restrictions and costs of kernels on a machine are added by hand.
import type { Fusions } from '../lower/fusions';
import type { Kernel, Target } from '../lower/target';
import { type DType, isFloat } from '../tensor/tensor';
import { advise } from './advice';

/** dtypes with a kernel on the provider, and those that it runs on the CPU. */
interface Row {
  readonly own: string;
  readonly cpu?: string;
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
  /** Older versions of the runtime: the kernels that differ, null if there is no kernel, and all fusions. */
  readonly older: readonly {
    readonly runtime: string;
    readonly kernels: { readonly [row: string]: Row | null };
    readonly fusions: FusionRows;
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
  const on = (runtime: string, kernels: Readonly<Record<string, Row | null>>, fusions: FusionRows): Target => ({
    advise,
    ...about,
    runtime,
    fusions: fusionsIn(fusions),
    kernels: kernelsIn(kernels, special, leftToCpu),
  });
  const older = table.older.map(({ runtime, kernels, fusions }) =>
    Object.freeze(on(runtime, { ...table.kernels, ...kernels }, fusions)),
  );
  return Object.freeze({ ...on(table.runtime, table.kernels, table.fusions), older });
}

/** Fusions that go wrong, from the rows of a table, or of several together. */
export function fusionsIn(...tables: readonly FusionRows[]): Fusions {
  const fusions: Record<string, readonly DType[]> = {};
  for (const table of tables)
    for (const [fusion, text] of Object.entries(table)) fusions[fusion] = union(fusions[fusion], dtypesIn(text));
  return fusions;
}

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
