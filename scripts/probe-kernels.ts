/**
 * Probes for which ops runtimes have a kernel, by dtype, and writes the tables to `packages/core/src/targets/kernels.generated.ts`.
 *
 *     tsx scripts/probe-kernels.ts [providers, default: all that can be probed here]
 *     tsx scripts/probe-kernels.ts --fusions    probes only the optimisations of the runtimes, which takes a minute
 *     tsx scripts/probe-kernels.ts --limits     probes only what kernels refuse or compute wrongly
 *     tsx scripts/probe-kernels.ts --ops NAMES  probes only the ops of these names: com.microsoft.MatMulNBits,DFT
 *     tsx scripts/probe-kernels.ts --gpu FILE   reads the limits on CUDA from the answers of a GPU (scripts/gpu/limits.ts); runs without one keep them
 *     tsx scripts/probe-kernels.ts --check      fails if the installed CPU runtime differs from the file
 *
 * cpu      onnxruntime-node of this workspace
 * wasm     onnxruntime-web of this workspace
 * webgpu   onnxruntime-node; needs a Vulkan driver (VK_DRIVER_FILES may name a software one)
 * cuda     the onnxruntime-node in ONNXRUNTIME_NODE, which has the CUDA provider; LD_LIBRARY_PATH finds CUDA, or stand-ins for it. With
 *          STUB_CUDA, a folder of such stand-ins (lib, lib-cudnn, node_modules), both are set from it.
 *
 * Entries that a run cannot probe are kept. The tables are those of the version that this workspace is developed on; for an older version the file has
 * the entries that differ. RUNTIMES is a folder in whose node_modules the older onnxruntime-node and onnxruntime-web are.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import type { KernelLimits } from '../packages/core/src/lower/kernel-limits';
import { toBytes } from '../packages/core/src/onnx/encode';
import type { OnnxGraph, OnnxNode } from '../packages/core/src/onnx/model';
import { type DType, dtypes } from '../packages/core/src/tensor/tensor';
import { root } from './pnpm.mjs';
import { type FusionRows, joined, wrongFusions } from './probe/fusions';
import { askLimits, asOnTheCpu, type Found, limitModels, limitsFound, type Outcomes, triable, withKnown } from './probe/limits';
import { modelOf } from './probe/models';
import { type Probe, type Provider, place } from './probe/placement';
import { contribSamples, controlSamples, probed, type Sample, vocabularySamples } from './probe/samples';

const file = join(root, 'packages/core/src/targets/kernels.generated.ts');
/** Opsets in which a model for a provider may be written; a kernel must be there in all that know the op. */
const opsets: Readonly<Record<Provider['name'], readonly number[]>> = {
  cpu: [18, 21, 23, 24],
  wasm: [18, 21, 23, 24],
  cuda: [18, 21, 23, 24],
  webgpu: [18, 21],
};
const developed = createRequire(import.meta.url)('onnxruntime-node/package.json').version as string;
const everyOpset = [...new Set(Object.values(opsets).flat())];
/** A kernel is there if one of so many samples of its row finds it. */
const samplesPerRow = 4;
const probedDtypes = dtypes.filter((d) => d !== 'int4' && d !== 'uint4');

type Row = { own: string; cpu?: string; wrong?: string };
type Rows = Record<string, Row | null>;
/** What a version of a runtime answered, and how it was asked. */
type Answer = {
  runtime: string;
  source: string;
  kernels: Rows;
  fusions: FusionRows;
  limits: Found['limits'];
  tried: Found['tried'];
  limitSource: string;
};
type Table = Answer & { older: Answer[] };
type Tables = Partial<Record<Provider['name'], Table>>;

interface Question extends Probe {
  readonly row: string;
  readonly dtype: DType;
  readonly opset: number;
}

