// The catalogue of blocks, from their definitions, their docstrings and what their examples are lowered to.
import ts from 'typescript';
import { type AnyBlock, type Field, isBlock, kinds, type MaskKinds } from '../packages/core/src/index';
import * as all from '../packages/onnxformers/src/index';
import { comparison } from './doc-comparison';
import { patternPath, patternsOf } from './doc-patterns';
import { type Docstring, docstrings } from './docstrings';
import { keyOf, loweredExamples, masksOf } from './lowered-ops';

const { zoo } = all;

/** Ops that move data or count positions; listed only if there are no others. */
const movement = new Set(
  'Shape Reshape Transpose Unsqueeze Squeeze Concat Expand Slice Cast Range Identity Pad ConstantOfShape Size Split Flatten'.split(
    ' ',
  ),
);

/** The name of a row, and the target whose ops it shows. */
const shownPlaces: Readonly<Record<string, string>> = {
  portable: 'portable-21',
  cpu: 'cpu',
  cuda: 'cuda of the newest',
  webgpu: 'webgpu',
  wasm: 'wasm',
};

// ---- One block ------------------------------------------------------------------------------------------------------

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');
const linked = (text: string): string => text.replace(/https?:\/\/[^\s,;)]+/g, (address) => `<${address}>`);

function defaultOf(f: Field): string {
  if (f.inherit && f.default === undefined) return 'that of the enclosing block';
  if (f.optional) return '–';
  if (f.default === undefined) return '**required**';
  if (isBlock(f.default)) return `\`${(f.default as AnyBlock).blockName}\``;
  if (typeof f.default === 'function')
    return f.type === 'fn' ? 'a function' : (formulaOf(f.default) ?? 'computed from the options above');
  return `\`${JSON.stringify(f.default)}\``;
}

