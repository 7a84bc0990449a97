// What an editor offers while a config is typed, asked of the language service of TypeScript itself.
import { fileURLToPath } from 'node:url';
import { exampleOf } from '@onnxformers/core/testing';
import ts from 'typescript';
import { beforeAll, expect, it } from 'vitest';
import { kinds, zoo } from './index';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const file = fileURLToPath(new URL('./typed-by-hand.ts', import.meta.url));
let text = '';
let version = 0;
let service: ts.LanguageService;

beforeAll(() => {
  const { options } = ts.parseJsonConfigFileContent(
    ts.readConfigFile(`${root}tsconfig.json`, ts.sys.readFile).config,
    ts.sys,
    root,
  );
  const read = (path: string) => (path === file ? text : ts.sys.readFile(path));
  service = ts.createLanguageService({
    getScriptFileNames: () => [file],
    getScriptVersion: (path) => (path === file ? String(version) : '0'),
    getScriptSnapshot: (path) => {
      const content = read(path);
      return content === undefined ? undefined : ts.ScriptSnapshot.fromString(content);
    },
    getCurrentDirectory: () => root,
    getCompilationSettings: () => options,
    getDefaultLibFileName: ts.getDefaultLibFilePath,
    fileExists: (path) => path === file || ts.sys.fileExists(path),
    readFile: read,
    readDirectory: ts.sys.readDirectory,
    directoryExists: ts.sys.directoryExists,
    getDirectories: ts.sys.getDirectories,
    realpath: (path) => ts.sys.realpath?.(path) ?? path,
  });
});

/** What is offered where `|` stands. */
function offered(code: string): readonly string[] {
  text = `import { zoo } from './index';\n${code}`;
  version++;
  const at = text.indexOf('|');
  text = text.replace('|', '');
  return (service.getCompletionsAtPosition(file, at, {})?.entries ?? []).map(({ name }) => name);
}

/** The documentation that is shown at `|`. */
function documented(code: string): string {
  text = `import { compile, createRunner, multiHead, type Ort, relu, type SequenceContext, targets, type Value, zoo } from './index';\n${code}`;
  version++;
  const at = text.indexOf('|');
  text = text.replace('|', '');
  return ts.displayPartsToString(service.getQuickInfoAtPosition(file, at)?.documentation);
}

it.each([
  ['of a config', "zoo.build('mixer', { name: 'multi_head', he|ads: 2 })", 'query heads. Inherited from the enclosing block.'],
  [
    'of an option with a default',
    "zoo.build('mixer', { name: 'multi_head', bi|as: true })",
    'projections have a bias. Default: `true`.',
  ],
  ['of a slot', "zoo.build('layer', { name: 'pre_norm', mi|xer: 'multi_head' })", 'the mixer, which mixes positions. Optional.'],
  [
    'of a block in a slot, with its unit',
    "zoo.build('mixer', { name: 'multi_head', attention: { name: 'local', wi|ndow: 3 } })",
    '(positions)',
  ],
  ['of a block by hand', 'multiHead({ di|m: 12, heads: 3 })', 'input channels. Inherited from the enclosing block.'],
  ['of a factory, from fields that it shares', "zoo.build('model', { name: 'encoder', sta|ck: 'stack' })", 'the layers.'],
] as const)('an editor shows the documentation %s', (_, code, expected) => {
  expect(documented(code)).toContain(expected);
});

const encoder = `const lm = zoo.build('model', { name: 'causal_lm', dim: 12, vocabSize: 23, embedding: 'token', stack: 'stack' });
const model = compile(lm, { target: targets.cpu, inputs: { ids: ['int64', ['batch', 'seq']], lengths: ['int64', ['batch']], mine: ['float32', [1], 'data'] } });
declare const ort: Ort;
const run = await createRunner(model, ort);
declare const t: Parameters<typeof run>[0]['ids'];
const o = await run({ ids: t, lengths: t });
`;
it.each([
  [
    'an input, where it is declared',
    "compile(relu(), { target: targets.cpu, inputs: { x: ['float32', ['n']], leng|ths: ['int64', ['batch']] } });",
    'Lengths: real positions of each sequence, int64 [batch]',
  ],
  ['a feed', `${encoder}await run({ i|ds: t });`, 'Token ids, int64 [batch, seq]'],
  ['an output', `${encoder}o.log|its;`, 'Logits: scores of each token'],
  [
    'an output of a block by itself',
    "const model = compile(relu(), { target: targets.cpu, inputs: { x: ['float32', ['n']] } }); declare const ort: Ort; const { |y } = await (await createRunner(model, ort))({});",
    'Result of a block by itself',
  ],
  [
    'a block that is called',
    'declare const x: Value; declare const ctx: SequenceContext; const mixer = multiHead({ dim: 12, heads: 3 }); mix|er(x, ctx);',
    '[..., seq, dim] → [..., seq, out_dim]',
  ],
] as const)('an editor shows what %s is', (_, code, expected) => {
  expect(documented(code)).toContain(expected);
});

it('every output that a kind or a block declares has a documentation', () => {
  const ofKinds = Object.values(kinds).flatMap((kind) => kind.alone?.outputs ?? []);
  const ofBlocks = zoo.blocks.flatMap(({ definition }) =>
    'outputs' in definition ? (definition.outputs as readonly string[]) : [],
  );
  const names = [...new Set([...ofKinds, ...ofBlocks])];
  expect(names.length).toBeGreaterThan(4);
  for (const name of names)
    expect(
      documented(
        `import type { OutputsByName } from '@onnxformers/core';\ndeclare const o: OutputsByName<'${name}', number>; o.|${name};`,
      ),
      name,
    ).not.toBe('');
});

it('every input that a block reads by itself has a documentation', () => {
  const read = zoo.blocks
    .flatMap((block) => block.definition.examples.map((_, i) => exampleOf(block, i, zoo).inputs))
    .flatMap(Object.keys);
  const names = [...new Set(read)];
  expect(names).toEqual(expect.arrayContaining(['ids', 'x', 'memory', 'decoder_ids']));
  for (const name of names)
    expect(
      documented(
        `import type { InputsByName } from '@onnxformers/core';\ndeclare const o: InputsByName<'${name}', number>; o.|${name};`,
      ),
      name,
    ).not.toBe('');
});

it.each([
  ['kinds', "zoo.build('|', {})", ['mixer', 'model'], ['multi_head']],
  ['names of models', "zoo.build('model', { name: '|' })", ['causal_lm', 'encoder'], ['multi_head']],
  ['names alone', "zoo.build('layer', { name: 'pre_norm', mixer: '|' })", ['multi_head', 'fourier_mix'], ['mlp']],
  [
    'names in slots of slots',
    "zoo.build('layer', { name: 'pre_norm', mixer: { name: 'multi_head', attention: { name: '|' } } })",
    ['scaled_dot_product', 'linformer'],
    ['multi_head'],
  ],
  [
    'options of the block that was named, without those that stand there',
    "zoo.build('layer', { name: 'pre_norm', mixer: { name: 'multi_head', heads: 2, | } })",
    ['kvHeads', 'rotaryEmbedding'],
    ['heads', 'outputProjection'],
  ],
  [
    'words of an option',
    "zoo.build('mixer', { name: 'multi_head', rotaryEmbedding: { name: 'rotary', scaling: '|' } })",
    ['yarn', 'llama3'],
    ['rotary'],
  ],
] as const)('%s', (_, code, there, absent) => {
  const names = offered(code);
  expect(names).toEqual(expect.arrayContaining([...there]));
  for (const name of absent) expect(names).not.toContain(name);
});
