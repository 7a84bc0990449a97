import { readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { importsOf, reach, resolveImport, sourceFiles } from '../../../scripts/imports';
import { root } from '../../../scripts/pnpm.mjs';
import { maskClasses } from './mask/index';

const packages = ['core', 'attention', 'feedforward', 'positional', 'residual', 'onnxformers', 'models'] as const;
const blockPackages = ['attention', 'feedforward', 'positional', 'residual'] as const;

const source = (name: string) => join(root, 'packages', name, 'src');
const shown = (file: string) => relative(root, file).replaceAll('\\', '/');
const isTest = (file: string) => /\.(test|test-helper|cases)\.ts$/.test(file);
const shipped = (name: string) => sourceFiles(source(name)).filter((file) => !isTest(file));

/** Every import of a file with the source file that it means, if that lies in the workspace. */
const arrows = (file: string) =>
  importsOf(file).map((specifier) => ({ specifier, target: resolveImport(file, specifier, root) }));

describe('between packages', () => {
  const mayImport: Record<(typeof packages)[number], RegExp> = {
    core: /^@bufbuild\/protobuf(\/.+)?$/,
    attention: /^@onnxformers\/core(\/ops|\/lowering)?$/,
    feedforward: /^@onnxformers\/core(\/ops|\/lowering)?$/,
    positional: /^@onnxformers\/core(\/ops|\/lowering)?$/,
    residual: /^@onnxformers\/core(\/ops|\/lowering)?$/,
    onnxformers: /^@onnxformers\/(core(\/(ops|lowering|node))?|attention|feedforward|positional|residual)$|^@viz-js\/viz$|^yaml$/,
    models: /^(@onnxformers\/core(\/(ops|lowering|node))?|onnxformers|@huggingface\/(gguf|jinja|tokenizers)|fft\.js|wavefile)$/,
  };

  it.each(packages)('%s imports what the design allows', (name) => {
    const entries = name === 'core' ? ['index.ts', 'ops/index.ts', 'lowering.ts', 'testing/index.ts', 'node.ts'] : ['index.ts'];
    const files = reach(entries.map((entry) => join(source(name), entry)));
    const wrong = [...files].flatMap((file) =>
      importsOf(file)
        .filter((specifier) => !specifier.startsWith('.') && !specifier.startsWith('node:') && !mayImport[name].test(specifier))
        .map((specifier) => `${shown(file)} imports ${specifier}`),
    );
    expect(wrong).toEqual([]);
  });

  it.each(packages)('no file of %s reaches into another package by a path, or into a sibling by its name', (name) => {
    const siblings = blockPackages.filter((other) => other !== name).map((other) => `@onnxformers/${other}`);
    const wrong = shipped(name).flatMap((file) =>
      arrows(file)
        .filter(({ specifier, target }) => {
          if (specifier.startsWith('.')) return target !== undefined && !target.startsWith(source(name));
          return !['onnxformers', 'models'].includes(name) && siblings.some((sibling) => specifier.startsWith(sibling));
        })
        .map(({ specifier }) => `${shown(file)} imports ${specifier}`),
    );
    expect(wrong).toEqual([]);
  });

  it('nothing but core/node needs Node', () => {
    const entries = packages.flatMap((name) => [join(source(name), 'index.ts'), join(source(name), 'testing/index.ts')]);
    const wrong = [...reach(entries)].filter((file) => importsOf(file).some((specifier) => specifier.startsWith('node:')));
    expect(wrong.map(shown)).toEqual([]);
  });
});

describe('inside core', () => {
  /** Rooms and the rooms that they see, besides themselves. The first pattern that a file matches is its room. */
  const belowCompile = [
    'tensor',
    'dim',
    'parameter',
    'ir',
    'ops',
    'sequence',
    'module',
    'weights',
    'onnx',
    'lower',
    'interpret',
    'autodiff',
  ];
  const rooms: readonly { room: string; files: RegExp; sees: readonly string[] }[] = [
    { room: 'surface', files: /^(index|lowering|node|saved\/.+|runtime\/worker|testing\/.+|.+\/testing\/.+)$/, sees: ['*'] },
    { room: 'tensor', files: /^(error|progress|given|arguments|tensor\/.+)$/, sees: [] },
    { room: 'dim', files: /^dim\//, sees: ['tensor'] },
    { room: 'parameter', files: /^parameter\//, sees: ['tensor', 'dim'] },
    { room: 'ir', files: /^(ir\/.+|lower\/(rule|reasons?))$/, sees: ['tensor', 'dim', 'parameter'] },
    { room: 'ops', files: /^(ops|mask|expression)\//, sees: ['tensor', 'dim', 'parameter', 'ir'] },
    { room: 'sequence', files: /^sequence\//, sees: ['tensor', 'dim', 'parameter', 'ir', 'ops'] },
    {
      room: 'module',
      files: /^(module|layers|parametrizations)\//,
      sees: ['tensor', 'dim', 'parameter', 'ir', 'ops', 'sequence'],
    },
    {
      room: 'block',
      files: /^(block|config)\//,
      sees: ['tensor', 'dim', 'parameter', 'ir', 'ops', 'sequence', 'module'],
    },
    { room: 'disk', files: /^disk\//, sees: ['tensor'] },
    { room: 'weights', files: /^weights\//, sees: ['tensor', 'dim', 'parameter', 'ir', 'ops', 'disk'] },
    {
      room: 'compile',
      files: /^(compile\/.+|onnx\/fold)$/,
      sees: belowCompile,
    },
    { room: 'onnx', files: /^onnx\//, sees: ['tensor', 'dim', 'parameter', 'ir', 'ops', 'disk', 'weights'] },
    // Rules for packed sequences derive inputs from their lengths.
    { room: 'lower', files: /^(lower|targets|kernels)\//, sees: ['tensor', 'dim', 'parameter', 'ir', 'ops', 'sequence'] },
    { room: 'interpret', files: /^interpret\//, sees: ['tensor', 'dim', 'parameter', 'ir', 'ops'] },
    { room: 'autodiff', files: /^autodiff\//, sees: ['tensor', 'dim', 'parameter', 'ir', 'ops', 'lower'] },
    {
      room: 'explain',
      files: /^explain\//,
      sees: ['tensor', 'dim', 'parameter', 'ir', 'ops', 'sequence', 'module', 'onnx', 'lower', 'interpret', 'compile'],
    },
    {
      room: 'runtime',
      files: /^runtime\//,
      sees: [...belowCompile, 'compile'],
    },
  ];
  const nameIn = (file: string) => relative(source('core'), file).replaceAll('\\', '/').replace(/\.ts$/, '');
  const roomOf = (file: string) => rooms.find(({ files }) => files.test(nameIn(file)));

  it('every file has a room', () => {
    expect(
      shipped('core')
        .filter((file) => roomOf(file) === undefined)
        .map(nameIn),
      'add these to the rooms above',
    ).toEqual([]);
  });

  it('every file begins with a comment about its contents', () => {
    const generated = /^onnx\/gen\/|\.generated$/;
    const silent = shipped('core').filter((file) => !generated.test(nameIn(file)) && !/^\/[/*]/.test(readFileSync(file, 'utf8')));
    expect(silent.map(nameIn)).toEqual([]);
  });

  it('a room is imported only by those that may see it', () => {
    const wrong = shipped('core').flatMap((file) => {
      const from = roomOf(file);
      return arrows(file).flatMap(({ target }) => {
        const to = target && roomOf(target);
        // The type of the vocabulary is for the type checker only; see `ir/vocabulary.ts`.
        if (nameIn(file) === 'ir/vocabulary' && target === join(source('core'), 'ops/index.ts')) return [];
        if (!from || !to || from === to || from.sees.includes('*') || from.sees.includes(to.room)) return [];
        return [`${nameIn(file)} (${from.room}) imports ${nameIn(target)} (${to.room})`];
      });
    });
    expect(wrong).toEqual([]);
  });
});

describe('names', () => {
  /** The string literals of a file, with their lines; import specifiers are none. */
  function literals(file: string): { text: string; line: number }[] {
    const parsed = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.Latest, true);
    const found: { text: string; line: number }[] = [];
    const visit = (node: ts.Node): void => {
      if (ts.isStringLiteralLike(node))
        found.push({ text: node.text, line: parsed.getLineAndCharacterOfPosition(node.getStart()).line + 1 });
      if (!ts.isImportDeclaration(node) && !ts.isExportDeclaration(node)) ts.forEachChild(node, visit);
    };
    visit(parsed);
    return found;
  }
  const mentions = (files: readonly string[], words: ReadonlySet<string>) =>
    files.flatMap((file) =>
      literals(file)
        .filter(({ text }) => words.has(text))
        .map(({ text, line }) => `${shown(file)}:${line} says '${text}'`),
    );

  it('core names no block', async () => {
    const names = new Set<string>();
    for (const name of [...blockPackages, 'onnxformers']) {
      const { blocks: lists = [] } = (await import(join(source(name), 'index.ts'))) as { blocks?: object };
      const blocks = Object.values(lists).flat() as readonly { blockName: string; kind: string }[];
      for (const { blockName } of blocks) names.add(blockName);
      for (const { kind } of blocks) names.delete(kind);
    }
    names.delete('tanh'); // also a value of an attribute of the ONNX op Gelu
    names.delete('parallel'); // also an execution mode of the runtime's sessions
    // Also classes of masks.
    for (const name of Object.keys(maskClasses)) names.delete(name);
    expect(names.size).toBeGreaterThan(10);
    expect(mentions(shipped('core'), names)).toEqual([]);
  });

  it('blocks name no target', () => {
    const targets = new Set(['portable', 'cpu', 'cuda', 'webgpu', 'wasm', 'differentiable']);
    expect(mentions(blockPackages.flatMap(shipped), targets)).toEqual([]);
  });

  it('the search finds only literals', () => {
    const here = literals(join(source('core'), 'imports.test.ts')).map(({ text }) => text);
    expect(here).toContain('differentiable');
    expect(here).not.toContain(['node', 'path'].join(':'));
  });
});
