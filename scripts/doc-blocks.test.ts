import { expect, it } from 'vitest';
import { brokenPromises, docstrings } from './doc-blocks';

it('every op that the docstring of a block promises on a target is what some example becomes there', () => {
  expect(brokenPromises()).toEqual([]);
});

it('notices a promise that is not kept', () => {
  const key = 'norm layer_norm';
  const { entries, ...doc } = docstrings().get(key)!;
  expect(entries.get('Lowers')).toContain('SkipLayerNormalization');
  const broken = new Map([[key, { ...doc, entries: new Map([['Lowers', 'cpu: LayerNormalization, Gemm · wasm: primitives']]) }]]);
  expect(brokenPromises(broken)).toEqual(['norm layer_norm on cpu: Gemm']);
});
