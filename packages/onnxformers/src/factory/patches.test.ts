// A vision transformer from a config: patches, a class token, learned positions, a stack, a head.
import { expectClose, randomArray, randomParameters } from '@onnxformers/core/testing';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { compile, createRunner, inputsOf, interpret, targets, toTensor, zoo } from '../index';

const [batch, height, width] = [2, 6, 10];
const config = (position: unknown) => ({
  name: 'encoder',
  dim: 12,
  seqLen: 15,
  embedding: { name: 'patch', kernelSize: 2 },
  position,
  stack: {
    name: 'stack',
    depth: 1,
    layers: { name: 'pre_norm', mixer: { name: 'multi_head', heads: 3 }, feedforward: 'mlp' },
    norm: 'layer_norm',
  },
});

describe('an encoder of images', () => {
  it.each([
    ['a class token and learned positions', { name: 'learnable', classToken: true }, 16],
    ['learned positions', 'learnable', 15],
    ['sines', 'sine', 15],
  ])('with %s gives the same by the runtime as by the interpreter', async (_, position, rows) => {
    const encoder = zoo.parse('model', config(position));
    expect(inputsOf(encoder)).toEqual({ pixels: ['float32', ['batch', 3, 'height', 'width']] });
    const { byName, of } = randomParameters(encoder);
    const weights = new Map(Object.entries(byName).map(([name, array]) => [name, toTensor(array)]));
    const pixels = randomArray('pixels', [batch, 3, height, width]);
    for (const target of [targets.cpu, targets.portable(18)]) {
      const model = compile(encoder, { target, inputs: inputsOf(encoder), weights });
      const run = await createRunner(model, ort);
      const { hidden_states: y } = await run({ pixels: toTensor(pixels) });
      await run.dispose();
      expect(y!.dims).toEqual([batch, rows, 12]);
      expectClose(y!, interpret(model.traced, { pixels }, { parameters: of }).hidden_states!, { atol: 1e-5, rtol: 1e-5 });
    }
  });

  it('refuses an image with more patches than positions', async () => {
    const encoder = zoo.parse('model', config('learnable'));
    const inputs = { pixels: ['float32', [1, 3, height, width + 2]] } as const;
    expect(() => compile(encoder, { target: targets.cpu, inputs })).toThrow(/at most 15/);
  });
});
