import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { dft } from '../ops/fourier';
import { GraphBuilder } from '../ops/vocabulary';
import { portable } from '../targets/portable';
import { type KernelLimits, strictest, withinLimits } from './kernel-limits';
import { lower } from './lower';
import { reasons } from './reasons';
import { bothSizes, holds, printLimit, type SizeLimit } from './size-limit';

describe('sizes', () => {
  const limits: KernelLimits = { head_dim: { multipleOf: 8, max: 256 }, length: { powerOfTwo: true } };
  it.each([
    [{ head_dim: 64, length: 16 }, true],
    [{ head_dim: 12 }, reasons.sizeLimit({ size: 'head_dim', got: 12, limit: 'a multiple of 8, at most 256', multipleOf: 8 })],
    [{ head_dim: 264 }, reasons.sizeLimit({ size: 'head_dim', got: 264, limit: 'a multiple of 8, at most 256', multipleOf: 8 })],
    [{ length: 'seq' }, reasons.sizeLimit({ size: 'length', got: 'seq', limit: 'a power of two', multipleOf: undefined })],
    [{ length: undefined, other: 7 }, true],
  ])('%j', (asked, expected) => expect(withinLimits(asked, limits)).toEqual(expected));

  const size = fc.record(
    {
      multipleOf: fc.integer({ min: 1, max: 24 }),
      powerOfTwo: fc.constant(true as const),
      min: fc.integer({ min: 1, max: 50 }),
      max: fc.integer({ min: 1, max: 99 }),
    },
    { requiredKeys: [] },
  );
  it('of two kernels together are those that both support', () => {
    fc.assert(
      fc.property(size, size, fc.integer({ min: 1, max: 128 }), (a, b, n) => {
        expect(holds(bothSizes(a as SizeLimit, b as SizeLimit), n)).toBe(holds(a as SizeLimit, n) && holds(b as SizeLimit, n));
      }),
    );
  });
  it('are printed', () => {
    expect(printLimit({ multipleOf: 8, min: 16, max: 64 })).toBe('a multiple of 8, at least 16, at most 64');
  });
});

describe('features', () => {
  const limits: KernelLimits = { softcap: 'wrong', sinks: 'fails', window: 'runs', 'bias and cache': 'fails' };
  it.each([
    [{ softcap: false, window: true, bias: true }, true],
    [{ softcap: true }, reasons.featureLimit({ feature: 'softcap', outcome: 'wrong' })],
    [{ sinks: true }, reasons.featureLimit({ feature: 'sinks', outcome: 'fails' })],
    [{ cache: true, bias: true }, reasons.featureLimit({ feature: 'bias and cache', outcome: 'fails' })],
    [{ cache: true, window: true }, true],
  ])('%j', (asked, expected) => expect(withinLimits(asked, limits)).toEqual(expected));
  it('of two kernels together fail where one does', () => {
    expect(strictest({ a: 'fails', n: { multipleOf: 4 } }, { b: 'wrong', n: { multipleOf: 6 } })).toEqual({
      a: 'fails',
      b: 'wrong',
      n: { multipleOf: 12 },
    });
    expect(strictest({ n: 'fails' }, { n: { max: 3 } })).toEqual({ n: 'fails' });
  });
});

describe('a target with another limit', () => {
  const withLimits = (limits: KernelLimits) => {
    const plain = portable(21);
    return { ...plain, kernels: { ...plain.kernels, DFT: { ...plain.kernels.DFT!, limits } } };
  };
  it.each([
    [{ length: { powerOfTwo: true } }, false],
    [{ length: { multipleOf: 3 } }, true],
    [{ length: { multipleOf: 3 }, 'complex signal': 'wrong' }, false],
    [{}, true],
  ] as const)('%j transforms 12 points by the kernel: %s', (limits, byKernel) => {
    const g = new GraphBuilder();
    g.output('y', dft(g.input('x', 'float32', [3, 12, 2]), { axis: 1 }));
    expect(lower(g.finish(), withLimits(limits)).graph.nodes.some(({ op }) => op.key === 'DFT')).toBe(byKernel);
  });
});
