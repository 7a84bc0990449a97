// onnxformers bench zoo …
import { type ChildProcess, execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { OnnxformersError } from '@onnxformers/core';
import { attentionsOf, kernelsOf } from '../../../bench/kernels';
import { measureZoo, type ZooSizes, type ZooSubject, zooSubjects } from '../../../bench/zoo';
import { finish, outOption } from '../../bench/finish';
import { integersOf } from '../../bench/integers';
import type { LeftOut, Report, Row } from '../../bench/report';
import { dtypeOf, type Where, whereOf } from '../../bench/where';
import { zooChart } from '../../bench/zoo-chart';
import { command, type Options, UsageError, type Values } from '../../command';
import { targetOptions } from '../../compile-options';
import { writeText } from '../../files';

const names = zooSubjects().map(({ name }) => name);
const lengths = [256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768];

const options = {
  ...targetOptions,
  lengths: { type: 'list', doc: `positions; default ${lengths.join(',')}`, value: 'N,…' },
  heads: { type: 'integer', doc: 'heads', default: 8 },
  'head-dim': { type: 'integer', doc: 'channels of a head', default: 64 },
  window: { type: 'integer', doc: 'keys of a sliding window', default: 256 },
  only: { type: 'list', doc: 'which mechanisms; default all', value: 'NAME;…', separator: ';', choices: names },
  seconds: {
    type: 'integer',
    doc: 'a mechanism that takes longer at one length, data and opening included, is stopped',
    default: 120,
  },
  memory: { type: 'number', doc: 'GiB that it may take', value: 'GIB', default: 8 },
  'same-process': {
    type: 'flag',
    doc: 'measure all in this process: without the memory that each takes, and none is stopped while it runs',
  },
  ...outOption,
} as const satisfies Options;
type Given = Values<typeof options>;

export const benchZoo = command({
  name: 'bench zoo',
  words: [],
  summary: 'Measures every attention mechanism by length, beside exact attention.',
  help: [
    'onnxformers bench zoo --out zoo',
    'onnxformers bench zoo --lengths 4096,8192 --only "exact;local;nystrom"',
    'onnxformers bench zoo --target cuda --dtype float16 --window 512 --same-process --out zoo-cuda',
    '',
    'One call on one sequence; the time is the slope between a graph of one copy and one of more, and above 1.5 s that of a whole run. Each mechanism is measured at each',
    'length in a process of its own, whose peak of memory is reported. × exact is the time of exact attention of the same length and mask divided by its own. GFLOP are',
    'those of the lowered graph; of a fused kernel with every pair of queries and keys. With --out also PATH.svg, the times by length in a log-log plot.',
  ].join('\n'),
  options,
  async run(_, values, output) {
    const where = await whereOf(values);
    const sizes = sizesOf(values);
    const wanted = subjectsOf(values);
    const rows: Row[] = [];
    const leftOut: LeftOut[] = [];
    const stopped = new Map<string, number>();
    for (const size of sizes)
      for (const subject of wanted) {
        const name = nameAt(subject, size);
        const before = stopped.get(subject.name);
        if (before !== undefined) {
          leftOut.push({ name, reason: `it was stopped at ${before.toLocaleString('en')} positions` });
          continue;
        }
        output.progress(`measuring ${name} (${rows.length + leftOut.length + 1} of ${sizes.length * wanted.length}) …`);
        const result = values['same-process']
          ? await measured(subject, size, values, where)
          : await measuredApart(subject, size, values);
        if ('reason' in result) {
          leftOut.push(result);
          if (result.beyond) stopped.set(subject.name, size.seq);
          if (result.beyond) output.note(`stopped: ${name}: ${result.reason}`);
        } else rows.push({ ...result, ...fasterThan(subject, size, result, rows) });
      }
    const { heads, 'head-dim': headDim, window, dtype } = values;
    const report: Report = {
      bench: 'zoo',
      setting: { heads, headDim, window, dtype },
      ...where.environment,
      rows,
      leftOut: leftOut.map(({ name, reason }) => ({ name, reason })),
    };
    if (values.out !== undefined && rows.length) await writeText(`${values.out}.svg`, zooChart(report));
    await finish(report, values.out, output);
  },
});

const nameAt = ({ name }: ZooSubject, { seq }: ZooSizes): string => `${name}, ${seq.toLocaleString('en')}`;

function sizesOf(v: Given): readonly ZooSizes[] {
  const { heads, 'head-dim': headDim, window, seconds, memory } = v;
  for (const [name, n] of Object.entries({ heads, 'head-dim': headDim, window, seconds, memory }))
    if (!(n > 0)) throw new UsageError(`${name} is ${n}; expected more than 0`);
  const seqs = v.lengths ? integersOf('lengths', v.lengths) : lengths;
  if (seqs.some((n) => n < 1)) throw new UsageError('--lengths contains 0; expected more than 0');
  return [...new Set(seqs)].sort((a, b) => a - b).map((seq) => ({ heads, headDim, seq, window }));
}

/** The chosen ones, and first the exact attention that they are compared with. */
function subjectsOf({ only }: Given): readonly ZooSubject[] {
  const all = zooSubjects();
  if (!only) return all;
  if (isApart()) return all.filter(({ name }) => only.includes(name));
  const references = new Set(all.filter(({ name }) => only.includes(name)).map(({ reference }) => reference));
  return all.filter(({ name }) => only.includes(name) || references.has(name));
}

function fasterThan({ reference }: ZooSubject, { seq }: ZooSizes, { median }: Row, rows: readonly Row[]): Pick<Row, 'faster'> {
  const other = rows.find((row) => row.subject === reference && row.seq === seq);
  return other ? { faster: other.median / median } : {};
}

/** Why a mechanism was not measured; `beyond`: for a budget, which longer sequences would exceed too. */
interface NotMeasured extends LeftOut {
  readonly beyond: boolean;
}

// Threads that wait in a loop would count as processor time.
const withoutSpinning = { extra: { session: { intra_op: { allow_spinning: '0' } } } };

async function measured(
  subject: ZooSubject,
  sizes: ZooSizes,
  v: Given,
  { target, ort, machine }: Where,
): Promise<Row | NotMeasured> {
  const name = nameAt(subject, sizes);
  try {
    const limits = {
      memory: v.memory * 2 ** 30,
      time: 5000,
      session: withoutSpinning,
      ...(isApart() && { peak: () => 1024 * process.resourceUsage().maxRSS }),
    };
    const figure = await measureZoo(subject, sizes, { target, machine, dtype: dtypeOf(v.dtype) }, ort, limits);
    if ('stopped' in figure) return { name, reason: figure.stopped, beyond: true };
    const { model, ...figures } = figure;
    return {
      subject: subject.name,
      variant: sizes.seq.toLocaleString('en'),
      seq: sizes.seq,
      ...figures,
      attention: attentionsOf(model),
      kernels: kernelsOf(model, machine),
    };
  } catch (error) {
    if (!(error instanceof OnnxformersError)) throw error;
    return { name, reason: error.message, beyond: false };
  }
}

// ---- A process of its own -----------------------------------------------------------------------------------------------

/** Set in the process that measures one mechanism. */
const apart = 'ONNXFORMERS_BENCH_ZOO_APART';
const isApart = (): boolean => process.env[apart] !== undefined;
/** Milliseconds between looks at the memory of a process. */
const interval = 100;

/** The figures of one mechanism at one length, measured in a process of its own, which is ended when it exceeds a budget. */
async function measuredApart(subject: ZooSubject, sizes: ZooSizes, v: Given): Promise<Row | NotMeasured> {
  const name = nameAt(subject, sizes);
  const { seq, heads, headDim, window } = sizes;
  const given = {
    target: v.target,
    dtype: v.dtype,
    sm: v.sm,
    cudnn: v.cudnn,
    heads,
    'head-dim': headDim,
    window,
    memory: v.memory,
  };
  const numbers = Object.entries({ ...given, lengths: seq, only: subject.name }).flatMap(([key, value]) =>
    value === undefined ? [] : [`--${key}`, String(value)],
  );
  let beyond: string | undefined;
  const { code, out, err } = await new Promise<{ code: unknown; out: string; err: string }>((resolve) => {
    const args = [...process.execArgv, process.argv[1]!, 'bench', 'zoo', ...numbers, '--same-process', '--json'];
    const env = { ...process.env, [apart]: '1' };
    const child = execFile(process.execPath, args, { env, maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
      clearTimeout(timer);
      clearInterval(looks);
      resolve({ code: error?.code ?? error?.signal, out: stdout, err: stderr });
    });
    const end = (reason: string): void => {
      beyond ??= reason;
      child.kill('SIGKILL');
    };
    const timer = setTimeout(() => end(`it takes more than ${v.seconds} s`), 1000 * v.seconds);
    const looks = setInterval(async () => {
      if ((await memoryOf(child)) > v.memory * 2 ** 30) end(`it takes more than ${v.memory} GiB`);
    }, interval);
  });
  if (beyond !== undefined) return { name, reason: beyond, beyond: true };
  if (code !== undefined && code !== null)
    return { name, reason: `its process ended with ${code}: ${err.trim().slice(-300)}`, beyond: false };
  const { rows, leftOut } = JSON.parse(out) as Report;
  const row = rows.find((one) => one.subject === subject.name);
  if (row) return row;
  return { name, reason: leftOut[0]?.reason ?? 'its process reported nothing', beyond: true };
}

/** Bytes that a process takes now; 0 where the system does not say. */
async function memoryOf({ pid }: ChildProcess): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return 1024 * Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0);
}
