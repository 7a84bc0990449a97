import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { isBlock } from '@onnxformers/core';
import { expect, it } from 'vitest';
import { blocks } from './index';

it('lists every block of the package', async () => {
  const folder = fileURLToPath(new URL('.', import.meta.url));
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(
    (f) => /(?<!\.test|\.test-helper)\.ts$/.test(f) && !f.endsWith('index.ts'),
  );
  const found: unknown[] = [];
  for (const file of files)
    found.push(...Object.values((await import(pathToFileURL(join(folder, file)).href)) as object).filter(isBlock));
  expect(found.length).toBeGreaterThan(10);
  expect(found.filter((block) => !(blocks as readonly unknown[]).includes(block))).toEqual([]);
  expect(new Set(blocks).size).toBe(blocks.length);
});
