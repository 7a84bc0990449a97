import { causal, defineBlock, module, type NDArray, registry, type SequenceContext, slot, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { expectClose, randomArray, runBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { byHand, type Parameters_ } from '../plain.test-helper';
import { scaledDotProduct } from '../softmax/scaled-dot-product';
import { multiHead } from './multi-head';
import { perceiverLatents } from './perceiver-latents';

/** z + mixer(z) */
const plus = defineBlock({
  kind: 'layer',
  name: 'plus',
  summary: 'A mixer and a residual connection.',
  fields: { mixer: slot('mixer', { doc: 'the mixer' }) },
  examples: [],
  create: ({ mixer }) => module({ mixer }, (z: Value, ctx: SequenceContext) => ops.add(z, mixer(z, ctx))),
});
const { parse } = registry(perceiverLatents, plus, multiHead, scaledDotProduct);
const cross = { name: 'plus', mixer: { name: 'multi_head', heads: 2, cross: true } };
const block = parse('layer', {
  name: 'perceiver_latents',
  dim: 10,
  outDim: 6,
  latents: 3,
  depth: 3,
  layers: [cross, { name: 'plus', mixer: { name: 'multi_head', heads: 3 } }, cross],
});
const x = randomArray('x', [2, 7, 10]);
const rowsUpTo = (length: number, b: number): NDArray => ({
  dtype: 'float32',
  dims: [1, length, 10],
  data: x.data.slice(b * 70, b * 70 + length * 10),
});

/** For one sequence: latents, cross attention, self attention, cross attention, each added. */
function plain(rows: NDArray, p: Parameters_): number[] {
  const of = (layer: number): Parameters_ =>
    Object.fromEntries(
      Object.entries(p)
        .filter(([name]) => name.startsWith(`layers.${layer}.mixer.`))
        .map(([name, value]) => [name.slice(`layers.${layer}.mixer.`.length), value]),
    );
  const plusOf = (z: NDArray, y: NDArray): NDArray => ({ ...z, data: z.data.map((e, i) => e + y.data[i]!) });
  let z: NDArray = { ...p.latents!, dims: [1, 3, 6] };
  z = plusOf(z, byHand(z, of(0), 2, 2, rows));
  z = plusOf(z, byHand(z, of(1), 3, 3));
  z = plusOf(z, byHand(z, of(2), 2, 2, rows));
  return [...z.data];
}

describe('perceiver_latents', () => {
  it('attend to the input, to each other, and to the input again', () => {
    const { outputs, parameters } = runBlock(block, { x });
    const data = Float64Array.from([0, 1].flatMap((b) => plain(rowsUpTo(7, b), parameters)));
    expectClose(outputs.y!, { dtype: 'float32', dims: [2, 3, 6], data }, { atol: 1e-6, rtol: 1e-6 });
  });

  it('do not see padding', () => {
    const lengths: NDArray = { dtype: 'int64', dims: [2], data: Float64Array.of(4, 7) };
    const { outputs, parameters } = runBlock(block, { x, lengths });
    const data = Float64Array.from([...plain(rowsUpTo(4, 0), parameters), ...plain(rowsUpTo(7, 1), parameters)]);
    expectClose(outputs.y!, { dtype: 'float32', dims: [2, 3, 6], data }, { atol: 1e-6, rtol: 1e-6 });
  });

  it('refuse masks between positions', () => {
    expect(() => runBlock(block, { x }, { mask: causal })).toThrow(
      /perceiver_latents: each latent attends to the whole input; expected whole sequences, with padding masks only, got causal/,
    );
  });
});