async function questions(samples: readonly Sample[], folder: string): Promise<Question[]> {
  const asked: Question[] = [];
  const perRow = new Map<string, number>();
  for (const sample of samples) {
    const count = (perRow.get(sample.row) ?? 0) + 1;
    if (count > samplesPerRow) continue;
    for (const dtype of probedDtypes) {
      const graph = sample.build(dtype);
      const model = graph && modelOf(graph);
      if (!model) continue;
      perRow.set(sample.row, count);
      const since = model.opsets['']!;
      for (const opset of new Set(everyOpset.map((o) => Math.max(o, since)))) {
        const path = join(folder, `${asked.length}.onnx`);
        writeFileSync(path, await toBytes({ ...model, opsets: { ...model.opsets, '': opset } }));
        asked.push({
          path,
          nodes: nodesOf(model.graph).length,
          node: model.graph.nodes.find((n) => n.name.startsWith(`${probed}/`))!.name,
          row: sample.row,
          dtype,
          opset,
        });
      }
    }
  }
  return asked;
}

const nodesOf = (graph: OnnxGraph): OnnxNode[] =>
  graph.nodes.flatMap((n) => [n, ...Object.values(n.attributes).flatMap((a) => (a.type === 'graph' ? nodesOf(a.value) : []))]);

function tableOf(
  provider: Provider['name'],
  all: readonly Question[],
  { placements: found, version }: ReturnType<typeof place>,
): Pick<Answer, 'runtime' | 'kernels'> {
  const highest = Math.max(...opsets[provider]);
  const asked = all.map((q, i) => ({ ...q, placement: found[i]! })).filter((q) => q.opset <= highest);
  const kernels: Rows = {};
  for (const row of [...new Set(asked.map((q) => q.row))].sort()) {
    const of = (where: readonly string[]): DType[] =>
      probedDtypes.filter((dtype) => {
        const answers = asked.filter((q) => q.row === row && q.dtype === dtype);
        return (
          answers.length > 0 &&
          !answers.some((a) => a.placement === 'refused') &&
          [...new Set(answers.map((a) => a.opset))].every((o) =>
            answers.some((a) => a.opset === o && where.includes(a.placement)),
          )
        );
      });
    const own = of(['own']);
    const cpu = of(['own', 'cpu']).filter((d) => !own.includes(d));
    if (own.length || cpu.length) kernels[row] = { own: own.join(' '), ...(cpu.length && { cpu: cpu.join(' ') }) };
  }
  return { runtime: version, kernels };
}

/** The table with an answer in it: that of the version developed on, or what differs on an older one. */
function withAnswer(table: Table | undefined, answer: Answer): Table {
  if (answer.runtime === developed) {
    const { limits, tried } = answer;
    const limitSource = `not probed: the limits of ${developed}`;
    const older = table?.older ?? [];
    return {
      ...answer,
      older: older.map((o) => (/^(not probed|$)/.test(o.limitSource) ? { ...o, limits, tried, limitSource } : o)),
    };
  }
  if (!table) throw new Error(`probe ${developed} before ${answer.runtime}`);
  const rows = new Set([...Object.keys(table.kernels), ...Object.keys(answer.kernels)]);
  const text = (r: Row | null | undefined) => JSON.stringify(r ?? null);
  const differing = [...rows].sort().filter((r) => text(table.kernels[r]) !== text(answer.kernels[r]));
  const kernels = Object.fromEntries(differing.map((r) => [r, answer.kernels[r] ?? null]));
  const others = table.older.filter((o) => o.runtime !== answer.runtime);
  const older = [...others, { ...answer, kernels }];
  return { ...table, older: older.sort((a, b) => b.runtime.localeCompare(a.runtime, 'en', { numeric: true })) };
}

/** How a provider was asked, for people. */
function sourceOf({ name }: Provider): string {
  if (name === 'cuda' && process.env.STUB_CUDA)
    return 'probed on stand-ins for the CUDA libraries: where nodes run is real, numbers are not';
  if (name === 'webgpu') return `probed on the adapter of ${basename(process.env.VK_DRIVER_FILES ?? '')}`;
  return 'probed';
}

