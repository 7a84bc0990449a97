// Attention under a layout of blocks, with the blocks of keys gathered: the same numbers, in memory that follows the flags.
import { type AnyModule, type CompileOptions, compile, interpret, type Model, targets } from '@onnxformers/core';
import { expectClose, footprint, randomArray } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { blocksparse } from '../sparse/blocksparse';

const [batch, heads, kvHeads, width, blockSize, count] = [2, 6, 2, 8, 16, 19];
const feeds = (seq: number) => ({
  q: randomArray('q', [batch, heads, seq, width]),
  k: randomArray('k', [batch, kvHeads, seq, width]),
  v: randomArray('v', [batch, kvHeads, seq, width]),
});
const layoutOf = (allowed: (h: number, i: number, j: number) => boolean, of: number): number[][][] =>
  Array.from({ length: of }, (_, h) =>
    Array.from({ length: count }, (__, i) => Array.from({ length: count }, (___, j) => Number(allowed(h, i, j)))),
  );
// A band, a column and a row of global blocks, and a row without any.
const banded = (_: number, i: number, j: number) => i !== 7 && (Math.abs(i - j) <= 1 || j === 2 || i === 4);
const differing = (h: number, i: number, j: number) => (i * 5 + j * 3 + h) % 7 === 0;
const inputs = (more: CompileOptions['inputs'] = {}): CompileOptions['inputs'] => ({
  q: ['float32', ['batch', heads, 'seq', width]],
  k: ['float32', ['batch', kvHeads, 'seq', width]],
  v: ['float32', ['batch', kvHeads, 'seq', width]],
  ...more,
});
const becomes = ({ decisions }: Model) => decisions.find(({ op }) => op === 'onnxformers.Attend')!;
const lengths = { lengths: ['int64', ['batch']] } as const;

describe.each([targets.portable(18), targets.cpu])('a layout of blocks on $name', (target) => {
  it.each([
    ['one for all heads', { layout: layoutOf(banded, 1) }, {}],
    ['causal', { layout: layoutOf(banded, 1), causal: true }, {}],
    ['one for each head', { layout: layoutOf(differing, heads), scale: 0.7 }, {}],
    ['causal, for each head, under lengths', { layout: layoutOf(differing, heads), causal: true }, lengths],
    ['under lengths', { layout: layoutOf(banded, 1) }, lengths],
  ] as const)('%s', (_, config, more) => {
    const block = blocksparse({ ...config, blockSize }) as unknown as AnyModule;
    const model = compile(block, { target, inputs: inputs(more) });
    expect(becomes(model).chosen).toBe('Attend → gathered blocks');
    for (const seq of [5, 131, count * blockSize]) {
      const real = { lengths: { dtype: 'int64', dims: [2], data: Float64Array.of(seq, Math.ceil(seq / 3)) } } as const;
      const given = { ...feeds(seq), ...('lengths' in more && real) };
      const sizes = { batch, seq };
      expectClose(interpret(model.graph, given, { sizes }).y!, interpret(model.traced, given, { sizes }).y!, {
        rtol: 1e-6,
        atol: 1e-6,
      });
    }
  });
});

it('takes memory in proportion to the flags', () => {
  const largest = (n: number) => {
    const layout = [Array.from({ length: n }, (_, i) => Array.from({ length: n }, (__, j) => Number(Math.abs(i - j) <= 1)))];
    const model = compile(blocksparse({ layout, blockSize }) as unknown as AnyModule, {
      target: targets.portable(21),
      inputs: inputs(),
    });
    expect(becomes(model).chosen).toBe('Attend → gathered blocks');
    return footprint(model.graph, { batch: 1, seq: n * blockSize }).largest.at;
  };
  expect(largest(64)).toBeLessThan(2.1 * largest(32));
});

it('is computed for all pairs where that takes less time', () => {
  const few = compile(
    blocksparse({
      layout: [
        [
          [1, 0],
          [1, 1],
        ],
      ],
      blockSize,
    }) as unknown as AnyModule,
    { target: targets.portable(21), inputs: inputs() },
  );
  const refused = becomes(few).refused.find(({ rule }) => rule === 'Attend → gathered blocks');
  expect(refused?.reason.text).toMatch(/gathering \d+ keys for each query takes longer than attending to all 32/);
});
