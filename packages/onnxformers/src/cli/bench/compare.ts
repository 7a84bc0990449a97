// Two reports side by side: the ratio of their times row by row, and what else differs.
import { describe, FileError } from '@onnxformers/core';
import { columns } from '../output';
import { type Page, printPage } from './page';
import { environmentIn, kernelsIn, milliseconds, rounded } from './print';
import { isLost, nameOf, type Report, type Row } from './report';
import { barChart } from './svg';

/** A row of both reports. */
export interface ComparedRow {
  readonly name: string;
  readonly before: number;
  readonly after: number;
  /** after ÷ before; undefined if one of them is lost in noise. */
  readonly ratio?: number;
  /** Whether the times differ by more than both spreads together. */
  readonly differs: boolean;
  readonly kernels: string;
  /** The kernels before, if they were others. */
  readonly kernelsBefore?: string;
}

/** Two reports of one benchmark. */
export interface Comparison {
  readonly bench: Report['bench'];
  readonly rows: readonly ComparedRow[];
  /** What else differs: `versions.onnxruntime: 1.29.0 → 1.30.0`. */
  readonly changed: readonly string[];
  readonly onlyBefore: readonly string[];
  readonly onlyAfter: readonly string[];
}

/**
 * Compares two reports.
 *
 * @throws FileError when they are of different benchmarks, or have no row in common
 */
export function compare(before: Report, after: Report, paths: readonly [string, string]): Comparison {
  if (before.bench !== after.bench)
    throw new FileError({
      path: paths[1],
      problem: 'the reports are of different benchmarks',
      expected: `bench ${before.bench}, as in ${paths[0]}`,
      got: `bench ${after.bench}`,
    });
  const known = new Map(before.rows.map((row) => [nameOf(row), row]));
  const both = after.rows.flatMap((row) => {
    const old = known.get(nameOf(row));
    return old ? [[old, row] as const] : [];
  });
  if (!both.length)
    throw new FileError({
      path: paths[1],
      problem: 'the reports have no row in common',
      expected: `rows such as ${describe(nameOf(before.rows[0] ?? { subject: '' }))}`,
      got: after.rows.map(nameOf).join(' · ') || 'no rows',
    });
  const names = new Set(both.map(([, row]) => nameOf(row)));
  const others = ({ rows }: Report): string[] => rows.map(nameOf).filter((name) => !names.has(name));
  return {
    bench: after.bench,
    rows: both.map(([old, row]) => comparedRow(old, row)),
    changed: changesOf(before, after),
    onlyBefore: others(before),
    onlyAfter: others(after),
  };
}

function comparedRow(old: Row, row: Row): ComparedRow {
  const [kernelsBefore, kernels] = [kernelsIn(old), kernelsIn(row)];
  const lost = isLost(old) || isLost(row);
  return {
    name: nameOf(row),
    before: old.median,
    after: row.median,
    ...(!lost && { ratio: row.median / old.median }),
    differs: !lost && Math.abs(row.median - old.median) > old.spread + row.spread,
    kernels,
    ...(kernelsBefore !== kernels && { kernelsBefore }),
  };
}

const entriesOf = ({ setting, target, machine, versions, date }: Report): Map<string, string> => {
  const groups = { setting, machine, versions } as const;
  const inGroups = Object.entries(groups).flatMap(([group, entries]) =>
    Object.entries(entries).map(([key, value]) => [`${group}.${key}`, String(value)] as const),
  );
  return new Map([['target', target], ...inGroups, ['date', date]]);
};

function changesOf(before: Report, after: Report): string[] {
  const [a, b] = [entriesOf(before), entriesOf(after)];
  return [...new Set([...a.keys(), ...b.keys()])]
    .filter((key) => a.get(key) !== b.get(key))
    .map((key) => `${key}: ${a.get(key) ?? 'none'} → ${b.get(key) ?? 'none'}`);
}

const heads = ['', 'before ms', 'after ms', 'ratio', 'kernels'] as const;
const cellsOf = (row: ComparedRow): string[] => [
  row.name,
  milliseconds(row.before),
  milliseconds(row.after),
  row.ratio === undefined ? 'noise' : `${row.ratio.toFixed(3)}${row.differs ? '' : ' (within the spread)'}`,
  row.kernelsBefore === undefined ? row.kernels : `${row.kernelsBefore} → ${row.kernels}`,
];

const notesOf = ({ onlyBefore, onlyAfter }: Comparison): string[] => [
  ...(onlyBefore.length ? [`only before: ${onlyBefore.join(' · ')}`] : []),
  ...(onlyAfter.length ? [`only after: ${onlyAfter.join(' · ')}`] : []),
];

/** A comparison as text. */
export function printComparison(comparison: Comparison): string {
  const { bench, rows, changed } = comparison;
  return [
    `bench ${bench}, two reports`,
    ...changed.map((change) => `changed: ${change}`),
    columns([heads, ...rows.map(cellsOf)]),
    ...notesOf(comparison),
  ].join('\n');
}

/** A comparison as a page. */
export function comparisonPage(comparison: Comparison, [before, after]: readonly [Report, Report]): string {
  const { bench, rows, changed } = comparison;
  const page: Page = {
    title: `onnxformers bench ${bench}: two reports`,
    lines: [
      `before: ${environmentIn(before)}`,
      `after: ${environmentIn(after)}`,
      ...changed.map((change) => `changed: ${change}`),
    ],
    charts: [
      barChart({
        title: `bench ${bench}, before and after`,
        axis: 'milliseconds; less is better',
        series: ['before', 'after'],
        rows: rows.map((row) => ({
          label: row.name,
          values: row.ratio === undefined ? [undefined, undefined] : [row.before, row.after],
          notes: [
            `${rounded(row.before, 3)}  ${row.kernelsBefore ?? row.kernels}`,
            `${rounded(row.after, 3)}  ${row.kernels}  × ${row.ratio?.toFixed(2)}`,
          ],
        })),
      }),
    ],
    table: { heads, rows: rows.map(cellsOf) },
    notes: notesOf(comparison),
    json: comparison,
  };
  return printPage(page);
}