/** What a table says of a version. */
function answerOf(table: Table, runtime: string): Answer {
  const found = [table, ...table.older].find((a) => a.runtime === runtime);
  if (!found) throw new Error(`the tables have no version ${runtime}`);
  return found;
}

function providers(): Provider[] {
  const stub = process.env.STUB_CUDA && resolve(process.env.STUB_CUDA);
  const from = process.env.RUNTIMES && resolve(process.env.RUNTIMES, 'node_modules');
  const node = { ONNXRUNTIME_NODE: from ? join(from, 'onnxruntime-node') : '' };
  const found: Provider[] = [
    { name: 'cpu', env: node },
    { name: 'wasm', env: { ONNXRUNTIME_WEB: from ? join(from, 'onnxruntime-web') : '' } },
  ];
  if (process.env.VK_DRIVER_FILES) found.push({ name: 'webgpu', env: node });
  if (stub)
    found.push({
      name: 'cuda',
      env: {
        ONNXRUNTIME_NODE: join(stub, 'node_modules/onnxruntime-node'),
        LD_LIBRARY_PATH: `${stub}/lib:${stub}/lib-cudnn`,
        STUB_SM: process.env.STUB_SM ?? '90',
        STUB_CUDNN_VERSION: process.env.STUB_CUDNN_VERSION ?? '91400',
      },
    });
  else if (process.env.ONNXRUNTIME_NODE) found.push({ name: 'cuda', env: {} });
  return found;
}

async function known(): Promise<Tables> {
  if (!existsSync(file)) return {};
  type Unsourced = Omit<Answer, 'source' | 'tried' | 'limitSource'>;
  const { kernelTables, kernelSources, kernelTries } = (await import(file)) as {
    kernelTables: Record<Provider['name'], Unsourced & { older: Unsourced[] }>;
    kernelSources: Record<Provider['name'], Record<string, string>>;
    kernelTries: Record<Provider['name'], Record<string, { source: string; ops: Found['tried'] }>>;
  };
  const entries = Object.entries(kernelTables).map(([name, table]) => {
    const provider = name as Provider['name'];
    const sourced = (a: Unsourced): Answer => ({
      ...a,
      source: kernelSources[provider][a.runtime]!,
      tried: kernelTries[provider][a.runtime]!.ops,
      limitSource: kernelTries[provider][a.runtime]!.source,
    });
    return [name, { ...sourced(table), older: table.older.map(sourced) }] as const;
  });
  return Object.fromEntries(entries);
}

