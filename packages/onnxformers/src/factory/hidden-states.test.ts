// Models whose embedding makes other rows than it read: the context is that of the rows that attend.
import {
  type Dim,
  defineBlock,
  init,
  int,
  module,
  mulDims,
  type NDArray,
  Parameter,
  registry,
  type SequenceContext,
  type Value,
  withPositions,
  withPrefix,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { expectClose, randomArray, runBlock, traceBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { zoo } from '../index';

const [dim, channels] = [6, 3];
const float32 = { atol: 1e-6, rtol: 1e-6 };
const weight = (dims: number[]) => new Parameter(dims, init.normal(0.3), { role: 'embedding', part: 'weight' });

/** Pixels [batch, channels, height, width] → a row for each square of `size` pixels. */
function patchRows(pixels: Value, kernel: Parameter, size: number) {
  const squares = ops.conv(pixels, kernel, undefined, { strides: [size, size] });
  const [batch, , height, width] = squares.dims as [Dim, Dim, Dim, Dim];
  const rows = ops.transpose(ops.reshape(squares, [batch, dim, mulDims(height, width)]), [0, 2, 1]);
  return { rows, grid: [height, width] as const };
}

const patches = defineBlock({
  kind: 'embedding',
  name: 'test_patches',
  summary: 'Squares of pixels.',
  fields: { dim: int({ doc: 'channels', min: 1, inherit: true }) },
  examples: [],
  create() {
    const kernel = weight([dim, channels, 2, 2]);
    return module({ kernel }, (pixels: Value, ctx: SequenceContext) => {
      const { rows, grid } = patchRows(pixels, kernel, 2);
      return withPositions(ctx, rows, { grid });
    });
  },
});

/** features [batch, seq, channels] → every second place, of three around it. */
const stem = defineBlock({
  kind: 'embedding',
  name: 'test_stem',
  summary: 'A convolution of stride 2.',
  fields: { dim: int({ doc: 'channels', min: 1, inherit: true }) },
  examples: [],
  create() {
    const kernel = weight([dim, channels, 3]);
    return module({ kernel }, (x: Value, ctx: SequenceContext) => {
      const y = ops.conv(ops.transpose(x, [0, 2, 1]), kernel, undefined, { strides: [2], pads: [1, 1] });
      return withPositions(ctx, ops.transpose(y, [0, 2, 1]), { lengths: (lengths) => ops.div(ops.add(lengths, 1), 2) });
    });
  },
});

/** ids [batch, seq], and the squares of an image in front of them. */
const imageAndText = defineBlock({
  kind: 'embedding',
  name: 'test_image_and_text',
  summary: 'An image before a text.',
  fields: { dim: int({ doc: 'channels', min: 1, inherit: true }) },
  examples: [],
  create() {
    const kernel = weight([dim, channels, 2, 2]);
    const tokens = zoo.build('embedding', { name: 'token', vocabSize: 11, dim });
    return module({ kernel, tokens }, (ids: Value, ctx: SequenceContext) => {
      const text = tokens(ids, ctx) as Value;
      const image = patchRows(ctx.inputs!.pixels!, kernel, 2).rows;
      return {
        hiddenStates: ops.concat([image, text], 1),
        ctx: withPrefix(ctx, { count: image.dims[1]!, before: ids.dims[1]! }),
      };
    });
  },
});

/** As stem, without saying what becomes of positions and padding. */
const silent = defineBlock({
  ...stem.definition,
  name: 'test_silent',
  create: () => {
    const kernel = weight([dim, channels, 3]);
    return module({ kernel }, (x: Value) =>
      ops.transpose(ops.conv(ops.transpose(x, [0, 2, 1]), kernel, undefined, { strides: [2], pads: [1, 1] }), [0, 2, 1]),
    );
  },
});

const blocks = registry(...zoo.blocks, patches, stem, imageAndText, silent);
const layers = (rotaryEmbedding?: 'rotary') => ({
  name: 'stack',
  depth: 2,
  layers: { name: 'pre_norm', mixer: { name: 'multi_head', heads: 1, rotaryEmbedding }, feedforward: { name: 'mlp', hidden: 5 } },
});
const encoder = (embedding: string, more: object = {}, rotary?: 'rotary') =>
  blocks.parse('model', { name: 'encoder', dim, embedding, stack: layers(rotary), ...more });
const y = (model: ReturnType<typeof encoder>, feeds: Record<string, NDArray>) =>
  Object.values(runBlock(model, feeds).outputs)[0]!;

const int64 = (dims: number[], data: number[]): NDArray => ({ dtype: 'int64', dims, data: Float64Array.from(data) });
/** Rows of one sequence. */
function rowsIn({ dims, data, dtype }: NDArray, batch: number, from: number, to: number): NDArray {
  const [, seq, width] = dims as [number, number, number];
  const at = (row: number) => (batch * seq + row) * width;
  return { dtype, dims: [1, to - from, width], data: data.slice(at(from), at(to)) };
}

describe('patches of an image', () => {
  const pixels = randomArray('pixels', [2, channels, 6, 10]);

  it.each(['sine', { name: 'learnable', seqLen: 15 }])('have positions of their own: %o', (position) => {
    const model = encoder('test_patches', { position });
    expect(y(model, { pixels }).dims).toEqual([2, 15, dim]);
    expect(() => expectClose(y(model, { pixels }), y(encoder('test_patches'), { pixels }))).toThrow(/differ/);
  });

  it('are counted by rotary embeddings and class tokens', () => {
    const position = { name: 'learnable', seqLen: 15, classToken: true };
    expect(y(encoder('test_patches', { position }, 'rotary'), { pixels }).dims).toEqual([2, 16, dim]);
  });

  it('have at most as many positions as the table, or are refused by its field', () => {
    const position = { name: 'learnable', seqLen: 14 };
    expect(() => y(encoder('test_patches', { position }), { pixels })).toThrow(/at most 14, by .*seqLen, got 15/);
  });

  it('hand their grid on to positions', () => {
    let seen: unknown;
    const spy = defineBlock({
      kind: 'position',
      name: 'test_grid',
      summary: 'Reads the grid.',
      fields: {},
      examples: [],
      create: () => (x: Value, ctx: SequenceContext) => {
        seen = ctx.grid;
        return x;
      },
    });
    y(
      registry(...blocks.blocks, spy).parse('model', {
        name: 'encoder',
        dim,
        embedding: 'test_patches',
        position: 'test_grid',
        stack: layers(),
      }) as never,
      { pixels },
    );
    expect(seen).toEqual([3, 5]);
  });
});

describe('a stem that shortens sequences', () => {
  const features = randomArray('features', [2, 11, channels]);
  const lengths = int64([2], [11, 5]);
  const model = encoder('test_stem', { position: 'sine' }, 'rotary');

  it('shortens their lengths too: padding does not change real positions', () => {
    // The stem itself looks one place ahead, where padding is 0 as at an end.
    const padded = { ...features, data: features.data.map((v, i) => (i >= (11 + 5) * channels ? 0 : v)) };
    const alone = y(model, { features: rowsIn(features, 1, 0, 5) });
    expect(alone.dims).toEqual([1, 3, dim]);
    expectClose(rowsIn(y(model, { features: padded, lengths }), 1, 0, 3), alone, float32);
    expect(() => expectClose(rowsIn(y(model, { features: padded }), 1, 0, 3), alone, float32)).toThrow(/differ/);
  });

  it('works at sizes that only the run knows', () => {
    const graph = traceBlock(model, { features: ['float32', ['batch', 'frames', channels]], lengths: ['int64', ['batch']] });
    expect(graph.outputs[0]!.value.dims).toEqual(['batch', 'ceilDiv(frames, 2)', dim]);
  });

  it('refuses what it does not translate', () => {
    const inputs = { features: ['float32', ['batch', 'frames', channels]] } as const;
    expect(() => traceBlock(model, { ...inputs, attention_mask: ['bool', ['batch', 'frames']] })).toThrow(
      /padding of the input does not apply to the new positions/,
    );
    expect(() => traceBlock(model, { ...inputs, position_ids: ['int64', ['batch', 'frames']] })).toThrow(
      /position ids of the input do not apply to the new positions/,
    );
    expect(() => traceBlock(model, inputs, { state: 'io' })).toThrow(/whole sequences.*got a state/);
    expect(() => traceBlock(encoder('test_silent', { position: 'sine' }), inputs)).toThrow(
      /the number of positions changed without a context for the new ones.*withPositions/,
    );
  });

  it('is attended to by a decoder, with its padding', () => {
    const decoder = {
      name: 'decoder',
      stack: { name: 'stack', depth: 1, layers: { name: 'pre_norm', cross: { name: 'multi_head', heads: 1, cross: true } } },
    };
    const both = blocks.parse('model', {
      name: 'encoder_decoder',
      dim,
      encoder: { name: 'encoder', embedding: 'test_stem', position: 'sine', stack: layers() },
      decoder,
    });
    const decoder_x = randomArray('decoder_x', [2, 3, dim]);
    const padded = { ...features, data: features.data.map((v, i) => (i >= (11 + 5) * channels ? 0 : v)) };
    const alone = y(both, { features: rowsIn(features, 1, 0, 5), decoder_x: rowsIn(decoder_x, 1, 0, 3) });
    expectClose(rowsIn(y(both, { features: padded, decoder_x, lengths }), 1, 0, 3), alone, float32);
    expect(() => expectClose(rowsIn(y(both, { features: padded, decoder_x }), 1, 0, 3), alone, float32)).toThrow(/differ/);
  });
});

describe('an image before a text', () => {
  const pixels = randomArray('pixels', [2, channels, 4, 6]);
  const ids = int64([2, 5], [3, 1, 4, 1, 5, 9, 2, 6, 0, 0]);
  const model = encoder('test_image_and_text', { position: 'sine' }, 'rotary');
  const one = (x: NDArray): NDArray => ({
    ...x,
    dims: [1, ...x.dims.slice(1)],
    data: x.data.slice(x.data.length / 2),
  });
  const alone = y(model, { ids: int64([1, 3], [9, 2, 6]), pixels: one(pixels) });

  it('is one sequence: padding of the text does not change real positions', () => {
    expect(alone.dims).toEqual([1, 6 + 3, dim]);
    expectClose(rowsIn(y(model, { ids, pixels, lengths: int64([2], [5, 3]) }), 1, 0, 9), alone, float32);
    const attention_mask = int64([2, 5], [1, 1, 1, 1, 1, 1, 1, 1, 0, 0]);
    expectClose(rowsIn(y(model, { ids, pixels, attention_mask }), 1, 0, 9), alone, float32);
    expect(() => expectClose(rowsIn(y(model, { ids, pixels }), 1, 0, 9), alone, float32)).toThrow(/differ/);
  });

  it('counts a text that is padded on the left after the image', () => {
    const left = int64([1, 5], [0, 0, 9, 2, 6]);
    const padded = y(model, { ids: left, pixels: one(pixels), attention_mask: int64([1, 5], [0, 0, 1, 1, 1]) });
    expectClose(rowsIn(padded, 0, 0, 6), rowsIn(alone, 0, 0, 6), float32);
    expectClose(rowsIn(padded, 0, 8, 11), rowsIn(alone, 0, 6, 9), float32);
  });
});
