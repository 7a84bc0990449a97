// A bias with a cache: it spans the capacity of a fixed cache, and a kernel may require the positions in use instead.

import { expectClose, randomArray, randomParameters } from '@onnxformers/core/testing';
import * as node from 'onnxruntime-node';
import * as web from 'onnxruntime-web';
import { describe, expect, it } from 'vitest';
import {
  compile,
  createRunner,
  initialize,
  interpret,
  type Ort,
  pastOf,
  type Tensor,
  targets,
  tensor,
  toArray,
  toTensor,
  zoo,
} from './index';

web.env.wasm.numThreads = 1;
const places = [
  [targets.cpu, node],
  [targets.wasm, web],
  [targets.portable(21), node],
] as const;
const dim = 16;
const capacity = 7;
const attention = { name: 'scaled_dot_product', causal: true } as const;
// Sixteen roundings of a sum of a dozen products of numbers below 1.
const tolerance = { atol: 2e-6, rtol: 2e-6 };

describe.each(places)('$name', (target, runtime) => {
  it.each(
    (['alibi', 't5_relative'] as const).flatMap((attentionBias) =>
      (['io', { io: capacity }] as const).flatMap((state) =>
        [[], ['prefill into empty cache'] as const].map((assumptions) => [attentionBias, state, assumptions] as const),
      ),
    ),
  )('%s, state %j, assumptions %j: the same as the interpreter in every call', async (attentionBias, state, assumptions) => {
    const block = zoo.build('mixer', { name: 'multi_head', dim, heads: 2, kvHeads: 1, attention, attentionBias });
    const parameters = randomParameters(block);
    const weights = new Map(Object.entries(parameters.byName).map(([name, array]) => [name, toTensor(array)]));
    const inputs = { x: ['float32', ['batch', 'seq', dim]] } as const;
    const model = compile(block, { target, weights, inputs, state, assumptions });
    const run = await createRunner(model, runtime as unknown as Ort);
    let past: Record<string, Tensor> = Object.fromEntries(
      model.signature.inputs
        .filter(({ name }) => name.startsWith('past_key_values.'))
        .map(({ name, dims }) => {
          const sizes = dims.map((d) => (typeof d === 'number' ? d : d === 'batch' ? 1 : 0));
          return [name, tensor('float32', sizes, new Array(sizes.reduce((a, b) => a * b)).fill(0))];
        }),
    );
    let used = 0;
    for (const seq of [3, 1, 1]) {
      const x = randomArray(`x${used}`, [1, seq, dim]);
      const feeds: Record<string, Tensor> = {
        x: tensor('float32', [1, seq, dim], Array.from(x.data)),
        past_lengths: tensor('int64', [1], [used]),
        ...past,
      };
      const arrays = Object.fromEntries(Object.entries(feeds).map(([name, value]) => [name, toArray(value)]));
      const expected = interpret(model.traced, arrays, { parameters: parameters.of });
      const got = await run(feeds);
      expect(Object.keys(got)).toEqual(Object.keys(expected));
      for (const name of Object.keys(expected)) expectClose(got[name]!, expected[name]!, tolerance, name);
      past = pastOf(got);
      used += seq;
    }
    await run.dispose();
  });
});

it('GroupQueryAttention refuses a bias over the capacity', () => {
  const block = zoo.build('mixer', { name: 'multi_head', dim, heads: 2, kvHeads: 1, attention, attentionBias: 'alibi' });
  const refusals = (state: 'io' | { io: number }) =>
    compile(block, {
      target: targets.cpu,
      weights: initialize(block, { seed: 1 }),
      inputs: { x: ['float32', [1, 'seq', dim]] },
      state,
    }).decisions.flatMap((d) => JSON.stringify(d));
  expect(refusals({ io: capacity }).join()).toContain('bias and fixed cache');
  expect(refusals('io').join()).not.toContain('bias and fixed cache');
});