/** `(c) => 4 * c.dim` → `4 * dim`; undefined if it is not arithmetic on options. */
function formulaOf(f: object): string | undefined {
  const source = ts.createSourceFile('default.ts', String(f), ts.ScriptTarget.Latest);
  const [statement] = source.statements;
  if (!statement || !ts.isExpressionStatement(statement) || !ts.isArrowFunction(statement.expression)) return undefined;
  const { parameters, body } = statement.expression;
  const options = parameters[0]?.name;
  if (ts.isBlock(body) || !options || !ts.isIdentifier(options)) return undefined;
  const text = ts.createPrinter().printNode(ts.EmitHint.Expression, body, source);
  const calls = [...text.matchAll(/([\w.]+)\(/g)].map(([, called]) => called);
  if (calls.some((called) => !called?.startsWith('Math.'))) return undefined;
  return `\`${text.replaceAll(`${options.text}.`, '').replaceAll('Math.', '').replaceAll('"', "'")}\``;
}

function optionRow([name, f]: readonly [string, Field]): string {
  const type = f.kind ? `${f.kind}${f.type === 'each' ? ', one for each' : ''}` : f.expected.replace(/^an? /, '');
  const inherited = f.inherit && f.default !== undefined ? ', or that of the enclosing block' : '';
  return `| \`${name}\` | ${cell(type)} | ${cell(defaultOf(f) + inherited)} | ${cell(f.unit ?? '')} | ${cell(f.doc)} |`;
}

function optionsOf(block: AnyBlock): string[] {
  const fields = Object.entries(block.fields) as [string, Field][];
  if (fields.length === 0) return ['No options.'];
  return ['| option | value | default | unit | description |', '| --- | --- | --- | --- | --- |', ...fields.map(optionRow)];
}

const shownOp = (key: string): string => key.replace(/^com\.microsoft\.(.+)$/, '**$1**');

/** The ops that compute, in all examples; those of ONNX Runtime first. */
function opsOf(block: AnyBlock, place: string): readonly string[] {
  const examples = loweredExamples().filter((example) => example.block === block && example.call === 'alone');
  const all = new Set(examples.flatMap(({ ops }) => ops.get(place)!.map(({ key }) => shownOp(key))));
  const ops = [...all].sort((a, b) => Number(b.startsWith('*')) - Number(a.startsWith('*')) || (a < b ? -1 : 1));
  const computing = ops.filter((op) => !movement.has(op));
  return computing.length ? computing : ops;
}

function loweringOf(block: AnyBlock): string[] {
  const byOps = new Map<string, string[]>();
  for (const [name, place] of Object.entries(shownPlaces)) {
    const ops = opsOf(block, place).join(', ');
    byOps.set(ops, [...(byOps.get(ops) ?? []), name]);
  }
  return ['| target | ops |', '| --- | --- |', ...[...byOps].map(([ops, names]) => `| ${names.join(', ')} | ${ops} |`)];
}

const nameOfMasks = (masks: MaskKinds): string => (masks === 'all' ? 'all kinds' : masks.join(', ') || 'none');

function section(block: AnyBlock, doc: Docstring | undefined): string[] {
  if (!doc) throw new Error(`${keyOf(block)}: there is no docstring above its definition`);
  const { summary } = block.definition;
  const declared = masksOf(block);
  const masks = declared ? nameOfMasks(declared) : doc.entries.get('Masks');
  const source = doc.entries.get('Source') ?? block.definition.source;
  const subpath = subpathOf(doc.file);
  const told = ['Shapes', 'Dtypes', 'Cost', 'Throws'].flatMap((name) => {
    const entry = doc.entries.get(name);
    return entry ? [`- ${name}: ${linked(entry)}`] : [];
  });
  const picture = patternsOf(block).length ? [`![The pattern of ${block.blockName}](../${patternPath(block)})`, ''] : [];
  return [
    `### ${block.blockName}`,
    '',
    doc.text || summary,
    '',
    ...picture,
    ...told,
    ...(masks ? [`- Masks: ${masks}`] : []),
    ...(source ? [`- Source: ${linked(source)}`] : []),
    `- Import: \`${exportedName(block)}\` from \`${subpath}\``,
    '',
    ...optionsOf(block),
    '',
    '```ts',
    `await example('${block.kind}', ${literal({ name: block.blockName, ...block.definition.examples[0] })});`,
    '```',
    '',
    ...loweringOf(block),
    '',
  ];
}

/** A value as code, in one line if it is short. */
function literal(x: unknown, indent = ''): string {
  if (typeof x === 'function') return String(x).replace(/^\(?(\w+)\)?\s*=>\s*/, '($1: Value) => ');
  if (typeof x === 'string') return `'${x}'`;
  if (typeof x !== 'object' || x === null) return String(x);
  const isList = Array.isArray(x);
  const [open, close] = isList ? ['[', ']'] : ['{ ', ' }'];
  const parts = (inner: string): string[] =>
    Object.entries(x).map(([name, value]) => (isList ? '' : `${name}: `) + literal(value, inner));
  const line = `${open}${parts(indent).join(', ')}${close}`;
  if (line.length <= 110 || (isList && x.every((one) => typeof one === 'number'))) return line;
  const inner = `${indent}  `;
  return [open.trim(), ...parts(inner).map((part) => `${inner}${part},`), indent + close.trim()].join('\n');
}

/** The program that the examples call. */
const program = `import * as ort from 'onnxruntime-node';
import * as ops from '@onnxformers/core/ops';
import { type AnyModule, blockInputs, compile, createRunner, initialize, type Kind, targets, tensor, type Value, zoo } from 'onnxformers';

/** Sizes that a config leaves open. */
const sizes: Record<string, number> = { batch: 2, seq: 5, dim: 8, heads: 2, kv_heads: 2, head_dim: 4, value_dim: 4 };

/** Builds a block from its config, compiles it for the CPU, and runs it on some numbers. */
async function example(kind: Kind, config: { name: string; [option: string]: unknown }) {
  const block = zoo.parse(kind, config as never) as unknown as AnyModule;
  const inputs = Object.entries(blockInputs(block)).map(([name, { dtype, dims, below = 7 }]) => {
    const known = dims.map((d) => (typeof d === 'number' ? d : (sizes[d] ?? 3)));
    const data = Array.from({ length: known.reduce((a, b) => a * b, 1) }, (_, i) => (dtype === 'int64' ? i % below : Math.sin(i)));
    return [name, tensor(dtype, known, data)] as const;
  });
  const model = compile(block, {
    target: targets.cpu,
    inputs: Object.fromEntries(inputs.map(([name, { dtype, dims }]) => [name, [dtype, dims]])),
    weights: initialize(block, { seed: 1 }),
  });
  const run = await createRunner(model, ort);
  const outputs = await run(Object.fromEntries(inputs));
  for (const [name, { dims }] of Object.entries(outputs)) console.log(\`\${config.name}: \${name} [\${dims.join(', ')}]\`);
  await run.dispose();
}`;

/** What a block is called by hand: the name of the export that it is. */
function exportedName(block: AnyBlock): string {
  const found = Object.entries(all).find(([, value]) => value === block)?.[0];
  if (!found) throw new Error(`${keyOf(block)} is not exported`);
  return found;
}

function subpathOf(file: string): string {
  const [, folder, path] = /^packages\/([^/]+)\/src\/(.+)\.ts$/.exec(file) ?? [];
  return folder === 'onnxformers' ? 'onnxformers' : `@onnxformers/${folder}/${path?.split('/').at(-1)}`;
}

/** The page. */
export function blocksPage(): string {
  const docs = docstrings();
  const present = Object.entries(kinds).filter(([kind]) => zoo.blocks.some((block) => block.kind === kind));
  const lines = present.flatMap(([kind, { summary }]) => [
    `## ${kind}`,
    '',
    summary,
    '',
    ...zoo.blocks.filter((block) => block.kind === kind).flatMap((block) => section(block as AnyBlock, docs.get(keyOf(block)))),
  ]);
  return [
    '# Catalogue of blocks',
    '',
    'Every block of `zoo`, by kind. A config names a block and its options; `zoo.jsonSchema(kind)` returns the same as a JSON Schema. A picture shows the pattern',
    'of a mechanism that does not mix all positions with all: which positions (columns) a result (row) depends on, with the options of its examples. The last',
    'table of a block lists the ops that its examples are lowered to, in float32. Ops that only ONNX Runtime has (contrib ops) are in bold; ops',
    'that move data or count positions are omitted. Other dtypes, GPUs or masks may use other kernels: see `explain`. The file `….ops.txt` beside the',
    'source of each block counts the ops of every example.',
    '',
    '<!-- Written by `npm run pages`; not to be edited by hand. -->',
    '',
    'The example of each block is a line of one program, which begins like this:',
    '',
    '```ts',
    program,
    '```',
    '',
    ...present.map(([kind]) => {
      // The anchor of a name is that of its first heading.
      const headings = new Set([...present.map(([name]) => name.toLowerCase())]);
      const before = present
        .slice(
          0,
          present.findIndex(([name]) => name === kind),
        )
        .map(([name]) => name);
      const taken: readonly string[] = zoo.blocks
        .filter((block) => before.includes(block.kind))
        .map(({ blockName }) => blockName);
      const isFirst = (name: string): boolean => !headings.has(name) && !taken.includes(name);
      const names = zoo.blocks
        .filter((block) => block.kind === kind)
        .map(({ blockName: name }) => (isFirst(name) ? `[\`${name}\`](#${name})` : `\`${name}\``));
      return `- [${kind}](#${kind.toLowerCase()}): ${names.join(', ')}`;
    }),
    '',
    '## Mechanisms compared',
    '',
    'Exact: with its default options it computes softmax attention over all pairs. Cost: without masks. Causal, cache and packed: whether its first example can be',
    'called so, inside `multi_head` if it is an attention mechanism. Fixed length: the config states the longest sequence.',
    '',
    ...comparison(zoo.blocks.filter(({ kind }) => kind === 'attention' || kind === 'mixer') as readonly AnyBlock[], docs),
    '',
    ...lines,
  ]
    .join('\n')
    .trimEnd()
    .concat('\n');
}
