import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { expect, it } from 'vitest';
import { arrowsBetween, circles, importsOf, resolveImport, sourceFiles } from './imports';
import { root } from './pnpm.mjs';

it('finds every form of import', () => {
  const folder = mkdtempSync(join(tmpdir(), 'imports-'));
  const file = join(folder, 'x.ts');
  writeFileSync(
    file,
    [
      `import { a } from './a';`,
      `import type { B } from './b';`,
      `export * from './c';`,
      `export * as h from './h';`,
      `export type { D } from './d';`,
      `import './e';`,
      `const f = import('./f');`,
      `type G = import('./g').G;`,
      `const s = "import './no'"; // import './no'`,
    ].join('\n'),
  );
  expect(importsOf(file).sort()).toEqual(['./a', './b', './c', './d', './e', './f', './g', './h']);
  rmSync(folder, { recursive: true });
});

it('resolves only relative files and packages of the workspace to sources', () => {
  const from = join(root, 'packages/core/src/index.ts');
  expect(resolveImport(from, './error', root)).toBe(join(root, 'packages/core/src/error.ts'));
  expect(resolveImport(from, '../src', root)).toBe(from);
  expect(resolveImport(from, '@onnxformers/core', root)).toBe(from);
  expect(resolveImport(from, '@onnxformers/core/node', root)).toBe(join(root, 'packages/core/src/node.ts'));
  expect(resolveImport(from, 'onnxformers', root)).toBe(join(root, 'packages/onnxformers/src/index.ts'));
  expect(resolveImport(from, 'typescript', root)).toBeUndefined();
  expect(resolveImport(from, 'node:fs', root)).toBeUndefined();
  expect(resolveImport(from, 'core', root)).toBeUndefined();
});

it('finds import cycles, also through types and other files', () => {
  const folder = mkdtempSync(join(tmpdir(), 'circles-'));
  const write = (name: string, ...lines: string[]) => writeFileSync(join(folder, `${name}.ts`), lines.join('\n'));
  write('a', `import type { B } from './b';`, `import './leaf';`);
  write('b', `export { c } from './c';`);
  write('c', `type A = import('./a').A;`, `import './leaf';`);
  write('self', `import './self';`);
  write('x', `import './y';`, `import './a';`);
  write('y', `import type { X } from './x';`);
  write('leaf', '');
  write('above', `import './a';`, `import './x';`);
  const found = circles(arrowsBetween(sourceFiles(folder), root));
  const names = found.map((circle) => circle.map((file) => relative(folder, file)));
  expect(names).toEqual([['a.ts', 'b.ts', 'c.ts'], ['self.ts'], ['x.ts', 'y.ts']]);
  rmSync(folder, { recursive: true });
});

it('no file imports one that imports it, types included', () => {
  // A definition is written in ops, so the graph names their type, in one file that is nothing else.
  const vocabulary = join(root, 'packages/core/src/ir/vocabulary.ts');
  const files = ['packages', 'examples', 'scripts'].flatMap((name) => sourceFiles(join(root, name)));
  const arrows = new Map(arrowsBetween(files, root)).set(vocabulary, []);
  const shown = circles(arrows).map((circle) => circle.map((file) => relative(root, file)).join(' ↔ '));
  expect(shown).toEqual([]);
});

it('scripts reach packages by their paths: the workspace itself depends on none of them', () => {
  const wrong = sourceFiles(join(root, 'scripts')).flatMap((file) =>
    importsOf(file)
      .filter((specifier) => /^(@onnxformers\/|onnxformers$)/.test(specifier))
      .map((specifier) => `${relative(root, file)} imports ${specifier}`),
  );
  expect(wrong).toEqual([]);
});
