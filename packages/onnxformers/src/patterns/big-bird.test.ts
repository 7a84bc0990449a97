// Big bird through blocks: the same numbers as softmax attention under the pattern of its layout, at a cost that grows with the length.
import {
  type AnyModule,
  and,
  causal as causalMask,
  footprint,
  interpret,
  module,
  type SequenceContext,
  type Value,
  withContext,
} from '@onnxformers/core';
import { expectClose, randomArray } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { compile, targets, zoo } from '../index';
import { bigBird } from './big-bird';
import { bigBirdLayout, patternOf } from './layouts';
import { fromPattern } from './pattern';

const [batch, heads, width] = [2, 3, 5];
const common = { heads, blockSize: 11, randomBlocks: 2, globalBlocks: 1, seed: 7 };
const inputs = Object.fromEntries(['q', 'k', 'v'].map((name) => [name, ['float32', ['batch', heads, 'seq', width]] as const]));
const parse = (config: object) => zoo.parse('attention', config as never) as unknown as AnyModule;
const decided = (block: AnyModule, target = targets.cpu) => {
  const model = compile(block, { target, inputs });
  return { model, chosen: model.decisions.find(({ op }) => op === 'onnxformers.Attend')!.chosen };
};

describe.each([
  ['one layout', {}],
  ['a layout for each head', { perHead: true }],
  ['causal', { causal: true }],
] as const)('big bird, %s', (_, more) => {
  it('is softmax attention under the dense mask of its layout', () => {
    const o = { ...common, ...more, seqLen: 11 * 61 };
    const layout = bigBirdLayout({ ...o, ...('causal' in more && { direction: 'unidirectional' as const }) });
    const pattern = fromPattern(patternOf(layout, o.blockSize));
    const exact = zoo.build('attention', { name: 'scaled_dot_product', causal: false });
    const dense = module({ exact }, (inputs: Readonly<Record<string, Value>>, ctx: SequenceContext) => {
      const { q, k, v } = inputs as { q: Value; k: Value; v: Value };
      const mask = and<Value>(ctx.mask, pattern as never, ...('causal' in more ? [causalMask] : []));
      return { y: exact(q, k, v, withContext(ctx, { mask })) };
    });
    const { model, chosen } = decided(parse(bigBird(o)));
    expect(chosen).toBe('Attend → gathered blocks');
    const reference = compile(dense as unknown as AnyModule, { target: targets.portable(), inputs });
    for (const seq of [17, 11 * 61 - 4, 11 * 61]) {
      const feeds = Object.fromEntries(Object.keys(inputs).map((name) => [name, randomArray(name, [batch, heads, seq, width])]));
      const sizes = { batch, seq };
      const expected = interpret(reference.traced, feeds, { sizes }).y!;
      expectClose(interpret(model.graph, feeds, { sizes }).y!, expected, { rtol: 1e-6, atol: 1e-6 });
    }
  });
});

it('grows with the length, not with its square', () => {
  const at = (blocks: number) => {
    const { model } = decided(parse(bigBird({ ...common, seqLen: 11 * blocks })), targets.portable());
    const { largest, flops } = footprint(model.graph, { batch, seq: 11 * blocks });
    return [largest.at, flops] as const;
  };
  const [[values, flops], [moreValues, moreFlops]] = [at(64), at(128)];
  expect(moreValues / values).toBeLessThan(2.1);
  expect(moreFlops / flops).toBeLessThan(2.1);
});

it('has the layout once for all heads, or one for each', () => {
  expect(bigBird({ ...common, seqLen: 55 }).layout).toHaveLength(1);
  expect(bigBird({ ...common, seqLen: 55, perHead: true }).layout).toHaveLength(heads);
  expect(() => bigBird({ ...common, seqLen: 56 })).toThrow(/not a number of whole blocks/);
});
