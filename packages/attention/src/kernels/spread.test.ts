// Attention to random keys that rows of queries share, with these keys gathered: the same numbers, in memory that follows the density.
import {
  and,
  type CompileOptions,
  causal,
  compile,
  interpret,
  keyLengths,
  type Model,
  randomPairs,
  targets,
} from '@onnxformers/core';
import { expectClose, footprint } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { attention, batch, feeds, type Given, heads, kvHeads, width } from './grouped-heads.test-helper';
import { kernels } from './index';

const inputs = (more: CompileOptions['inputs'] = {}, kvSeq = 'seq'): CompileOptions['inputs'] => ({
  q: ['float32', ['batch', heads, 'seq', width]],
  k: ['float32', ['batch', kvHeads, kvSeq, width]],
  v: ['float32', ['batch', kvHeads, kvSeq, width]],
  ...more,
});
const becomes = ({ decisions }: Model) => decisions.find(({ op }) => op === 'onnxformers.Attend')!;
const real = { lengths: ['int64', ['batch']] } as const;
const seed = { seed: ['int64', []] } as const;

describe.each([targets.portable(18), targets.cpu, targets.wasm])('random keys on $name', (target) => {
  it.each([
    ['alone', () => randomPairs(0.06, 5, 7), {}, {}],
    ['for each query', () => randomPairs(0.3, 5, 1), {}, {}],
    ['causal', () => and(randomPairs(0.1, 5, 7), causal), {}, {}],
    ['causal and real', ({ lengths: n }: Given) => and(randomPairs(0.1, 2, 3), causal, keyLengths(n!)), real, {}],
    ['of a seed that is data', ({ seed: s }: Given) => randomPairs(0.06, s!, 4), seed, {}],
    ['scaled and capped', () => randomPairs(0.2, 5, 32), {}, { scale: 0.7, softcap: 3 }],
  ] as const)('%s', (_, mask, more, options) => {
    const model = compile(
      attention(mask as never, () => options),
      { target, inputs: inputs(more), rules: kernels },
    );
    expect(becomes(model).chosen).toBe('Attend → gathered random keys');
    for (const seq of [0, 1, 5, 131, 229]) {
      const data = {
        ...('lengths' in more && {
          lengths: { dtype: 'int64', dims: [2], data: Float64Array.of(seq, Math.ceil(seq / 3)) } as const,
        }),
        ...('seed' in more && { seed: { dtype: 'int64', dims: [], data: Float64Array.of(2 ** 33 + 7) } as const }),
      };
      const given = { ...feeds(seq), ...data };
      const sizes = { batch, seq };
      expectClose(interpret(model.graph, given, { sizes }).y!, interpret(model.traced, given, { sizes }).y!, {
        rtol: 1e-6,
        atol: 1e-6,
      });
    }
  });

  it('takes memory in proportion to the density', () => {
    const largest = (density: number) => {
      const model = compile(
        attention(() => randomPairs(density, 1, 64)),
        { target, inputs: inputs(), rules: kernels },
      );
      return footprint(model.graph, { batch: 1, seq: 16_384 }, { target }).largest.at;
    };
    // Below one key in 64 the data themselves are larger than the scores.
    expect(largest(1 / 16) / largest(1 / 32)).toBeCloseTo(2, 1);
    expect(largest(1 / 32)).toBeLessThanOrEqual((heads * 16_384 * 16_384) / 32 + 64 * heads * 16_384);
  });
});

it.each([
  ['a window beside them', () => and(randomPairs(0.1, 5, 7), randomPairs(0.2, 3)), {}, 'seq', undefined],
  ['more keys than queries', () => randomPairs(0.1, 5, 7), {}, 'seq + past', /queries may start at another position/],
  ['high densities', () => randomPairs(0.97, 5, 7), {}, 'seq', /gathering \d+ keys for each row of queries takes longer/],
] as const)('is not used for %s', (_, mask, options, kvSeq, reason) => {
  const model = compile(
    attention(mask as never, () => options),
    {
      target: targets.portable(),
      inputs: inputs({}, kvSeq),
      rules: kernels,
    },
  );
  expect(becomes(model).chosen).not.toBe('Attend → gathered random keys');
  const refused = becomes(model).refused.find(({ rule }) => rule === 'Attend → gathered random keys');
  if (reason) expect(refused?.reason.text).toMatch(reason);
  else expect(refused).toBeUndefined();
});
