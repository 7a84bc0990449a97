/**
 * Writes the pages of the guides that are made from the sources, their pictures, the golden op lists beside the blocks, and the comments above their fields.
 *
 *     tsx scripts/doc-pages.ts            writes
 *     tsx scripts/doc-pages.ts --check    fails where a page is not what would be written
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { attentionPage } from './doc-attention';
import { blocksPage } from './doc-blocks';
import { commandsPage } from './doc-commands';
import { kernelsPage } from './doc-kernels';
import { patternPictures } from './doc-patterns';
import { pictures } from './doc-pictures';
import { commentsOf, fieldDocs } from './field-docs';
import { goldenLists } from './golden-ops';
import { root } from './pnpm.mjs';

const pages: Readonly<Record<string, () => string>> = {
  'docs/guides/blocks.md': blocksPage,
  'docs/guides/kernels.md': kernelsPage,
  'docs/guides/attention-kernels.md': attentionPage,
  'docs/guides/command-line.md': commandsPage,
};

function current(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

/** The first line in which two texts differ. */
function difference(before: string, now: string): string {
  const [a, b] = [before.split('\n'), now.split('\n')];
  const at = b.findIndex((line, i) => line !== a[i]);
  return at < 0
    ? `it ends after line ${b.length}`
    : `line ${at + 1}: expected ${JSON.stringify(b[at])}, got ${JSON.stringify(a[at] ?? '')}`;
}

// A file whose comments are right is left as it is formatted.
const documented = [...fieldDocs()].filter(([name, text]) => commentsOf(text) !== commentsOf(current(join(root, name)) ?? ''));
const made = [
  ...Object.entries(pages).map(([name, page]) => [name, page()] as const),
  ...(await pictures()),
  ...patternPictures(),
  ...goldenLists(),
  ...documented,
];
for (const [name, now] of made) {
  const path = join(root, name);
  const before = current(path);
  if (before === now) continue;
  if (process.argv.includes('--check')) {
    console.error(
      `${name} is not what the sources say (${difference(before ?? '', now)}). Run \`npm run pages\` and commit the result.`,
    );
    process.exitCode = 1;
  } else {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, now);
    console.log(`wrote ${name}`);
  }
}
