// What an editor offers while a config is typed, asked of the language service of TypeScript itself.
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { beforeAll, expect, it } from 'vitest';

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
  text = `import { multiHead, relu, zoo } from './index';\n${code}`;
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
