/**
 * Tables and a picture for docs/benchmarks.md from reports of `bench zoo`:
 *
 *     npx tsx --conditions=@onnxformers/source scripts/zoo-page.ts PICTURE.svg REPORT.json [REPORT.json …]
 *
 * A row of a later report replaces the same row of an earlier one, and its × exact is that of its own run. Prints a table in Markdown.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { isLost, type Report, type Row } from '../packages/onnxformers/src/cli/bench/report';
import { zooChart } from '../packages/onnxformers/src/cli/bench/zoo-chart';

/** What the picture shows: more lines could not be told apart. */
const drawn = [
  'exact',
  'exact, causal',
  'linformer',
  'local',
  'local, causal',
  'blocksparse, 10 % of the blocks',
  'blocksparse, big bird',
  'global',
  'random, 1 % of the keys',
  'nystrom',
  'favor',
  'linear_attention',
  'gated_delta_net',
  'mamba2',
];

const [picture = '', ...files] = process.argv.slice(2);
const reports = files.map((file) => JSON.parse(readFileSync(file, 'utf8')) as Report);
const rows = new Map(reports.flatMap((report) => report.rows).map((row) => [`${row.subject} ${row.seq}`, row] as const));
const all = [...rows.values()];
writeFileSync(picture, zooChart({ target: reports[0]!.target, rows: all.filter(({ subject }) => drawn.includes(subject)) }));

const lengths = [...new Set(all.map(({ seq }) => seq!))].sort((a, b) => a - b);
const number = (x: number): string => (x >= 1000 ? String(Math.round(x)) : String(Number(x.toPrecision(3))));
const cell = (row: Row | undefined): string => {
  if (!row) return '–';
  const faster = row.faster === undefined ? '' : ` (${number(row.faster)})`;
  return `${number(row.median)}${isLost(row) ? ' *' : ''}${faster}`;
};
const last = (subject: string): Row => all.filter((row) => row.subject === subject).sort((a, b) => b.seq! - a.seq!)[0]!;
const table = [
  [
    'mechanism',
    ...lengths.map((n) => n.toLocaleString('en')),
    'GFLOP',
    'largest MB',
    ...(all.some(({ peak }) => peak) ? ['peak MB'] : []),
  ],
  ...[...new Set(all.map(({ subject }) => subject))].map((subject) => {
    const at = rows.get(`${subject} 8192`) ?? last(subject);
    return [
      subject,
      ...lengths.map((n) => cell(rows.get(`${subject} ${n}`))),
      number((at.flops ?? 0) / 1e9),
      number((at.largest ?? 0) / 1e6),
      ...(at.peak ? [number(at.peak / 1e6)] : []),
    ];
  }),
];
const widths = table[0]!.map((_, i) => Math.max(...table.map((row) => (row[i] ?? '').length)));
const line = (row: readonly string[]): string => `| ${widths.map((w, i) => (row[i] ?? '').padEnd(w)).join(' | ')} |`;
const [head, ...body] = table as [string[], ...string[][]];
process.stdout.write([line(head), line(widths.map((w) => '-'.repeat(w))), ...body.map(line), ''].join('\n'));