function print(tables: Tables): string {
  const quoted = (key: string) => (/^\w+$/.test(key) ? key : `'${key}'`);
  const optional = (r: Row, name: 'cpu' | 'wrong') => (r[name] ? `, ${name}: '${r[name]}'` : '');
  const value = (r: Row | null) => (r ? `{ own: '${r.own}'${optional(r, 'cpu')}${optional(r, 'wrong')} }` : 'null');
  const limit = (l: KernelLimits[string]) =>
    typeof l === 'string'
      ? `'${l}'`
      : `{ ${Object.entries(l)
          .map(([name, n]) => `${name}: ${n}`)
          .join(', ')} }`;
  const limitRows = (limits: Found['limits'], indent: string) =>
    Object.entries(limits)
      .map(([key, of]) => {
        const lines = Object.entries(of).map(([name, l]) => `${indent}  ${quoted(name)}: ${limit(l)},\n`);
        return `${indent}${quoted(key)}: {\n${lines.join('')}${indent}},\n`;
      })
      .join('');
  const rows = (kernels: Rows, indent: string) =>
    Object.entries(kernels)
      .map(([key, r]) => `${indent}${quoted(key)}: ${value(r)},\n`)
      .join('');
  const answer = (a: Answer, indent: string): string =>
    `${indent}runtime: '${a.runtime}',\n${indent}kernels: {\n${rows(a.kernels, `${indent}  `)}${indent}},\n${indent}fusions: {\n${Object.entries(
      a.fusions,
    )
      .map(([fusion, dtypes]) => `${indent}  ${quoted(fusion)}: '${dtypes}',\n`)
      .join('')}${indent}},\n${indent}limits: {\n${limitRows(a.limits, `${indent}  `)}${indent}},\n`;
  const older = (a: Answer) => `      {\n${answer(a, '        ')}      },\n`;
  const sources = ([name, t]: [string, Table]): string =>
    `  ${name}: {\n${[t, ...t.older].map((a) => `    '${a.runtime}': '${a.source}',\n`).join('')}  },\n`;
  const tries = ([name, t]: [string, Table]): string =>
    `  ${name}: {\n${[t, ...t.older]
      .map(
        (a) =>
          `    '${a.runtime}': {\n      source: '${a.limitSource}',\n      ops: {\n${Object.entries(a.tried)
            .map(([key, text]) => `        ${quoted(key)}:\n          '${text}',\n`)
            .join('')}      },\n    },\n`,
      )
      .join('')}  },\n`;
  const table = ([name, t]: [string, Table]) =>
    `  ${name}: {\n${answer(t, '    ')}    older: [\n${t.older.map(older).join('')}    ],\n  },`;
  return `// Made by scripts/probe-kernels.ts from the answers of the runtimes named below. Not to be edited by hand.
// own: dtypes that have a kernel on the provider itself; cpu: dtypes that the provider leaves to the CPU, with copies around the node.
// Behind the key of an op stands its form, where it has some. older: the rows that differ on older versions; null: no kernel.
// fusions: dtypes in which an optimisation of the runtime, on unless a session turns it off, breaks the session or changes its numbers. Those of
// the CPU are listed for GPUs too, whose numbers a probe without a GPU does not see: a graph is rewritten in the same way for all.
// wrong: dtypes in which even the plainest call of the kernel fails or differs from its definition. limits: sizes that a kernel supports, and features
// that it refuses (fails) or computes differently (wrong), where not all that was tried is right.

export const kernelTables = {
${Object.entries(tables)
  .map(table as never)
  .join('\n')}
} as const;

/** How each version of a runtime was asked, by provider. */
export const kernelSources = {
${Object.entries(tables).map(sources).join('')}} as const;

/** What was tried for the limits, besides what they name. */
export const kernelTries = {
${Object.entries(tables).map(tries).join('')}} as const;
`;
}

/** The rows of a version, those in which it equals the newest too, with the dtypes that an earlier probe of limits left out. */
function rowsOf(table: Table, runtime: string): Rows {
  const rows = { ...table.kernels, ...answerOf(table, runtime).kernels };
  return Object.fromEntries(
    Object.entries(rows).map(([row, r]) => {
      if (!r?.wrong) return [row, r];
      const { wrong, ...rest } = r;
      const all = `${r.own} ${wrong}`.split(' ');
      return [row, { ...rest, own: probedDtypes.filter((d) => all.includes(d)).join(' ') }];
    }),
  );
}

/** The rows without dtypes in which kernels are wrong. */
const withoutWrong = (rows: Rows, wrong: Found['without']): Rows =>
  Object.fromEntries(
    Object.entries(rows).map(([row, r]) => {
      const dtypes = r ? (wrong[opOf(row)] ?? []).filter((d) => r.own.split(' ').includes(d)) : [];
      if (!r || !dtypes.length) return [row, r];
      const own = r.own.split(' ').filter((d) => !dtypes.includes(d as DType));
      return [row, { ...r, own: own.join(' '), wrong: dtypes.join(' ') }];
    }),
  );
/** The dtypes that rows leave out because kernels are wrong, by op. */
const wrongIn = (rows: Rows): Found['without'] =>
  Object.fromEntries(Object.entries(rows).flatMap(([row, r]) => (r?.wrong ? [[opOf(row), r.wrong.split(' ') as DType[]]] : [])));
