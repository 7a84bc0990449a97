// Patterns on the command line.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { dir, here, write } from './cli.test-helper';

it('prints a pattern, with the share of its pairs', async () => {
  const { code, out } = await here(
    'pattern',
    '{ "and": [{ "name": "causal" }, { "name": "window", "left": 1, "right": 0 }] }',
    '--seq',
    '4',
  );
  expect(code).toBe(0);
  expect(out).toBe('■···\n■■··\n·■■·\n··■■\ncausal, window(1 left, 0 right): 7 of 16 pairs, 43.8 %\n');
});

it('reads a name or a file, and draws one head', async () => {
  await write('alibi.json', { name: 'alibi', heads: 2, seqLen: 5, threshold: 0.2 });
  const { out } = await here('pattern', join(dir, 'alibi.json'), '--head', '1', '--json');
  expect(JSON.parse(out)).toMatchObject({ seq: 5, heads: 2, head: 1, pairs: 25, density: 1 });
  const file = join(dir, 'causal.svg');
  expect((await here('pattern', 'causal', '--seq', '3', '--out', file)).out).toContain('causal: 6 of 9 pairs');
  const picture = await readFile(file, 'utf8');
  const cells = (kind: string) => new RegExp(`class="${kind}" d="([^"]*)"`).exec(picture)![1]!.match(/M/g)!.length;
  expect([cells('yes'), cells('no')]).toEqual([6, 3]);
});

it.each([
  [['pattern', 'swim'], 1, /no such pattern; got "swim". Did you mean "swin"/],
  [['pattern', '{ "name": '], 2, /PATTERN is not JSON/],
  [['pattern', '{ "name": "axial", "sizes": [3, 3] }', '--seq', '8'], 1, /the pattern has its own size; expected 9, got 8/],
  [['pattern', 'causal', '--head', '1'], 2, /--head must be below 1/],
  [['pattern', 'causal', '--out', 'causal.png'], 2, /a file that ends in .svg/],
] as const)('refuses %o', async (args, code, message) => {
  const said = await here(...args);
  expect(said.code).toBe(code);
  expect(said.err).toMatch(message);
});
