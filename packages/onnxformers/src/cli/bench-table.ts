// Prints figures as a table and as JSON.
import { columns, type Output } from './output';

/** One row of the result. */
export interface Row {
  readonly kind: string;
  readonly block: string;
  /** The target, and whether kernels were excluded. */
  readonly name: string;
  readonly decomposed: boolean;
  /** Milliseconds. */
  readonly median: number;
  readonly spread: number;
  readonly tflops?: number;
  readonly kernels: readonly string[];
}

/** True if a slope is smaller than its noise. */
const isLost = ({ median, spread }: Row): boolean => !(spread <= median / 2);

/** Maximum number of kernels in a line of the table. */
const most = 4;

/** A block that was skipped in a sweep, and why. */
export interface LeftOut {
  readonly kind: string;
  readonly block: string;
  readonly reason: string;
}

/** Prints the measurements. */
export function printFigures(
  output: Output,
  rows: readonly Row[],
  leftOut: readonly LeftOut[],
  about: Readonly<Record<string, unknown>>,
): void {
  const several = new Set(rows.map((r) => `${r.kind} ${r.block}`)).size > 1;
  const label = (r: Row): string => (several ? `${r.kind} ${r.block}${r.decomposed ? ', decomposed' : ''}` : r.name);
  const lost = rows.filter(isLost);
  if (lost.length)
    output.note(
      `lost in noise, the spread is more than half of the time: ${lost.map(label).join(' · ')}; measure larger sizes, or more copies (--more) more often (--repeat)`,
    );
  const compared = withRatios(rows);
  const ratios = compared.some((r) => r.ratio !== undefined);
  const cells = (r: Row & { readonly ratio?: number }): string[] => [
    label(r),
    r.median.toPrecision(4),
    r.spread.toPrecision(2),
    isLost(r) ? 'noise' : (r.tflops?.toPrecision(3) ?? ''),
    ...(ratios ? [r.ratio?.toFixed(2) ?? ''] : []),
    shown(r.kernels),
  ];
  output.result(
    () =>
      [
        Object.entries(about)
          .map(([key, value]) => `${key} ${String(value)}`)
          .join(' · '),
        columns([['', 'median ms', 'spread ms', 'TFLOP/s', ...(ratios ? ['times'] : []), 'kernels'], ...compared.map(cells)]),
        ...leftOut.map(({ kind, block, reason }) => `not measured: ${kind} ${block}: ${reason}`),
      ].join('\n'),
    { ...about, rows: compared.map((r) => ({ ...r, lostInNoise: isLost(r) })), leftOut },
  );
}

/** Ratio of a decomposed row to the row before it, if neither is lost in noise. */
function withRatios(rows: readonly Row[]): readonly (Row & { readonly ratio?: number })[] {
  return rows.map((row, i) => {
    const before = rows[i - 1];
    const known = row.decomposed && before && ![row, before].some(isLost);
    return known ? { ...row, ratio: row.median / before.median } : row;
  });
}

const shown = (kernels: readonly string[]): string =>
  [...kernels.slice(0, most), ...(kernels.length > most ? [`${kernels.length - most} more`] : [])].join(', ') || 'none';
