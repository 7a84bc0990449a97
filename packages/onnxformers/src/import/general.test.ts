import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

const files = readdirSync(import.meta.dirname).filter((name) => /(?<!\.test)\.ts$/.test(name));

it('what all imports share names no library', () => {
  expect(files).toEqual(['options.ts', 'translated.ts', 'weights.ts']);
  for (const name of files)
    expect(readFileSync(`${import.meta.dirname}/${name}`, 'utf8'), name).not.toMatch(/(?<!onn)xformers|hugging/i);
});
