// The catalogue says everything about every block.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { zoo } from '../packages/onnxformers/src/index';
import { root } from './pnpm.mjs';

const page = readFileSync(join(root, 'docs/guides/blocks.md'), 'utf8');
/** The text of each block, in the order of the page, which is that of kinds and blocks. */
const sections = page
  .split(/^(?=### )/m)
  .slice(1)
  .map((text) => [/^### (\S+)/.exec(text)![1]!, text] as const);
/** Functions that are older than any paper about transformers, and what only holds layers. */
const withoutPaper = ['custom', 'identity', 'sigmoid', 'stack', 'tanh'];
const parts: Readonly<Record<string, RegExp>> = {
  formula: /^ {4}\S/m,
  shapes: /^- Shapes: /m,
  dtypes: /^- Dtypes: /m,
  cost: /^- Cost: /m,
  options: /^\| option \| value \||^No options\./m,
  example: /^await example\('\w+', \{ name|^await example\('\w+', \{$/m,
  kernels: /^\| target \| ops \|/m,
};

it('has a section for every block', () => {
  expect(sections.map(([name]) => name).sort()).toEqual(zoo.blocks.map(({ blockName }) => blockName).sort());
});

it('has a formula, shapes, dtypes, cost, options, an example and kernels of each, and a paper where there is one', () => {
  const missing = sections.flatMap(([name, text]) =>
    Object.entries(parts).flatMap(([part, form]) => (form.test(text) ? [] : [`${name}: no ${part}`])),
  );
  expect(missing).toEqual([]);
  const papers = sections.filter(([, text]) => !/^- Source: /m.test(text)).map(([name]) => name);
  expect([...new Set(papers)].sort()).toEqual(withoutPaper);
});

it('has a picture of each pattern', () => {
  const shown = sections.flatMap(([name, text]) => {
    const path = /!\[The pattern of \S+\]\(\.\.\/(\S+)\)/.exec(text)?.[1];
    return path === undefined ? [] : [[name, path] as const];
  });
  for (const [, path] of shown) expect(existsSync(join(root, 'docs', path)), path).toBe(true);
  const names = shown.map(([name]) => name);
  for (const name of [
    'local',
    'blocksparse',
    'global',
    'random',
    'sparse',
    'neighborhood',
    'shifted_window',
    'pooling',
    'mamba2',
  ])
    expect(names).toContain(name);
  for (const name of ['nystrom', 'linformer', 'multi_head', 'mlp']) expect(names).not.toContain(name);
});
