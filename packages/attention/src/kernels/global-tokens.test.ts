// Attention with global tokens as two small attentions: the same numbers, and no tensor for all pairs.
import {
  type AnyModule,
  and,
  type CompileOptions,
  causal,
  compile,
  globalTokens,
  interpret,
  keyLengths,
  type Model,
  or,
  slidingWindow,
  type Target,
  targets,
} from '@onnxformers/core';
import { expectClose, footprint, randomArray } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { attention, batch, feeds, type Given, heads, kvHeads, width } from './grouped-heads.test-helper';
import { kernels } from './index';

const inputs = (more: CompileOptions['inputs'] = {}, kvSeq = 'seq'): CompileOptions['inputs'] => ({
  q: ['float32', ['batch', heads, 'seq', width]],
  k: ['float32', ['batch', kvHeads, kvSeq, width]],
  v: ['float32', ['batch', kvHeads, kvSeq, width]],
  ...more,
});
const compiled = (m: AnyModule, given: CompileOptions['inputs'], target: Target): Model =>
  compile(m, { target, inputs: given, rules: kernels });
const becomes = ({ decisions }: Model) => decisions.find(({ op }) => op === 'onnxformers.Attend')!;

const lengths = { lengths: ['int64', ['batch']] } as const;
const sinks = { sinks: ['float32', [heads]] } as const;

describe.each([targets.portable(18), targets.cpu, targets.wasm, targets.cuda, targets.webgpu])(
  'global tokens on $name',
  (target) => {
    it.each([
      ['alone', () => globalTokens(2), {}, undefined],
      ['in a list', () => globalTokens([3, 12]), {}, undefined],
      ['causal', () => and(globalTokens([0, 5]), causal), {}, undefined],
      ['real', ({ lengths: n }: Given) => and(keyLengths(n!), globalTokens([1, 4])), lengths, undefined],
      ['causal and real', ({ lengths: n }: Given) => and(causal, keyLengths(n!), globalTokens([1, 4])), lengths, undefined],
      ['with sinks', () => globalTokens([1, 4]), sinks, ({ sinks: s }: Given) => ({ sinks: s!, softcap: 3, scale: 0.7 })],
    ] as const)('%s', (_, mask, more, options) => {
      const model = compiled(attention(mask as never, options as never), inputs(more), target);
      expect(becomes(model).chosen).toBe('Attend → global tokens');
      // Before, between and after the tokens.
      for (const seq of [1, 3, 5, 13, 31]) {
        const given = {
          ...feeds(seq),
          ...('lengths' in more && {
            lengths: { dtype: 'int64', dims: [2], data: Float64Array.of(seq, Math.ceil(seq / 3)) } as const,
          }),
          ...('sinks' in more && { sinks: randomArray('sinks', [heads]) }),
        };
        const sizes = { batch, seq };
        expectClose(interpret(model.graph, given, { sizes }).y!, interpret(model.traced, given, { sizes }).y!, {
          rtol: 1e-6,
          atol: 1e-6,
        });
      }
      const [short, long] = [1031, 2062].map((seq) => footprint(model.graph, { batch, seq }).largest.at) as [number, number];
      expect(long).toBeLessThan(2.1 * short);
    });
  },
);

describe('other attentions', () => {
  const chosen = (m: AnyModule, given = inputs()) => {
    const { chosen, refused } = becomes(compiled(m, given, targets.portable(21)));
    return [chosen, ...refused.filter(({ rule }) => rule === 'Attend → global tokens').map(({ reason }) => reason.text)];
  };
  it.each([
    [
      'the mask is none of global tokens alone',
      () => or(slidingWindow({ left: 1, right: 1 }), globalTokens(1)),
      inputs(),
      undefined,
    ],
    ['there are other masks', () => and(globalTokens(1), slidingWindow({ left: 70 })), inputs(), /window/],
    ['keys may be cached', () => globalTokens(1), inputs({}, 'past + seq'), /queries may start at another position/],
    [
      'there are few keys',
      () => globalTokens(5),
      { ...inputs(), ...Object.fromEntries(['q', 'k', 'v'].map((n) => [n, ['float32', [2, 2, 41, 8]]])) },
      /5 global tokens/,
    ],
  ] as const)('keep their kernels if %s', (_, mask, given, reason) => {
    const [name, ...reasons] = chosen(attention(mask as never), given as never);
    expect(name).not.toBe('Attend → global tokens');
    if (reason) expect(reasons.join()).toMatch(reason);
    else expect(reasons).toEqual([]);
  });
});
