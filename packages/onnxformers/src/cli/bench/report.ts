// The result of a benchmark: what was measured, where, and the figures. As a file it is JSON, which `bench compare` reads.
import { availableParallelism, cpus } from 'node:os';
import { describe, FileError, type Machine, type Ort, type Target } from '@onnxformers/core';
import { readText } from '../files';
import type { Gpu } from '../runtimes';
import { ownVersion, runtimeVersion } from '../versions';

/** The benchmarks. */
export const benches = ['attention', 'block', 'model', 'varlen', 'zoo'] as const;

/** One figure. */
export interface Row {
  /** What was measured: `packed, float16`. */
  readonly subject: string;
  /** How, where there are several for each subject: `causal`. A report has each pair of both once. */
  readonly variant?: string;
  /** Median time of one call or run in milliseconds. */
  readonly median: number;
  /** Half the distance between the quartiles, in milliseconds. */
  readonly spread: number;
  /** 10¹² floating-point operations per second, counting the pairs that the mask allows. */
  readonly tflops?: number;
  /** Real tokens of a run. */
  readonly tokens?: number;
  /** The share of padding in the rows that are computed, 0 to 1. */
  readonly padding?: number;
  /** Real tokens per second. */
  readonly tokensPerSecond?: number;
  /** The loss that the model returns. */
  readonly loss?: number;
  /** How many times the time of the row before it: primitives against kernels. */
  readonly ratio?: number;
  /** Positions, of a row of a sweep over lengths. */
  readonly seq?: number;
  /** Time of exact attention at the same length ÷ the time. */
  readonly faster?: number;
  /** Processor time of one call in milliseconds, of all cores together. */
  readonly processor?: number;
  /** Floating-point operations of one call, as it was lowered. */
  readonly flops?: number;
  /** Bytes of the largest intermediate result. */
  readonly largest?: number;
  /** Bytes that the process, or the GPU, took at most. */
  readonly peak?: number;
  /** What attention became, and its kernel if the target predicts it. */
  readonly attention: readonly string[];
  /** The ops that were measured, most frequent first. */
  readonly kernels: readonly string[];
}

/** A row that could not be measured, and why. */
export interface LeftOut {
  readonly name: string;
  readonly reason: string;
}

/** Where a benchmark ran. */
export interface Environment {
  readonly target: string;
  readonly machine: {
    readonly cpu: string;
    readonly cores: number;
    readonly gpu?: string;
    readonly driver?: string;
    readonly sm?: number;
    readonly cudnn?: string;
  };
  readonly versions: { readonly onnxformers: string; readonly onnxruntime: string; readonly node: string };
  /** `2026-11-30` */
  readonly date: string;
}

/** The result of a benchmark. */
export interface Report extends Environment {
  readonly bench: (typeof benches)[number];
  /** Sizes and options. */
  readonly setting: Readonly<Record<string, unknown>>;
  readonly rows: readonly Row[];
  readonly leftOut: readonly LeftOut[];
}

/** Where this process measures. */
export function environmentOf(target: Target, ort: Ort, { sm, cudnn }: Machine, cards: readonly Gpu[]): Environment {
  const [card] = cards;
  return {
    target: target.name,
    machine: {
      cpu: cpus()[0]?.model.trim() ?? 'unknown',
      cores: availableParallelism(),
      ...(card && { gpu: card.name, driver: card.driver }),
      ...(sm !== undefined && { sm }),
      ...(cudnn !== undefined && { cudnn }),
    },
    versions: { onnxformers: ownVersion(), onnxruntime: runtimeVersion(ort), node: process.versions.node },
    date: new Date().toISOString().slice(0, 10),
  };
}

/** `packed, float16, causal` */
export const nameOf = ({ subject, variant }: Pick<Row, 'subject' | 'variant'>): string =>
  variant === undefined ? subject : `${subject}, ${variant}`;

/** True if the spread is more than half of the time. */
export const isLost = ({ median, spread }: Pick<Row, 'median' | 'spread'>): boolean => !(spread <= median / 2);

/**
 * A report from its file.
 *
 * @throws FileError when the file cannot be read or is not a report
 */
export async function readReport(path: string): Promise<Report> {
  const text = await readText(path);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw notAReport(path, `${describe(text.slice(0, 40))}`, cause);
  }
  const fault = faultOf(json);
  if (fault !== undefined) throw notAReport(path, fault);
  return json as Report;
}

const notAReport = (path: string, got: string, cause?: unknown): FileError =>
  new FileError(
    {
      path,
      problem: 'not a report of a benchmark',
      expected: 'JSON that onnxformers bench wrote with --out or --json',
      got,
    },
    { cause },
  );

type Fields = Readonly<Record<string, unknown>>;
const isRecord = (x: unknown): x is Fields => typeof x === 'object' && x !== null && !Array.isArray(x);
const isTexts = (x: unknown): boolean => Array.isArray(x) && x.every((part) => typeof part === 'string');

/** What is wrong with the contents; undefined for a report. */
function faultOf(json: unknown): string | undefined {
  if (!isRecord(json)) return describe(json);
  if (!benches.includes(json.bench as never)) return `bench: ${describe(json.bench)}`;
  for (const key of ['setting', 'machine', 'versions']) if (!isRecord(json[key])) return `${key}: ${describe(json[key])}`;
  for (const key of ['target', 'date']) if (typeof json[key] !== 'string') return `${key}: ${describe(json[key])}`;
  for (const key of ['rows', 'leftOut']) if (!Array.isArray(json[key])) return `${key}: ${describe(json[key])}`;
  const rows = json.rows as readonly unknown[];
  const wrong = rows.findIndex((row) => !isRow(row));
  return wrong < 0 ? undefined : `rows[${wrong}]: ${describe(rows[wrong])}`;
}

const isRow = (x: unknown): boolean =>
  isRecord(x) &&
  typeof x.subject === 'string' &&
  ['median', 'spread'].every((key) => typeof x[key] === 'number') &&
  ['attention', 'kernels'].every((key) => isTexts(x[key]));
