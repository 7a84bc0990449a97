// The page of targets and kernels, from their tables.

import { type DType, type Target, targets } from '../packages/core/src/index';
import { domainOf } from '../packages/core/src/ir/define-op';
import { kernelSources, kernelTables } from '../packages/core/src/targets/kernels.generated';

const short: Readonly<Partial<Record<DType, string>>> = {
  float64: 'f64',
  float32: 'f32',
  float16: 'f16',
  bfloat16: 'bf16',
  int64: 'i64',
  int32: 'i32',
  int16: 'i16',
  int8: 'i8',
  uint64: 'u64',
  uint32: 'u32',
  uint16: 'u16',
  uint8: 'u8',
};
const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
const shown = [targets.cpu, targets.cuda, targets.webgpu, targets.wasm] as const;

function dtypesOf(target: Target, key: string): string {
  const kernel = target.kernels[key];
  if (!kernel) return '–';
  const own = kernel.dtypes.filter((d) => !kernel.onCpu?.includes(d)).map((d) => short[d] ?? d);
  const beside = (kernel.onCpu ?? []).map((d) => short[d] ?? d);
  const both = [own.join(' '), beside.length ? `(${beside.join(' ')})` : ''].filter(Boolean).join(' ');
  return `${both}${kernel.accepts ? ' †' : ''}`;
}

function kernelTable(domain: (domain: string) => boolean): string[] {
  const keys = [...new Set(shown.flatMap(({ kernels }) => Object.keys(kernels)))]
    .filter((key) => domain(domainOf(key)[0]))
    .sort();
  return [
    row(['op', ...shown.map(({ name }) => name)]),
    row(['---', ...shown.map(() => '---')]),
    ...keys.map((key) => row([domainOf(key)[1], ...shown.map((target) => dtypesOf(target, key))])),
  ];
}

function targetTable(): string[] {
  const all = [targets.portable(18), targets.portable(21), targets.portable(23), ...shown];
  return [
    row(['target', 'opset', 'execution providers', 'computes in', 'ops']),
    row(['---', '---', '---', '---', '---']),
    ...all.map(({ name, opset, providers, computes, kernels }) =>
      row([`\`${name}\``, `≤ ${opset}`, providers.join(', '), computes.join(', '), String(Object.keys(kernels).length)]),
    ),
  ];
}

function sourceTable(): string[] {
  const rows = shown.flatMap(({ name }) =>
    Object.entries<string>(kernelSources[name as keyof typeof kernelSources]).map(([version, source]) =>
      row([name, version, source]),
    ),
  );
  return [row(['target', 'ONNX Runtime', 'rows']), row(['---', '---', '---']), ...rows];
}

function fusionTable(): string[] {
  const names = [...new Set(shown.flatMap(({ fusions = {} }) => Object.keys(fusions)))].sort();
  const dtypes = (target: Target, name: string): string => target.fusions?.[name]?.map((d) => short[d] ?? d).join(' ') ?? '–';
  return [
    row(['optimisation', ...shown.map(({ name }) => name)]),
    row(['---', ...shown.map(() => '---')]),
    ...names.map((name) => row([name, ...shown.map((target) => dtypes(target, name))])),
  ];
}

/** The page. */
export function kernelsPage(): string {
  const notes = shown.flatMap(({ name, notes = [] }) =>
    notes.map(({ computes, text }) => `- ${name}: ${computes ? `in ${computes}, ` : ''}${text}`),
  );
  const versions = [...new Set(Object.values(kernelTables).map(({ runtime }) => runtime))];
  return `${[
    '# Targets and kernels',
    '',
    'A target is a table of the ops that it runs, with their dtypes. These are the tables that lowering uses. `explain` prints what each op of a model',
    'is lowered to and why; [adding a target](adding-a-target.md) describes how a table is made.',
    '',
    '<!-- Written by `npm run pages`; not to be edited by hand. -->',
    '',
    '## Targets',
    '',
    ...targetTable(),
    '',
    '`portable` has an opset as its argument (18, 21 or 23) and contains only ops of the standard, for any runtime.',
    ...(notes.length ? ['', ...notes] : []),
    '',
    '## Contrib ops of ONNX Runtime',
    '',
    `Probed with ONNX Runtime ${versions.join(' and ')}. f16 is float16, bf16 bfloat16, i64 int64 and so on. In brackets: dtypes that the`,
    'provider runs on the CPU, with copies before and after the node; they are used for shapes and positions. †: not on every machine, or not with every attribute and shape.',
    '',
    ...kernelTable((domain) => domain !== ''),
    '',
    '## Ops of the standard',
    '',
    ...kernelTable((domain) => domain === ''),
    '',
    '## Optimisations of the runtime that go wrong',
    '',
    'When ONNX Runtime opens a session, it replaces patterns of nodes by kernels of its own, unless `graphOptimizationLevel` turns this off. For these dtypes',
    'the session then fails, or its results are less precise or wrong. Lowering keeps such nodes apart: `y` becomes `max(y, y)`, which no optimisation',
    'looks through. `explain` says where. `of a Cast`: the pattern begins with a Cast from this dtype to float32. A `portable` target avoids all of them.',
    '',
    ...fusionTable(),
    '',
    '## Where the tables come from',
    '',
    ...sourceTable(),
  ].join('\n')}\n`;
}
