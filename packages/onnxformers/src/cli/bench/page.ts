// A report as one page of HTML that needs nothing else: its charts, its table, and the report itself as JSON.

import { escaped } from '../../picture/svg';
import { columnsOf, environmentIn, rounded, settingOf } from './print';
import { isLost, nameOf, type Report, type Row } from './report';
import { barChart } from './svg';
import { zooChart } from './zoo-chart';

/** A page: a heading, lines of text, pictures and a table. */
export interface Page {
  readonly title: string;
  readonly lines: readonly string[];
  /** Pictures in SVG. */
  readonly charts: readonly string[];
  readonly table: { readonly heads: readonly string[]; readonly rows: readonly (readonly string[])[] };
  readonly notes: readonly string[];
  /** What the page shows. */
  readonly json: unknown;
}

const style = `<style>
  body { font: 15px/1.5 Helvetica, Arial, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #1d2326; background: #fff; }
  h1 { font-size: 1.4rem; } svg { max-width: 100%; height: auto; display: block; margin: 1.5rem 0; }
  .wide { overflow-x: auto; } table { border-collapse: collapse; } th, td { padding: .3rem .8rem .3rem 0; text-align: right; white-space: nowrap; }
  th:first-child, td:first-child, th:last-child, td:last-child { text-align: left; } th { border-bottom: 1px solid #9aa3a7; font-weight: 600; }
  .small { color: #626b70; }
  @media (prefers-color-scheme: dark) { body { color: #e6e9ea; background: #0d1112; } .small { color: #98a2a7; } }
</style>`;

/** The text of a page. */
export function printPage({ title, lines, charts, table, notes, json }: Page): string {
  const row = (tag: string, cells: readonly string[]): string =>
    `<tr>${cells.map((cell) => `<${tag}>${escaped(cell)}</${tag}>`).join('')}</tr>`;
  return [
    '<!doctype html>',
    '<html lang="en">',
    `<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escaped(title)}</title>`,
    style,
    '</head>',
    '<body>',
    `<h1>${escaped(title)}</h1>`,
    ...lines.map((line) => `<p class="small">${escaped(line)}</p>`),
    ...charts,
    '<div class="wide"><table>',
    `<thead>${row('th', table.heads)}</thead>`,
    '<tbody>',
    ...table.rows.map((cells) => row('td', cells)),
    '</tbody></table></div>',
    ...notes.map((note) => `<p class="small">${escaped(note)}</p>`),
    // A script ends at the first "</", whatever it contains.
    `<script type="application/json" id="report">${JSON.stringify(json).replaceAll('<', '\\u003c')}</script>`,
    '</body>',
    '</html>\n',
  ].join('\n');
}

/** The page of a report. */
export function pageOf(report: Report): string {
  const { bench, setting, rows, leftOut } = report;
  const shown = columnsOf(rows);
  return printPage({
    title: `onnxformers bench ${bench}`,
    lines: [settingOf(setting), environmentIn(report)].filter(Boolean),
    charts: chartsOf(report),
    table: {
      heads: ['', ...shown.map(({ head }) => head)],
      rows: rows.map((row) => [nameOf(row), ...shown.map(({ cell }) => cell(row))]),
    },
    notes: leftOut.map(({ name, reason }) => `Not measured: ${name}: ${reason}`),
    json: report,
  });
}

/** The charts of a report: times by length of mechanisms; of others tokens per second where they are known, otherwise times. Rows that are lost in noise are left out. */
export function chartsOf(report: Report): readonly string[] {
  const { bench, rows } = report;
  if (bench === 'zoo') return rows.length ? [zooChart(report)] : [];
  const kept = rows.filter((row) => !isLost(row));
  if (!kept.length) return [];
  const byTokens = kept.every(({ tokensPerSecond }) => tokensPerSecond !== undefined);
  const value = (row: Row): number => (byTokens ? row.tokensPerSecond! : row.median);
  const note = (row: Row): string =>
    [byTokens ? Math.round(value(row)).toLocaleString('en') : rounded(value(row), 3), row.attention.join(', ')]
      .filter(Boolean)
      .join('  ');
  const series = [...new Set(kept.map(({ variant = '' }) => variant))];
  const subjects = [...new Set(kept.map(({ subject }) => subject))];
  return [
    barChart({
      title: `onnxformers bench ${bench}`,
      axis: byTokens ? 'real tokens per second; more is better' : 'milliseconds; less is better',
      series,
      rows: subjects.map((subject) => {
        const found = series.map((variant) => kept.find((row) => row.subject === subject && (row.variant ?? '') === variant));
        return {
          label: subject,
          values: found.map((row) => row && value(row)),
          notes: found.map((row) => (row ? note(row) : '')),
        };
      }),
    }),
  ];
}
