import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { root } from './pnpm.mjs';
import { pageOf } from './typedoc-entries.mjs';

describe('code in a document', () => {
  const named = (...names: string[]) => new Map(names.map((name) => [name, { name } as never]));
  const pages = named('multiHead', 'createRunner', 'compile', 'causal', 'relu', 'ops.size', 'Value', 'Value.rank');
  const blocks = new Map([
    ['multi_head', 'multiHead'],
    ['relu', 'relu'],
  ]);
  it.each([
    ['`multi_head`', 'multiHead'],
    ['`multiHead`', 'multiHead'],
    ['`createRunner`', 'createRunner'],
    ['`compile({ target })`', 'compile'],
    ['`ops.size`', 'ops.size'],
    ['`ops.size(x, dim)`', 'ops.size'],
    ['`Value`', 'Value'],
    ['`relu()`', 'relu'],
    // Words of options and sizes, and what is not a name.
    ['`causal`', undefined],
    ['`relu`', undefined],
    ['`lengths`', undefined],
    ['`unknownName`', undefined],
    ['`compile --help`', undefined],
    ['`a.b.c`', undefined],
  ])('%s leads to %s', (code, page) => {
    expect(pageOf(code, pages, blocks)?.name).toBe(page);
  });
});

describe('full-text search', () => {
  const settings = JSON.parse(readFileSync(join(root, 'typedoc.json'), 'utf8')) as {
    readonly searchInDocuments: boolean;
    readonly projectDocuments: readonly string[];
  };
  it.each(['KV cache', 'padding', 'greedy', 'attention mask', 'sliding window', 'RoPE', 'LoRA'])(
    'finds "%s" in a document of the site',
    (words) => {
      expect(settings.searchInDocuments).toBe(true);
      const texts = settings.projectDocuments.map((path) => readFileSync(join(root, path), 'utf8').toLowerCase());
      const found = texts.filter((text) =>
        words
          .toLowerCase()
          .split(' ')
          .every((word) => text.includes(word)),
      );
      expect(found.length).toBeGreaterThan(0);
      const glossary = readFileSync(join(root, 'docs/glossary.md'), 'utf8').toLowerCase().replaceAll('_', ' ');
      expect(glossary).toContain(words.toLowerCase());
    },
  );
});
