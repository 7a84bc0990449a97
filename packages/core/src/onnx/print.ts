// Inspections as text.
import { checkArguments } from '../arguments';
import type { InspectedOp, InspectedValue, Inspection } from './inspect';

const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];

/** `17 bytes`, `3.2 GiB`. */
export function printBytes(n: number): string {
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log2(Math.max(1, n)) / 10)));
  return `${power ? (n / 1024 ** power).toFixed(1) : n} ${units[power]}`;
}

const grouped = (n: number): string => n.toLocaleString('en');
/** Text of a foreign file in one line, without control characters that a terminal would interpret. */
const plain = (text: string): string => (text.length > 200 ? `${text.slice(0, 199)}…` : text).replace(/\p{Cc}+/gu, ' ');
const plural = (n: number, noun: string): string => `${grouped(n)} ${noun}${n === 1 ? '' : 's'}`;

/** Rows as aligned columns, indented; the last column has any width. */
function table(rows: readonly (readonly string[])[]): string[] {
  const cells = rows.map((row) => row.map(plain));
  const widths = cells.reduce<number[]>((all, row) => row.map((cell, i) => Math.max(cell.length, all[i] ?? 0)), []);
  return cells.map((row) => `  ${row.map((cell, i) => cell.padEnd(widths[i]!)).join('  ')}`.trimEnd());
}

const printValue = ({ name, type, dims }: InspectedValue): string[] => [
  name,
  dims ? `${type}[${dims.map((d) => (d === '' ? '?' : d)).join(', ')}]` : type,
];

/** Block paths with their counts, layers merged: `layers.*.mixer ×24`. */
function printPaths({ paths }: InspectedOp): string {
  const counts = new Map<string, number>();
  for (const [path, count] of Object.entries(paths)) {
    const pattern = path.replace(/(?<=^|[./])\d+(?=$|[./])/g, '*');
    if (pattern) counts.set(pattern, (counts.get(pattern) ?? 0) + count);
  }
  const patterns = [...counts]
    .sort(([, a], [, b]) => b - a)
    .map(([pattern, count]) => (count > 1 ? `${pattern} ×${count}` : pattern));
  const shown = 4;
  return [...patterns.slice(0, shown), ...(patterns.length > shown ? [`and ${patterns.length - shown} more`] : [])].join(', ');
}

/** An inspection as text, as `onnxformers inspect` prints it. */
export function printInspection(about: Inspection): string {
  checkArguments('printInspection', { inspection: about });
  const opsets = Object.entries(about.opsets).map(([domain, version]) => (domain ? `${domain} ${version}` : `opset ${version}`));
  const bytes = about.initializers.reduce((n, i) => n + i.bytes, 0);
  const inside = about.subgraphs > 0 ? ` (also in ${plural(about.subgraphs, 'subgraph')})` : '';
  const section = (title: string, rows: readonly (readonly string[])[]): string[] =>
    rows.length > 0 ? ['', title, ...table(rows)] : [];
  return [
    [
      'ONNX model',
      `IR version ${about.irVersion}`,
      ...opsets.map(plain),
      ...(about.producer ? [`by ${plain(about.producer)}`] : []),
    ].join(' · '),
    `${plural(about.nodes, 'node')}${inside}, ${plural(about.parameters, 'parameter')}, ${printBytes(bytes)} of initializers`,
    ...(about.doc ? [plain(about.doc)] : []),
    ...section('inputs', about.inputs.map(printValue)),
    ...section('outputs', about.outputs.map(printValue)),
    ...section(
      'ops',
      about.ops.map((op) => [grouped(op.count), op.domain ? `${op.domain}.${op.opType}` : op.opType, printPaths(op)]),
    ),
    ...section(
      'initializers',
      about.initializers.map((i) => [i.type, plural(i.tensors, 'tensor'), plural(i.elements, 'element'), printBytes(i.bytes)]),
    ),
    ...section(
      'external files',
      about.externalFiles.map((f) => [f.location, plural(f.tensors, 'tensor'), printBytes(f.bytes), f.problem ?? '']),
    ),
    ...section(
      'functions',
      about.functions.map((name) => [name]),
    ),
    ...section('metadata', Object.entries(about.metadata)),
  ].join('\n');
}
