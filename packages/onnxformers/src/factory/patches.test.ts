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

describe('a hierarchical model', () => {
  const stage = (dim: number, more: object) => ({
    name: 'pre_norm',
    dim,
    feedforward: { name: 'conv2d_feedforward', hidden: dim + 1 },
    ...more,
  });
  const merge = { name: 'merge_patches', kernelSize: 3, stride: 2, padding: 1 };
  const hierarchical = (outDim: number) => ({
    name: 'classifier',
    dim: 6,
    classes: 5,
    embedding: { name: 'patch', kernelSize: 2 },
    stack: {
      name: 'stack',
      outDim,
      depth: 4,
      layers: [
        stage(6, {}),
        { ...merge, dim: 6, outDim: 9 },
        stage(9, { mixer: { name: 'multi_head', heads: 3 } }),
        { ...merge, dim: 9, outDim: 11 },
      ],
      norm: 'layer_norm',
    },
  });

  it('has fewer positions and more channels from stage to stage, and the same results by the runtime as by the interpreter', async () => {
    const classifier = zoo.parse('model', hierarchical(11));
    const { byName, of } = randomParameters(classifier);
    expect(byName['head.weight']!.dims).toEqual([5, 11]);
    const weights = new Map(Object.entries(byName).map(([name, array]) => [name, toTensor(array)]));
    const pixels = randomArray('pixels', [batch, 3, 14, 22]);
    for (const inputs of [inputsOf(classifier), { pixels: ['float32', [batch, 3, 14, 22]] as const }]) {
      const taps = ['stack.layers.0', 'stack.layers.2', 'stack.layers.3'];
      const model = compile(classifier, { target: targets.cpu, inputs, weights, taps });
      const run = await createRunner(model, ort);
      const got = await run({ pixels: toTensor(pixels) });
      await run.dispose();
      expect(taps.map((name) => got[name]!.dims)).toEqual([
        [batch, 7 * 11, 6],
        [batch, 4 * 6, 9],
        [batch, 2 * 3, 11],
      ]);
      expectClose(got.logits!, interpret(model.traced, { pixels }, { parameters: of }).logits!, { atol: 1e-5, rtol: 1e-5 });
    }
  });

  it('must state its last number of channels', () => {
    const classifier = zoo.parse('model', hierarchical(9));
    expect(() => compile(classifier, { target: targets.cpu, inputs: inputsOf(classifier) })).toThrow(
      /stack.outDim: the last layer returns another number of channels; expected 9, got 11/,
    );
  });
});
