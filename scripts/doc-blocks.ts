// The catalogue of blocks, from their definitions, their docstrings and what their examples are lowered to.
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import ts from 'typescript';
import {
  type AnyBlock,
  type CompileOptions,
  compile,
  type Field,
  isBlock,
  modulesOf,
  type Target,
  targets,
} from '../packages/core/src/index';
import { allNodes } from '../packages/core/src/onnx/model';
import { serialize } from '../packages/core/src/serialize';
import { type Example, exampleOf, type InputsOf } from '../packages/core/src/testing/index';
import { zoo } from '../packages/onnxformers/src/index';
import { sourceFiles } from './imports';
import { root } from './pnpm.mjs';

/** What each kind is, in the order of the page. */
const kinds: Readonly<Record<string, string>> = {
  attention: 'Attention mechanisms: queries, keys and values of heads → values of heads.',
  mixer: 'What mixes positions: attention between projections, or something without any.',
  feedforward: 'What mixes channels.',
  activation: 'Functions of single elements.',
  embedding: 'From ids or pixels to channels.',
  position: 'What adds positions to the stream.',
  rotation: 'What turns queries and keys by their positions.',
  scoreBias: 'What is added to the scores.',
  norm: 'Normalisations.',
  layer: 'Residual layers: sub-layers, norms and the way around them.',
  stack: 'Layers one after another.',
  model: 'Whole models: named inputs → named outputs.',
};

/** Ops that move data or count positions; named only where there is nothing else. */
const movement = new Set(
  'Shape Reshape Transpose Unsqueeze Squeeze Concat Expand Slice Cast Range Identity Pad ConstantOfShape Size Split Flatten'.split(
    ' ',
  ),
);

const lowered: readonly (readonly [string, Target])[] = [
  ['portable', targets.portable(21)],
  ['cpu', targets.cpu],
  ['cuda', targets.cuda],
  ['webgpu', targets.webgpu],
  ['wasm', targets.wasm],
];

// ---- What a docstring says ------------------------------------------------------------------------------------------

interface Entry {
  /** The sentences above the first entry. */
  readonly text: string;
  /** `Shapes`, `Dtypes`, … */
  readonly entries: ReadonlyMap<string, string>;
  /** Relative to the repository. */
  readonly file: string;
}

const entryNames = 'Shapes|Dtypes|Masks|Cost|Throws|Source|Lowers|Example';

function parseDoc(comment: string, file: string): Entry {
  const lines = comment
    .replace(/^\/\*\*|\*\/$/g, '')
    .split('\n')
    .map((line) => line.replace(/^\s*\* ?/, '').trimEnd());
  const entries = new Map<string, string>();
  const text: string[] = [];
  let open: string | undefined;
  for (const line of lines) {
    const [, name, rest] = new RegExp(`^(${entryNames}) {2,}(.+)$`).exec(line) ?? [];
    open = name ?? open;
    if (name) entries.set(name, rest!);
    else if (open && /^ {4,}\S/.test(line)) entries.set(open, `${entries.get(open)} ${line.trim()}`);
    else if (!open) text.push(line);
  }
  return { text: text.join('\n').trim(), entries, file };
}

type Docs = ReadonlyMap<string, Entry>;

/** Kind and name of each block → its docstring. */
export function docstrings(): Docs {
  const found = new Map<string, Entry>();
  const files = readdirSync(join(root, 'packages')).flatMap((name) => sourceFiles(join(root, 'packages', name, 'src')));
  for (const path of files.filter((file) => !/\.test(-helper)?\.ts$/.test(file))) {
    const code = readFileSync(path, 'utf8');
    if (!code.includes('defineBlock(')) continue;
    const file = relative(root, path).replaceAll('\\', '/');
    const source = ts.createSourceFile(path, code, ts.ScriptTarget.Latest, true);
    for (const statement of source.statements) {
      const definition = definitionIn(statement);
      if (!definition) continue;
      const comment = ts.getLeadingCommentRanges(code, statement.pos)?.at(-1);
      if (comment) found.set(definition, parseDoc(code.slice(comment.pos, comment.end), file));
    }
  }
  return found;
}

function definitionIn(statement: ts.Statement): string | undefined {
  if (!ts.isVariableStatement(statement)) return undefined;
  const call = statement.declarationList.declarations[0]?.initializer;
  const [argument] = call && ts.isCallExpression(call) && call.expression.getText() === 'defineBlock' ? call.arguments : [];
  if (!argument || !ts.isObjectLiteralExpression(argument)) return undefined;
  const textOf = (name: string): string | undefined => {
    const property = argument.properties.find((p) => p.name?.getText() === name);
    return property && ts.isPropertyAssignment(property) && ts.isStringLiteral(property.initializer)
      ? property.initializer.text
      : undefined;
  };
  return `${textOf('kind')} ${textOf('name')}`;
}

