// The page of targets and kernels, from their tables.

import { type DType, type Target, targets } from '../packages/core/src/index';
import { domainOf } from '../packages/core/src/ir/define-op';
import { printLimit } from '../packages/core/src/lower/size-limit';
import { kernelSources, kernelTables, kernelTries } from '../packages/core/src/targets/kernels.generated';

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

// The limits of a kernel as text: `head_dim: a multiple of 8; wrong: scale of 0; fails: softcap`.
function limitsOf(target: Target, key: string): string {
  const { limits = {} } = target.kernels[key] ?? {};
  const named = (outcome: string) => Object.keys(limits).filter((name) => limits[name] === outcome);
  return [
    ...Object.entries(limits).flatMap(([name, l]) => (typeof l === 'object' ? [`${name}: ${printLimit(l)}`] : [])),
    ...['wrong', 'fails'].flatMap((outcome) => (named(outcome).length ? [`${outcome}: ${named(outcome).join(', ')}`] : [])),
  ].join('; ');
}

function limitTable(): string[] {
  const rows = [...new Set(shown.flatMap(({ kernels }) => Object.keys(kernels)))].sort().flatMap((key) => {
    const found = new Map<string, string[]>();
    for (const target of shown) {
      const text = limitsOf(target, key);
      if (text) found.set(text, [...(found.get(text) ?? []), target.name]);
    }
    return [...found].map(([text, names]) => row([domainOf(key)[1], names.join(', '), text]));
  });
  return [row(['op', 'targets', 'limits']), row(['---', '---', '---']), ...rows];
}

function triedTable(): string[] {
  const rows = shown.flatMap(({ name, runtime }) => {
    const versions: Readonly<Record<string, { readonly ops: Readonly<Record<string, string>> }>> =
      kernelTries[name as keyof typeof kernelTries];
    return Object.entries(versions[runtime!]!.ops).map(([op, text]) => row([domainOf(op)[1], name, text]));
  });
  return [row(['op', 'target', 'tried']), row(['---', '---', '---']), ...rows];
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
      row([name, version, source, limitSourceOf(name, version)]),
    ),
  );
  return [row(['target', 'ONNX Runtime', 'rows', 'limits']), row(['---', '---', '---', '---']), ...rows];
}

function limitSourceOf(name: string, version: string): string {
  const versions: Readonly<Record<string, { readonly source: string }>> = kernelTries[name as keyof typeof kernelTries];
  return versions[version]!.source;
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
    'is lowered to and why, [what attention is lowered to](attention-kernels.md) lists it for every mask; [adding a target](adding-a-target.md) describes how a',
    'table is made.',
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
    '## Limits of kernels',
    '',
    'What kernels do not support although they exist: sizes, and features that a kernel refuses (fails) or computes differently from its definition',
    '(wrong). Each was tried on the runtime in a model of one node, whose result is compared with the float64 interpreter; `a and b` are two features that',
    'work alone and not together. A node beyond a limit is lowered in another way, and `explain` says why. Values of a size between and beyond those that',
    'were tried are assumed to follow the rule. Limits that depend on the machine, or that no single run shows, are in the files of the targets (†).',
    '',
    ...limitTable(),
    '',
    '### What was tried',
    '',
    'Right: the result is that of the definition. Runs: the runtime accepts it, and nobody compared the numbers.',
    '',
    ...triedTable(),
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