const opOf = (row: string): string => row.split(' ')[0]!;
const dtypesIn = (rows: Rows) => (op: string) =>
  Object.entries(rows).flatMap(([row, r]) => (r && opOf(row) === op ? (r.own.split(' ') as DType[]) : []));

/** The limits of the kernels in these rows, and the rows without dtypes that are wrong. */
async function limited(provider: Provider, rows: Rows, runtime: string, tables: Tables): Promise<Limited> {
  const table = tables[provider.name];
  const known = [table, ...(table?.older ?? [])].find((a) => a?.runtime === runtime);
  if (only === 'gpu') {
    const { gpu, date, outcomes } = gpuAnswers(runtime);
    const { doubted, without, ...found } = withKnown(limitsFound(outcomes, dtypesIn(rows)), known!);
    for (const op of doubted)
      console.log(`${op}: no plain call is right, which the question may be the cause of; its limits stay`);
    return { kernels: withoutWrong(rows, without), ...found, limitSource: `${onGpu} ${gpu}, ${date}` };
  }
  // Stand-ins do not know numbers. What a GPU said of this version stays until one is asked again.
  if (provider.name === 'cuda' && known?.limitSource.startsWith(onGpu)) {
    const { limits, tried, limitSource } = known;
    return { kernels: withoutWrong(rows, wrongIn(known.kernels)), limits, tried, limitSource };
  }
  const compares = provider.name !== 'cuda';
  const dtypesOf = await triable((op) => (isAsked(op) ? dtypesIn(rows)(op) : []), provider, folder);
  const { outcomes } = askLimits(await limitModels(dtypesOf, provider, folder), provider, { compares }, folder);
  const found = limitsFound(outcomes, dtypesOf);
  const { limits, without, tried } = compares ? found : asOnTheCpu(found, answerOf(tables.cpu!, runtime).limits);
  return {
    kernels: withoutWrong(rows, { ...(opsAsked && known && wrongIn(known.kernels)), ...without }),
    limits: withOthers(limits, known?.limits),
    tried: withOthers(tried, known?.tried),
    limitSource: sourceOf(provider),
  };
}
/** Answers for some ops, with the known ones for the others, in their order. */
function withOthers<T>(answers: Record<string, T>, known: Record<string, T> = {}): Record<string, T> {
  if (!opsAsked) return answers;
  const all = { ...known, ...answers };
  return Object.fromEntries(Object.entries(all).filter(([op]) => op in answers || !isAsked(op)));
}
const onGpu = 'probed on an';
type Limited = Pick<Answer, 'kernels' | 'limits' | 'tried' | 'limitSource'>;

/** Where nobody probed limits, those of the CPU for its contrib kernels. */
function withCpuLimits(name: Provider['name'], table: Table, cpu: Table): void {
  for (const answer of [table, ...table.older]) {
    if (answer.limitSource !== '') continue;
    const of = Object.entries(answerOf(cpu, answer.runtime).limits).filter(
      ([op]) => op.includes('.') && dtypesIn(table.kernels)(op).length,
    );
    answer.limits = Object.fromEntries(of);
    answer.limitSource = `not probed on ${name}: the limits of contrib kernels on the CPU`;
  }
}

/** What a GPU answered, from `scripts/gpu/limits.ts`. */
function gpuAnswers(runtime: string): { readonly gpu: string; readonly date: string; readonly outcomes: Outcomes } {
  const path = args[args.indexOf('--gpu') + 1]!;
  const answers = JSON.parse(readFileSync(path, 'utf8')) as { runtime: string; gpu: string; date: string; outcomes: Outcomes };
  if (answers.runtime !== runtime) throw new Error(`the answers are those of ${answers.runtime}, not of ${runtime}`);
  return answers;
}

