import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { importsOf, resolveImport } from './imports';
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
      `export type { D } from './d';`,
      `import './e';`,
      `const f = import('./f');`,
      `type G = import('./g').G;`,
      `const s = "import './no'"; // import './no'`,
    ].join('\n'),
  );
  expect(importsOf(file).sort()).toEqual(['./a', './b', './c', './d', './e', './f', './g']);
  rmSync(folder, { recursive: true });
});

it('resolves neighbours and packages of the workspace to sources, and nothing else', () => {
  const from = join(root, 'packages/core/src/index.ts');
  expect(resolveImport(from, './error', root)).toBe(join(root, 'packages/core/src/error.ts'));
  expect(resolveImport(from, '../src', root)).toBe(from);
  expect(resolveImport(from, '@onnxformers/core', root)).toBe(from);
  expect(resolveImport(from, '@onnxformers/core/node', root)).toBe(join(root, 'packages/core/src/node.ts'));
  expect(resolveImport(from, 'onnxformers', root)).toBe(join(root, 'packages/onnxformers/src/index.ts'));
  expect(resolveImport(from, 'zod/mini', root)).toBeUndefined();
  expect(resolveImport(from, 'node:fs', root)).toBeUndefined();
  expect(resolveImport(from, 'core', root)).toBeUndefined();
});