// ---- One block ------------------------------------------------------------------------------------------------------

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');
const linked = (text: string): string => text.replace(/https?:\/\/[^\s,;)]+/g, (address) => `<${address}>`);

function defaultOf(f: Field): string {
  if (f.inherit && f.default === undefined) return 'that of the enclosing block';
  if (f.optional) return '–';
  if (f.default === undefined) return '**required**';
  if (isBlock(f.default)) return `\`${(f.default as AnyBlock).blockName}\``;
  if (typeof f.default === 'function') return f.type === 'fn' ? 'a function' : 'from the options above';
  return `\`${JSON.stringify(f.default)}\``;
}

function optionRow([name, f]: readonly [string, Field]): string {
  const type = f.kind ? `${f.kind}${f.type === 'each' ? ', one for each' : ''}` : f.expected.replace(/^an? /, '');
  const inherited = f.inherit && f.default !== undefined ? ', or that of the enclosing block' : '';
  return `| \`${name}\` | ${cell(type)} | ${cell(defaultOf(f) + inherited)} | ${cell(f.unit ?? '')} | ${cell(f.doc)} |`;
}

function optionsOf(block: AnyBlock): string[] {
  const fields = Object.entries(block.fields) as [string, Field][];
  if (fields.length === 0) return ['No options.'];
  return ['| option | value | default | unit | meaning |', '| --- | --- | --- | --- | --- |', ...fields.map(optionRow)];
}

// Heads as wide as in most models: some kernels take none of the small ones of the examples.
const inputsOf: InputsOf = ({ kind }, { heads = 2, kvHeads = heads }) => {
  if (kind !== 'attention') return undefined;
  const rows = (count: unknown) => ({ dtype: 'float32', dims: ['batch', Number(count), 'seq', 64] }) as const;
  return { q: rows(heads), k: rows(kvHeads), v: rows(kvHeads) };
};

/** The ops that compute, over all examples; the fused ones of ONNX Runtime first. */
function opsOf(block: AnyBlock, target: Target): readonly string[] {
  const examples = block.definition.examples.map((_: unknown, index: number) => exampleOf(block, index, zoo, inputsOf));
  const all = new Set<string>(examples.flatMap((example: Example) => loweredOps(example, target, { dtype: 'float32' })));
  const ops = [...all].sort((a, b) => Number(b.startsWith('*')) - Number(a.startsWith('*')) || (a < b ? -1 : 1));
  const computing = ops.filter((op) => !movement.has(op));
  return computing.length ? computing : ops;
}

function loweringOf(block: AnyBlock): string[] {
  const byOps = new Map<string, string[]>();
  for (const [name, target] of lowered) {
    const ops = opsOf(block, target).join(', ');
    byOps.set(ops, [...(byOps.get(ops) ?? []), name]);
  }
  return ['| target | ops |', '| --- | --- |', ...[...byOps].map(([ops, names]) => `| ${names.join(', ')} | ${ops} |`)];
}

function section(block: AnyBlock, doc: Entry | undefined): string[] {
  if (!doc) throw new Error(`${block.kind} ${block.blockName}: no docstring stands above its definition`);
  const { summary, source, masks } = block.definition;
  const subpath = subpathOf(doc.file);
  const told = ['Shapes', 'Dtypes', 'Cost', 'Throws'].flatMap((name) => {
    const entry = doc.entries.get(name);
    return entry ? [`- ${name}: ${linked(entry)}`] : [];
  });
  const given = { name: block.blockName, ...block.definition.examples[0] };
  const functions = (_: string, x: unknown) => (typeof x === 'function' ? '(a function)' : x);
  const example = JSON.stringify(given, functions);
  return [
    `### ${block.blockName}`,
    '',
    doc.text || summary,
    '',
    ...(told.length ? [...told] : []),
    ...(masks ? [`- Masks: ${masks.length ? masks.join(', ') : 'none'}`] : []),
    ...(source ? [`- Source: ${linked(source)}`] : []),
    `- Import: \`${subpath}\``,
    '',
    ...optionsOf(block),
    '',
    'Example:',
    '',
    '```json',
    example.length < 120 ? example : JSON.stringify(given, functions, 2),
    '```',
    '',
    ...loweringOf(block),
    '',
  ];
}

