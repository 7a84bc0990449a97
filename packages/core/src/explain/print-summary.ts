// Summaries as text.
import { checkArguments } from '../arguments';
import { printBytes } from '../onnx/print';
import { printPaths, shapeOf } from './places';
import type { Summary, SummaryRow } from './summary';

/** `1,234`, `12.3 M`: a number in four digits or fewer. */
export function printCount(n: number): string {
  const units = ['', 'k', 'M', 'G', 'T', 'P'];
  if (n < 10_000) return n.toLocaleString('en');
  const power = Math.min(units.length - 1, Math.floor(Math.log10(n) / 3));
  const digits = n / 1000 ** power;
  return `${digits >= 100 ? digits.toFixed(0) : digits.toFixed(digits >= 10 ? 1 : 2)} ${units[power]}`;
}

/** Merges rows that differ only in layer numbers; costs that are computed once for all of them are divided. */
interface Group {
  readonly name: string;
  readonly rows: readonly SummaryRow[];
}

/** A summary as text, as `onnxformers summary` prints it: repeated layers once, with the cost of one layer. */
export function printSummary(about: Summary): string {
  checkArguments('printSummary', { summary: about });
  const { root, memory, sizes } = about;
  const lines: string[][] = [['', 'block', 'parameters', 'FLOPs']];
  const add = ({ name, rows }: Group, depth: number, times: number) => {
    const each = (of: 'parameters' | 'flops'): string => {
      const numbers = rows.map((r) => r[of]);
      const mean = numbers.reduce((a, n) => a + n, 0) / rows.length;
      const uneven = numbers.some((n) => n !== numbers[0]);
      return `${times > 1 ? `${times} × ` : ''}${uneven ? '≈ ' : ''}${printCount(Math.round(mean))}`;
    };
    lines.push([`${'  '.repeat(depth)}${name || 'model'}`, rows[0]!.block ?? '', each('parameters'), each('flops')]);
    for (const group of groups(rows)) add(group, depth + 1, group.rows.length / rows.length);
  };
  add({ name: '', rows: [root] }, 0, 1);
  const widths = lines[0]!.map((_, i) => Math.max(...lines.map((l) => l[i]!.length)));
  const table = lines.map((l) =>
    l
      .map((cell, i) => (i < 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join('  ')
      .trimEnd(),
  );
  const frozen = root.parameters - root.trainable;
  const list = Object.entries(sizes).map(([name, n]) => `${name} ${n}`);
  return [
    ...table,
    '',
    `parameters  ${printCount(root.parameters)}${frozen ? ` (${printCount(frozen)} fixed)` : ''}, ${printBytes(memory.weights)}`,
    `FLOPs       ${printCount(root.flops)}${list.length ? ` for ${list.join(', ')}` : ''}`,
    `memory      weights ${printBytes(memory.weights)}, inputs ${printBytes(memory.inputs)}, activations ${printBytes(memory.activations)} at their peak (outputs ${printBytes(memory.outputs)} of it)`,
  ].join('\n');
}

// The children of equal rows; neighbours that differ only in their numbers are merged.
function groups(rows: readonly SummaryRow[]): Group[] {
  const found: { key: string; names: string[]; rows: SummaryRow[] }[] = [];
  rows[0]!.children.forEach((child, i) => {
    const key = signature(child);
    const alike = rows.map((r) => r.children[i]!);
    const last = found.at(-1);
    if (last?.key === key) {
      last.names.push(child.name);
      last.rows.push(...alike);
    } else found.push({ key, names: [child.name], rows: alike });
  });
  return found.map(({ names, rows: all }) => ({ name: printPaths(names), rows: all }));
}

const signature = ({ name, block, parameters, children }: SummaryRow): string =>
  `${shapeOf(name)} ${block} ${parameters} [${children.map(signature)}]`;
