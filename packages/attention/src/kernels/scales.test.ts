// Scales that kernels take for others, or refuse: what float32 holds as 0 is the default of most, and one requires a positive scale.
import {
  causal,
  compile,
  createRunner,
  interpret,
  module,
  none,
  targets,
  toArray,
  toTensor,
  type Value,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { expectClose, randomArray } from '@onnxformers/core/testing';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { kernels } from './index';

const attention = (scale: number, isCausal: boolean) =>
  module({}, ({ q, k, v }: Readonly<Record<string, Value>>) => ({
    y: ops.attendOp(q!, k!, v!, { mask: isCausal ? causal : none, scale }),
  }));
const inputs = (kvHeads: number) =>
  ({
    q: ['float32', ['batch', 2, 'seq', 8]],
    k: ['float32', ['batch', kvHeads, 'seq', 8]],
    v: ['float32', ['batch', kvHeads, 'seq', 8]],
  }) as const;

describe.each([0, 1e-300, -0.5, 0.7])('a scale of %d', (scale) => {
  it.each([
    [1, false],
    [1, true],
    [2, false],
    [2, true],
  ])('with %i key heads, causal: %s', async (kvHeads, isCausal) => {
    const model = compile(attention(scale, isCausal), { target: targets.cpu, inputs: inputs(kvHeads), rules: kernels });
    const feeds = Object.fromEntries(
      Object.entries(model.signature.inputs).map(([, { name, dims }]) => [name, randomArray(name, [3, dims[1] as number, 5, 8])]),
    );
    const run = await createRunner(model, ort);
    const { y } = await run(Object.fromEntries(Object.entries(feeds).map(([name, x]) => [name, toTensor(x)])) as never);
    await run.dispose();
    expectClose(toArray(y!), interpret(model.traced, feeds).y!, { atol: 1e-6, rtol: 1e-6 });
    const fused = model.decisions.flatMap(({ kernels }) => kernels.filter((key) => /Attention$/.test(key)));
    expect(fused.length > 0).toBe(Math.fround(scale) !== 0);
  });
});
