// Reports as tables of text.
import { columns } from '../output';
import { isLost, nameOf, type Report, type Row } from './report';

/** Maximum number of kernels in a line of the table. */
const most = 4;

/** A column: its head, and its cell for a row; absent from the table if it is empty in all rows. */
export interface Column {
  readonly head: string;
  cell(row: Row): string;
}

/** The columns of a report after the names of its rows, without empty ones. */
export function columnsOf(rows: readonly Row[]): readonly Column[] {
  return allColumns.filter(({ cell }) => rows.some((row) => cell(row) !== ''));
}

/** A number with so many digits, without an exponent: toPrecision writes 160 in two digits as 1.6e+2. */
export const rounded = (x: number, digits: number): string => {
  const text = x.toPrecision(digits);
  return text.includes('e+') ? x.toFixed(0) : text;
};

/** A time. That of one copy is a difference of two times, which noise can make negative. */
export const milliseconds = (x: number): string => (x > 0 ? rounded(x, 4) : '–');

const number = (x: number | undefined, text: (x: number) => string): string => (x === undefined ? '' : text(x));
const allColumns: readonly Column[] = [
  { head: 'median ms', cell: ({ median }) => milliseconds(median) },
  { head: 'spread ms', cell: (row) => `${rounded(row.spread, 2)}${isLost(row) ? ' (noise)' : ''}` },
  { head: 'TFLOP/s', cell: (row) => (isLost(row) ? '' : number(row.tflops, (x) => rounded(x, 3))) },
  { head: 'times', cell: ({ ratio }) => number(ratio, (x) => x.toFixed(2)) },
  { head: '× exact', cell: ({ faster }) => number(faster, (x) => rounded(x, 3)) },
  { head: 'processor ms', cell: ({ processor }) => number(processor, (x) => rounded(x, 4)) },
  { head: 'GFLOP', cell: ({ flops }) => number(flops, (x) => rounded(x / 1e9, 3)) },
  { head: 'largest MB', cell: ({ largest }) => number(largest, (x) => rounded(x / 1e6, 3)) },
  { head: 'peak MB', cell: ({ peak }) => number(peak, (x) => rounded(x / 1e6, 3)) },
  { head: 'padding', cell: ({ padding }) => number(padding, (x) => `${(100 * x).toFixed(1)} %`) },
  { head: 'tokens/s', cell: ({ tokensPerSecond }) => number(tokensPerSecond, (x) => Math.round(x).toLocaleString('en')) },
  { head: 'loss', cell: ({ loss }) => number(loss, (x) => x.toPrecision(6)) },
  { head: 'kernels', cell: kernelsIn },
];

/** The kernels of a row in one line: those of attention if there are any. */
export function kernelsIn({ attention, kernels }: Row): string {
  const shown = attention.length ? attention : kernels;
  return [...shown.slice(0, most), ...(shown.length > most ? [`${shown.length - most} more`] : [])].join(', ') || 'none';
}

/** `heads 8 · seq 512` */
export const settingOf = (setting: Report['setting']): string =>
  Object.entries(setting)
    .map(([key, value]) => `${key} ${String(value)}`)
    .join(' · ');

/** `cpu · onnxruntime 1.30.0 · …` */
export function environmentIn({ target, machine, versions, date }: Report): string {
  const { gpu, driver, sm, cudnn, cpu, cores } = machine;
  return [
    target,
    ...(gpu === undefined ? [] : [gpu]),
    ...(driver === undefined ? [] : [`driver ${driver}`]),
    ...(sm === undefined ? [] : [`compute capability ${(sm / 10).toFixed(1)}`]),
    ...(cudnn === undefined ? [] : [cudnn === 'none' ? 'no cuDNN' : `cuDNN ${cudnn}`]),
    `${cpu}, ${cores} cores`,
    ...Object.entries(versions).map(([name, version]) => `${name} ${version}`),
    date,
  ].join(' · ');
}

/** A report as text. */
export function printReport(report: Report): string {
  const { bench, setting, rows, leftOut } = report;
  const shown = columnsOf(rows);
  return [
    [`bench ${bench}`, settingOf(setting)].filter(Boolean).join(' · '),
    environmentIn(report),
    columns([['', ...shown.map(({ head }) => head)], ...rows.map((row) => [nameOf(row), ...shown.map(({ cell }) => cell(row))])]),
    ...leftOut.map(({ name, reason }) => `not measured: ${name}: ${reason}`),
  ].join('\n');
}
