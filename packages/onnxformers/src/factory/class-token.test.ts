import { and, causal, type NDArray, none, not } from '@onnxformers/core';
import { defineMask } from '@onnxformers/core/lowering';
import { expectClose, randomArray, runBlock, traceBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { zoo } from '../index';

const [dim, seq] = [10, 7];
/** Scales and angles are float32 constants. */
const float32 = { atol: 1e-6, rtol: 1e-6 };
const layers = (attention: object = {}) => ({
  name: 'stack',
  depth: 2,
  layers: {
    name: 'pre_norm',
    mixer: { name: 'multi_head', heads: 1, rotaryEmbedding: 'rotary', ...attention },
    feedforward: { name: 'mlp', hidden: 3 },
  },
});
const position = { name: 'learnable', seqLen: 11, classToken: true };
const encoder = zoo.parse('model', { name: 'encoder', dim, position, stack: layers() });
const run = (feeds: Record<string, NDArray>, model = encoder) => Object.values(runBlock(model, feeds).outputs)[0]!;

const x = randomArray('x', [2, seq, dim]);
const int64 = (values: number[]): NDArray => ({ dtype: 'int64', dims: [values.length], data: Float64Array.from(values) });
const bools = (dims: number[], f: (...at: number[]) => boolean): NDArray => {
  const data = Float64Array.from({ length: dims.reduce((a, b) => a * b) }, (_, i) => {
    const at = dims.map((d, axis) => Math.floor(i / dims.slice(axis + 1).reduce((a, b) => a * b, 1)) % d);
    return Number(f(...at));
  });
  return { dtype: 'bool', dims, data };
};
/** The first rows of one sequence. */
const rows = (t: NDArray, batch: number, from: number, to: number): NDArray => {
  const [, all, width] = t.dims as [number, number, number];
  const data = t.data.slice((batch * all + from) * width, (batch * all + to) * width);
  return { ...t, dims: [1, to - from, width], data };
};

describe('a model with a class token', () => {
  const lengths = [7, 4];
  const alone = run({ x: rows(x, 1, 0, 4) });

  it('reads the same from a padded sequence as from the sequence by itself', () => {
    expect(alone.dims).toEqual([1, 5, dim]);
    expectClose(rows(run({ x, lengths: int64(lengths) }), 1, 0, 5), alone, float32);
    expectClose(rows(run({ x, attention_mask: bools([2, seq], (b, j) => j < lengths[b]!) }), 1, 0, 5), alone, float32);
  });

  it('takes masks and biases of its input, and of all rows', () => {
    const keep = (i: number, j: number) => (2 * i + j) % 3 > 0 || i === j;
    const own = bools([1, 1, seq, seq], (_, __, i, j) => keep(i!, j!));
    const all = bools([1, 1, seq + 1, seq + 1], (_, __, i, j) => i === 0 || j === 0 || keep(i! - 1, j! - 1));
    expectClose(run({ x, attention_mask: own }), run({ x, attention_mask: all }), { atol: 0, rtol: 0 });
    expect(() => expectClose(run({ x, attention_mask: own }), run({ x }))).toThrow(/differ/);
    const bias = randomArray('bias', [1, 1, seq, seq]);
    const grown = bools([1, 1, seq + 1, seq + 1], () => true);
    const data = grown.data.map((_, at) => {
      const [i, j] = [Math.floor(at / (seq + 1)) - 1, (at % (seq + 1)) - 1];
      return i < 0 || j < 0 ? 0 : bias.data[i * seq + j]!;
    });
    expectClose(run({ x, attention_bias: bias }), run({ x, attention_bias: { ...grown, dtype: 'float32', data } }), {
      atol: 0,
      rtol: 0,
    });
    const columns = bools([2, 1, 1, seq], (b, _, __, j) => j! < lengths[b!]!);
    expectClose(rows(run({ x, attention_mask: columns }), 1, 0, 5), alone, float32);
  });

  it('is the same at sizes that are known when it runs', () => {
    const graph = traceBlock(encoder, { x: ['float32', ['batch', 'seq', dim]], lengths: ['int64', ['batch']] });
    expect(graph.outputs[0]!.value.dims).toEqual(['batch', 'seq + 1', dim]);
  });

  it('is causal in a decoder', () => {
    const decoder = zoo.parse('model', { name: 'decoder', dim, position, stack: layers() });
    const changed = { ...x, data: x.data.map((v, i) => (Math.floor(i / dim) % seq < 5 ? v : v + 1)) };
    const [before, after] = [run({ x }, decoder), run({ x: changed }, decoder)];
    expectClose(rows(after, 1, 0, 6), rows(before, 1, 0, 6), { atol: 1e-12, rtol: 0 });
    expect(() => expectClose(rows(after, 1, 6, 8), rows(before, 1, 6, 8))).toThrow(/differ/);
    expect(() => traceBlock(decoder, { x: ['float32', [2, seq, dim]] }, { state: 'io' })).toThrow(/added to whole sequences/);
  });

  it('is pooled over its real positions, including the class token', () => {
    const classifier = zoo.parse('model', { name: 'classifier', dim, classes: 3, position, stack: layers() });
    const padded = run({ x, lengths: int64(lengths) }, classifier);
    expectClose({ ...padded, dims: [1, 3], data: padded.data.slice(3) }, run({ x: rows(x, 1, 0, 4) }, classifier), float32);
  });

  it('is cached completely', () => {
    const decoder = {
      name: 'decoder',
      stack: {
        name: 'stack',
        depth: 1,
        layers: { name: 'pre_norm', cross: { name: 'multi_head', heads: 2, cross: true } },
      },
    };
    const model = zoo.parse('model', {
      name: 'encoder_decoder',
      dim,
      encoder: { name: 'encoder', position, stack: layers() },
      decoder,
    });
    const decoder_x = randomArray('decoder_x', [2, 3, dim]);
    const expected = run({ x: rows(x, 1, 0, 4), decoder_x: rows(decoder_x, 1, 0, 3) }, model);
    expectClose(rows(run({ x, decoder_x, lengths: int64(lengths) }, model), 1, 0, 3), expected, float32);
    const attention_mask = bools([2, seq], (b, j) => j < lengths[b]!);
    expectClose(rows(run({ x, decoder_x, attention_mask }, model), 1, 0, 3), expected, float32);
  });

  it('refuses masks that cannot be extended by a position', () => {
    const inputs = { x: ['float32', ['batch', 'seq', dim]] } as const;
    expect(() => traceBlock(encoder, inputs, { mask: not(none) })).toThrow(/the mask cannot be extended by prefix tokens.*not/);
    const even = defineMask({
      name: 'even',
      comparesPositions: false,
      allows: (_, { key }) => key % 2 === 0,
      tensor: () => true,
    });
    expect(() => traceBlock(encoder, inputs, { mask: even() })).toThrow(/the mask cannot be extended by prefix tokens.*even/);
    expect(() => traceBlock(encoder, inputs, { mask: and(causal, even()) })).toThrow(
      /the mask cannot be extended by prefix tokens.*even/,
    );
  });
});