function subpathOf(file: string): string {
  const [, folder, path] = /^packages\/([^/]+)\/src\/(.+)\.ts$/.exec(file) ?? [];
  return folder === 'onnxformers' ? 'onnxformers' : `@onnxformers/${folder}/${path?.split('/').at(-1)}`;
}

/** The ops of an example on a target, those of subgraphs too; the ones of ONNX Runtime alone in bold. */
function loweredOps({ module, inputs }: Lowerable, target: Target, options: Partial<CompileOptions>): readonly string[] {
  const ports = Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, [input.dtype, input.dims]] as const));
  const model = compile(module, { target, ...options, inputs: ports });
  return [...allNodes(serialize(model).graph)].map(({ opType, domain }) => (domain ? `**${opType}**` : opType));
}
type Lowerable = Pick<Example, 'module' | 'inputs'>;

/** Kind and name of each block → what examples become that it is a part of, in float32 and float16, with caches where that is a language model's. */
function opsAround(target: Target): ReadonlyMap<string, ReadonlySet<string>> {
  const around = new Map<string, Set<string>>();
  for (const block of zoo.blocks as readonly AnyBlock[])
    block.definition.examples.forEach((_: unknown, index: number) => {
      const example = exampleOf(block, index, zoo, inputsOf);
      const cached = example.block.kind === 'model' && example.properties.has('causal') && !('memory' in example.inputs);
      const ops = [
        ...(['float32', 'float16'] as const).flatMap((dtype) => loweredOps(example, target, { dtype })),
        ...(cached ? loweredOps(example, target, { dtype: 'float16', state: 'io', promises: ['whole prompts'] }) : []),
      ];
      for (const { item } of modulesOf(example.module)) {
        const key = `${item.kind} ${item.blockName}`;
        const known = around.get(key) ?? new Set();
        for (const op of ops) known.add(op.replaceAll('*', ''));
        around.set(key, known);
      }
    });
  return around;
}

/**
 * Ops that the `Lowers` line of a block's docstring names for a target and that no example with the block becomes there: `attention linformer on
 * cuda: Gemm`. The line reads `cuda, cpu: MatMul, MultiHeadAttention · portable: primitives`; words that are no names of ops say nothing.
 */
export function brokenPromises(docs: Docs = docstrings()): string[] {
  return lowered.flatMap(([name, target]) => {
    const around = opsAround(target);
    return zoo.blocks.flatMap(({ kind, blockName }) => {
      const key = `${kind} ${blockName}`;
      const promised = (docs.get(key)?.entries.get('Lowers')?.split(' · ') ?? []).flatMap((part) => {
        const [, names = '', text = ''] = /^([a-z, ]+): (.+)$/.exec(part) ?? [];
        return names === 'everywhere' || names.split(', ').includes(name) ? (text.match(/\b[A-Z][A-Za-z]+\b/g) ?? []) : [];
      });
      return promised.filter((op) => !around.get(key)?.has(op)).map((op) => `${key} on ${name}: ${op}`);
    });
  });
}

/** The page. */
export function blocksPage(): string {
  const docs = docstrings();
  const unknown = zoo.blocks.filter(({ kind }) => !(kind in kinds)).map(({ kind }) => kind);
  if (unknown.length) throw new Error(`scripts/doc-blocks.ts does not know the kind ${unknown.join(', ')}`);
  const present = Object.entries(kinds).filter(([kind]) => zoo.blocks.some((block) => block.kind === kind));
  const lines = present.flatMap(([kind, text]) => [
    `## ${kind}`,
    '',
    text,
    '',
    ...zoo.blocks
      .filter((block) => block.kind === kind)
      .flatMap((block) => section(block as AnyBlock, docs.get(`${kind} ${block.blockName}`))),
  ]);
  return [
    '# Catalogue of blocks',
    '',
    'Every block that `zoo` knows, by kind. A config names a block and its options; `zoo.jsonSchema(kind)` gives the same as a schema. The last',
    'table of a block says which ops its examples become, in float32; those of ONNX Runtime alone are in bold, and ops',
    'that move data or count positions are left out. Larger heads or another dtype may reach other kernels: `explain` tells.',
    '',
    '<!-- Written by `npm run pages`; not to be edited by hand. -->',
    '',
    ...present.map(([kind]) => {
      const names = zoo.blocks.filter((block) => block.kind === kind).map(({ blockName }) => `\`${blockName}\``);
      return `- [${kind}](#${kind.toLowerCase()}): ${names.join(', ')}`;
    }),
    '',
    ...lines,
  ]
    .join('\n')
    .trimEnd()
    .concat('\n');
}