const args = process.argv.slice(2);
const check = args.includes('--check');
const only = (['fusions', 'limits', 'gpu'] as const).find((o) => args.includes(`--${o}`));
const opsAsked = args.includes('--ops') ? args[args.indexOf('--ops') + 1]!.split(',') : undefined;
const isAsked = (op: string): boolean => opsAsked?.includes(op) ?? true;
const wanted = check
  ? ['cpu']
  : only === 'gpu'
    ? ['cuda']
    : args.filter((a, i) => !a.startsWith('--') && args[i - 1] !== '--ops');
const folder = mkdtempSync(join(tmpdir(), 'probe-kernels-'));
try {
  const samples = [...(await vocabularySamples()), ...controlSamples, ...contribSamples].filter(({ row }) => isAsked(opOf(row)));
  const asked = only ? [] : await questions(samples, folder);
  const before = await known();
  const tables: Tables = structuredClone(before);
  const asking: readonly Provider[] =
    only === 'gpu' ? [{ name: 'cuda', env: {} }] : providers().filter((p) => !wanted.length || wanted.includes(p.name));
  for (const provider of asking) {
    const version = only === 'gpu' ? developed : versionOf(provider);
    const known = (only ?? opsAsked) && answerOf(tables[provider.name]!, version);
    const fusions = known && only !== 'fusions' ? known.fusions : await fusionsOf(provider, version, tables.cpu);
    if (only === 'fusions') {
      Object.assign(known!, { fusions });
      continue;
    }
    const earlier = known ? rowsOf(tables[provider.name]!, version) : {};
    const others = Object.entries(earlier).filter(([row]) => only || !isAsked(opOf(row)));
    const found = only ? {} : tableOf(provider.name, asked, place(asked, provider, folder)).kernels;
    const placed = Object.fromEntries([...others, ...Object.entries(found)].sort(([a], [b]) => (a < b ? -1 : 1)));
    const count = Object.keys(placed).length;
    console.log(`${provider.name}: ${count} rows with a kernel, ONNX Runtime ${version}`);
    // A provider that did not start has no kernel for anything; its rows stay.
    if (!count) {
      process.exitCode = 1;
      continue;
    }
    const limits = await limited(provider, placed, version, tables);
    console.log(`${provider.name}: limits ${JSON.stringify(limits.limits)}`);
    const source = known?.source ?? sourceOf(provider);
    tables[provider.name] = withAnswer(tables[provider.name], { runtime: version, source, fusions, ...limits });
  }
  for (const [name, table] of Object.entries(tables)) withCpuLimits(name as Provider['name'], table, tables.cpu!);
  if (!check) writeFileSync(file, print(tables));
  else if (print(tables) !== readFileSync(file, 'utf8')) {
    console.error(`${file} is not what the CPU runtime says; run tsx scripts/probe-kernels.ts cpu`);
    process.exitCode = 1;
  }
} finally {
  if (process.env.PROBE_KEEP) console.log(folder);
  else rmSync(folder, { recursive: true });
}

async function fusionsOf(provider: Provider, version: string, cpu: Table | undefined): Promise<FusionRows> {
  const about = { opsets: opsets[provider.name], compares: provider.name !== 'cuda' };
  const { fusions: found } = await wrongFusions(provider, about, folder);
  const partly = provider.name === 'cuda' || provider.name === 'webgpu';
  const fusions = partly ? joined(found, answerOf(cpu!, version).fusions) : found;
  console.log(`${provider.name}: fusions that go wrong: ${JSON.stringify(fusions)}, ONNX Runtime ${version}`);
  return fusions;
}

function versionOf({ name, env }: Provider): string {
  const installed = name === 'wasm' ? env.ONNXRUNTIME_WEB || 'onnxruntime-web' : env.ONNXRUNTIME_NODE || 'onnxruntime-node';
  const about = readFileSync(join(resolve(root, 'node_modules', installed), 'package.json'), 'utf8');
  return (JSON.parse(about) as { version: string }).version;
}
