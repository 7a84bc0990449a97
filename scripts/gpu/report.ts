// The output of the checks: tables, PASS and FAIL, and the runtime's own log of placement and kernels.
import { spawnSync } from 'node:child_process';
import { writeSync } from 'node:fs';

/** Prints PASS or FAIL; a FAIL makes the process end with 1. */
export function check(name: string, ok: boolean, detail = ''): void {
  if (!ok) process.exitCode = 1;
  process.stdout.write(`${ok ? 'PASS' : 'FAIL'} ${name}${detail && ` (${detail})`}\n`);
}

/** Prints rows as columns of equal width. */
export function table(rows: readonly (readonly (string | number)[])[]): void {
  const text = rows.map((row) => row.map(String));
  const widths = text[0]!.map((_, i) => Math.max(...text.map((row) => row[i]!.length)));
  for (const row of text)
    process.stdout.write(
      `${row
        .map((cell, i) => cell.padEnd(widths[i]!))
        .join('  ')
        .trimEnd()}\n`,
    );
}

/** Marks what belongs together in a log. */
export function section(name: string): void {
  for (const fd of [1, 2]) writeSync(fd, `\n@@ ${name}\n`);
}
/** A result inside of a section. */
export const result = (x: unknown): void => void writeSync(1, `\n@= ${JSON.stringify(x)}\n`);

/** What a job said in one section. */
export interface Section {
  readonly name: string;
  /** Attention nodes by the kernel that ran, as the runtime printed it. */
  readonly kernels: Readonly<Record<string, number>>;
  /** Nodes that the runtime left to the CPU. */
  readonly onCpu: readonly string[];
  readonly result: unknown;
}

/** Runs a job of this script in a process of its own, and reads its log. */
export function logged(job: string, folder: string, env: Readonly<Record<string, string>> = {}): readonly Section[] {
  const { stdout, stderr, status } = spawnSync(process.execPath, [...process.execArgv, process.argv[1]!, job, folder], {
    env: { ...process.env, ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO: '1', ...env },
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  if (status !== 0) throw new Error(`${job} ended with ${status}: ${stderr.slice(-1500)}`);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the log is coloured
  const plain = (text: string): string => text.replace(/\x1b\[[\d;]*m/g, '');
  const errors = plain(stderr).split(/^@@ /m).slice(1);
  return plain(stdout)
    .split(/^@@ /m)
    .slice(1)
    .map((text, i) => readSection(text, errors[i] ?? ''));
}

function readSection(text: string, errors: string): Section {
  const kernels: Record<string, number> = {};
  for (const [, kernel] of `${text}\n${errors}`.matchAll(/SdpaKernel=(\w+)/g)) kernels[kernel!] = (kernels[kernel!] ?? 0) + 1;
  const [json] = [...text.matchAll(/^@= (.*)$/gm)].map((m) => m[1]!);
  return { name: text.split('\n')[0]!, kernels, onCpu: nodesOnCpu(`${text}\n${errors}`), result: json && JSON.parse(json) };
}

function nodesOnCpu(log: string): readonly string[] {
  const parts = [...log.matchAll(/placed on \[CPUExecutionProvider\][\s\S]*?(?= placed on |\n@@|SaveMLValue|$(?![\s\S]))/g)];
  const nodes = parts.flatMap(([part]) =>
    [...part.matchAll(/VerifyEachNodeIsAssignedToAnEp\] {3,}(\S+) \((.*)\)$/gm)].map((m) => `${m[1]} (${m[2]})`),
  );
  return [...(/All nodes placed on \[CPU/.test(log) ? ['everything'] : []), ...nodes];
}

/** What may stand on the CPU beside a GPU: arithmetic on sizes. */
export const onSizes = /^(Shape|Gather|Concat|Reshape|Squeeze|Unsqueeze|Slice|Range|Cast|Add|Sub|Mul|Div|Max|Min|Loop) /;

/** Kernels and how often they ran, in words. */
export const kernelsOf = ({ kernels }: Section): string =>
  Object.entries(kernels)
    .map(([name, n]) => `${n} × ${name}`)
    .join(', ') || 'none printed';

/** The middle of some numbers. */
export const median = (xs: readonly number[]): number => [...xs].sort((a, b) => a - b)[xs.length >> 1]!;
