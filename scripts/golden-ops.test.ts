// What blocks become, against the golden lists beside them and against their docstrings.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { wrongDtypes, wrongLowers, wrongMasks, wrongShapes } from './doc-claims';
import { type Docstrings, docstrings } from './docstrings';
import { changesOf, goldenLists } from './golden-ops';
import { root } from './pnpm.mjs';

// Every example is compiled for every place.
vi.setConfig({ testTimeout: 300_000 });

/** The docstrings, with one entry of one block said in another way. */
function saying(key: string, entry: string, text: string): Docstrings {
  const docs = docstrings();
  const { entries, ...doc } = docs.get(key)!;
  expect(entries.get(entry)).toBeDefined();
  return new Map([...docs, [key, { ...doc, entries: new Map([...entries, [entry, text]]) }]]);
}

it('the golden list beside every block lists the ops of its examples; after an intended change: npm run pages', () => {
  const changes = [...goldenLists()].flatMap(([path, now]) => {
    const file = join(root, path);
    return existsSync(file)
      ? changesOf(readFileSync(file, 'utf8'), now).map((change) => `${path}: ${change}`)
      : [`${path} is missing`];
  });
  expect(changes).toEqual([]);
});

it('names the op that came and the one that went', () => {
  const list = '{"k":3} · alone, causal\n  portable: MatMul\n  cpu, wasm: *BiasGelu, MatMul 2\n';
  const changed = list.replace('cpu, wasm: *BiasGelu, MatMul 2', 'cpu: *BiasGelu, MatMul 2\n  wasm: MatMul 2, Transpose 2');
  expect(changesOf(list, list)).toEqual([]);
  expect(changesOf(list, changed)).toEqual([
    '{"k":3} · alone on wasm: 1 *BiasGelu fewer, 2 Transpose more',
    '{"k":3} · causal on wasm: 1 *BiasGelu fewer, 2 Transpose more',
  ]);
});

it('Lowers names exactly the ops that a block is lowered to on each target', () => {
  expect(wrongLowers(docstrings())).toEqual([]);
  expect(wrongLowers(saying('norm layer_norm', 'Lowers', 'cpu: LayerNormalization, Gemm · wasm: primitives'))).toEqual(
    expect.arrayContaining([
      'norm layer_norm on cpu: no example becomes Gemm',
      'norm layer_norm on cpu: SkipLayerNormalization is not named',
      'norm layer_norm on wasm: LayerNormalization is not named',
    ]),
  );
});

it('Dtypes names the dtypes in which every example compiles on every target', () => {
  expect(wrongDtypes(docstrings())).toEqual([]);
});

it('Masks begins with the masks that the definition declares', () => {
  expect(wrongMasks(docstrings())).toEqual([]);
  expect(wrongMasks(saying('attention nystrom', 'Masks', 'lengths'))).toEqual([
    'attention nystrom: expected "lengths, keyPadding", got "lengths"',
  ]);
});

it('Shapes states the dims of the examples', () => {
  expect(wrongShapes(docstrings())).toEqual([]);
  expect(wrongShapes(saying('feedforward mlp', 'Shapes', 'x [..., dim] → [..., hidden]'))).not.toEqual([]);
});
