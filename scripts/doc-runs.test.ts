// Runs the pages whose code is a whole program, as a user would, and compares what they print with what they say.
import { execFile } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { markdownExample } from './doc-examples';
import { root } from './pnpm.mjs';

const pages = [
  'README.md',
  'docs/guides/blocks.md',
  'docs/guides/getting-started.md',
  'docs/guides/how-compilation-works.md',
  'docs/guides/coming-from-xformers.md',
  'docs/guides/checkpoints.md',
  'docs/guides/training.md',
  'docs/guides/lora-and-quantised-weights.md',
  'docs/guides/masks.md',
  'docs/guides/packed-batches.md',
  'docs/guides/generation.md',
  'docs/guides/pretrained-models.md',
  'docs/guides/quantise.md',
  'docs/guides/adding-a-family.md',
  'docs/guides/adding-a-kernel.md',
  'docs/guides/adding-a-target.md',
  'docs/guides/mechanisms-without-softmax.md',
  ...readdirSync(join(root, 'packages')).map((name) => `packages/${name}/README.md`),
];
const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
const flags = ['--conditions=@onnxformers/source', '--import', tsx];

/** Checkpoints that a page may load, as folders. */
const checkpoints = join(root, 'packages/models/fixtures');

/** Standard output of a page's code, run in a folder with a text in it, and with checkpoints if it loads some. */
async function run(page: string, text: string): Promise<string[]> {
  const [program] = markdownExample(page, text);
  // A place where imports find the packages, and one where the page may write.
  const pretrained = text.includes('@onnxformers/models');
  const cache = join(root, 'packages', pretrained ? 'models' : 'onnxformers', '.cache');
  mkdirSync(cache, { recursive: true });
  const place = mkdtempSync(join(cache, 'page-'));
  const cwd = mkdtempSync(join(tmpdir(), 'page-'));
  try {
    writeFileSync(join(place, 'page.ts'), program!.lines.map((line) => line.text).join('\n'));
    copyFileSync(join(root, 'LICENSE'), join(cwd, 'text.txt'));
    if (pretrained) cpSync(checkpoints, cwd, { recursive: true });
    const { stdout } = await promisify(execFile)(process.execPath, [...flags, join(place, 'page.ts')], { cwd });
    return stdout.split('\n');
  } finally {
    for (const folder of [place, cwd]) rmSync(folder, { recursive: true });
  }
}

const losses = (lines: readonly string[]): [step: number, loss: number][] =>
  lines.flatMap((line) => {
    const [, step, loss] = /^step (\d+): loss ([\d.]+)$/.exec(line) ?? [];
    return loss === undefined ? [] : [[Number(step), Number(loss)]];
  });

it.each(pages)(
  '%s',
  async (page) => {
    const text = readFileSync(join(root, page), 'utf8');
    const printed = await run(page, text);
    // What a line says that it prints, where that is one word or number.
    const promised = text.split('\n').flatMap((line) => /^console\.log\(.*\); \/\/ (true|[\d,]+)$/.exec(line)?.[1] ?? []);
    expect(printed.filter((line) => /^(true|false|[\d,]+)$/.test(line))).toEqual(promised);
    const told = losses(text.split('\n'));
    const seen = losses(printed);
    expect(seen.map(([step]) => step)).toEqual(told.map(([step]) => step));
    seen.forEach(([, loss], i) => {
      expect(Math.abs(loss / told[i]![1] - 1)).toBeLessThan(0.1);
    });
  },
  240_000,
);
