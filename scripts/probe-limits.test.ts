import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { holds } from '../packages/core/src/lower/size-limit';
import { readOnnx } from '../packages/core/src/onnx/decode';
import { asOnTheCpu, generalised, limitModels, limitsFound, type Outcome, withKnown } from './probe/limits';

const tried = (values: readonly number[], works: (n: number) => boolean) => values.map((n) => [n, works(n)] as const);
const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);

describe('a limit from the values that were tried', () => {
  it.each([
    ['all', (_: number) => true, undefined],
    ['none', (_: number) => false, 'none'],
    ['multiples of 8', (n: number) => n % 8 === 0, { multipleOf: 8 }],
    ['multiples of 8 up to 32', (n: number) => n % 8 === 0 && n <= 32, { multipleOf: 8, max: 32 }],
    ['2 and 3', (n: number) => n === 2 || n === 3, { min: 2, max: 3 }],
    ['powers of two', (n: number) => Number.isInteger(Math.log2(n)), { powerOfTwo: true }],
  ])('%s', (_, works, limit) => expect(generalised(tried(upTo(64), works))).toEqual(limit));

  it('admits no value that was tried and does not work', () => {
    const values = fc.uniqueArray(fc.integer({ min: 1, max: 99 }), { minLength: 1 });
    fc.assert(
      fc.property(values, fc.func(fc.boolean()), (all, works) => {
        const outcomes = tried(all, works);
        const limit = generalised(outcomes);
        for (const [n, ok] of outcomes) {
          if (limit === undefined) expect(ok).toBe(true);
          else if (limit !== 'none' && holds(limit, n)) expect(ok).toBe(true);
        }
      }),
    );
  });
});

describe('what the answers say of a kernel', () => {
  const op = 'com.microsoft.PackedMultiHeadAttention';
  const dtypesOf = (key: string) => (key === op ? (['float32', 'float16'] as const) : []);
  const plain = (dtype: string, outcome: Outcome): Record<string, Outcome> => ({
    [`${op}, ${dtype}, call 0`]: outcome,
    [`${op}, ${dtype}, call 0, biases of the projections`]: outcome,
  });
  const known = { limits: { [op]: { 'scale of 0': 'wrong' } }, tried: { [op]: 'runs: biases of the projections' } } as const;

  it('a dtype whose plain call is wrong is left out, the others are read', () => {
    const found = withKnown(limitsFound({ ...plain('float32', 'right'), ...plain('float16', 'wrong') }, dtypesOf), known);
    expect(found).toEqual({
      limits: {},
      tried: { [op]: 'right: biases of the projections' },
      without: { [op]: ['float16'] },
      doubted: [],
    });
  });

  it('an op of which no plain call is right keeps what is known, and is doubted', () => {
    const found = withKnown(limitsFound({ ...plain('float32', 'wrong'), ...plain('float16', 'wrong') }, dtypesOf), known);
    const tried = { [op]: `from an earlier probe: ${known.tried[op]}` };
    expect(found).toEqual({ limits: known.limits, tried, without: {}, doubted: [op] });
    // Whether once or twice.
    expect(withKnown({ limits: {}, tried: {}, without: {} }, found)).toEqual({ ...found, doubted: [] });
  });

  it('a feature is as its worst call, and pairs count where both work alone', () => {
    const outcomes: Record<string, Outcome> = {
      ...plain('float32', 'right'),
      [`${op}, float32, call 0, negative scale`]: 'right',
      [`${op}, float16, call 0`]: 'right',
      [`${op}, float16, call 0, negative scale`]: 'wrong',
      [`${op}, float32, call 0, v_head_dim other than head_dim`]: 'right',
      [`${op}, float32, call 0, v_head_dim other than head_dim, biases of the projections`]: 'fails',
      [`${op}, float32, call 0, v_head_dim other than head_dim, negative scale`]: 'wrong',
    };
    expect(limitsFound(outcomes, dtypesOf).limits).toEqual({
      [op]: { 'negative scale': 'wrong', 'biases of the projections and v_head_dim other than head_dim': 'fails' },
    });
  });

  it('numbers that nobody compared are wrong where the CPU or a GPU was seen to be', () => {
    const runs = { limits: {}, tried: { [op]: 'runs: negative scale', Attention: 'runs: past' }, without: {} };
    const { limits } = asOnTheCpu(runs, { Attention: { past: 'wrong', 'scores after softcap': 'fails' } });
    expect(limits).toEqual({ [op]: { 'scale of 0': 'wrong', 'negative scale': 'wrong' }, Attention: { past: 'wrong' } });
  });
});

describe('the models of the questions', () => {
  it('no two states of a call share their memory', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'probe-limits-'));
    try {
      const paged = (key: string) => (key === 'com.microsoft.PagedAttention' ? (['float16'] as const) : []);
      const [model] = await limitModels(paged, { name: 'cuda' }, folder, 1);
      const { graph } = readOnnx(readFileSync(join(folder, model!.path)));
      const node = graph.nodes.find(({ opType }) => opType === 'PagedAttention')!;
      expect(new Set(node.inputs.slice(3, 5)).size).toBe(2);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
