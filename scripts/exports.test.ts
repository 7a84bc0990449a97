import { describe, expect, it } from 'vitest';
import { exportsOf } from './exports';

describe('exportsOf', () => {
  const entries = { '.': 'src/index.ts', './multi-head': 'src/mixers/multi-head.ts' };

  it('uses the file name of a block as its subpath', () => {
    expect(exportsOf(entries, { published: true })['./multi-head']).toEqual({
      import: { types: './dist/mixers/multi-head.d.ts', default: './dist/mixers/multi-head.js' },
      require: { types: './dist/mixers/multi-head.d.cts', default: './dist/mixers/multi-head.cjs' },
    });
  });

  it('lists the sources first, and only if they exist', () => {
    const inWorkspace = exportsOf(entries, { published: false })['./multi-head'] as object;
    expect(Object.keys(inWorkspace)[0]).toBe('@onnxformers/source');
    expect(inWorkspace).toHaveProperty('@onnxformers/source', './src/mixers/multi-head.ts');
    expect(JSON.stringify(exportsOf(entries, { published: true }))).not.toContain('src/');
  });
});
