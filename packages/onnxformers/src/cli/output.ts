// The output of commands: results to one stream, progress and notes to the other.
import { type Progress, printBytes } from '@onnxformers/core';

/** A stream of text, and whether it is a terminal. */
export interface Stream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

/** `30 % of 2.0 GiB` */
export const progressText = ({ fraction, bytes }: Progress): string =>
  `${Math.floor(100 * fraction)} %${bytes === undefined ? '' : ` of ${printBytes(bytes)}`}`;

/** What a command may print. */
export interface Output {
  /** A result, as text or as JSON. */
  result(text: string | (() => string), json: unknown): void;
  /** A note for people. */
  note(text: string): void;
  /** Shows progress in one line that is removed later; only on a terminal. */
  progress(text: string): void;
  /** Removes that line. */
  clear(): void;
}

/** An output on two streams. */
export function outputOn(out: Stream, err: Stream, json: boolean): Output {
  let shown = false;
  const clear = () => {
    if (shown) err.write('\r\u001b[K');
    shown = false;
  };
  return {
    result(text, data) {
      clear();
      out.write(`${json ? JSON.stringify(data, plain, 2) : typeof text === 'function' ? text() : text}\n`);
    },
    note(text) {
      clear();
      if (!json) err.write(`${text}\n`);
    },
    progress(text) {
      if (!err.isTTY || process.env.TERM === 'dumb') return;
      // A terminal of unknown width reports 0.
      err.write(`\r\u001b[K${text.slice(0, (err.columns || 80) - 1)}`);
      shown = true;
    },
    clear,
  };
}

// Values that JSON cannot represent.
function plain(_: string, value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (value instanceof Map) return Object.fromEntries(value);
  return value instanceof Set ? [...value] : value;
}

/** Rows as aligned columns; the last column is not padded. */
export function columns(rows: readonly (readonly string[])[], indent = '  '): string {
  const widths = rows.reduce<number[]>((all, row) => row.map((cell, i) => Math.max(cell.length, all[i] ?? 0)), []);
  return rows
    .map((row) =>
      `${indent}${row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i]!))).join('  ')}`.trimEnd(),
    )
    .join('\n');
}
