// Weight-only quantization of a small decoder: which matrices, their numbers, their errors.
import {
  compile,
  createRunner,
  explain,
  initialize,
  isLazy,
  type LazyTensor,
  type Model,
  namesOf,
  type Ort,
  printExplanation,
  type Quantize,
  quantizationErrors,
  quantizeBlocks,
  quantizeWeights,
  type Tensor,
  targets,
  tensor,
  toArray,
} from '@onnxformers/core';
import * as ort from 'onnxruntime-node';
import { beforeAll, describe, expect, it } from 'vitest';
import { zoo } from './index';

const [vocab, dim, hidden] = [131, 76, 92];
const lm = (tied: boolean) =>
  zoo.build('model', {
    name: 'causal_lm',
    dim,
    vocabSize: vocab,
    tied,
    embedding: 'token',
    stack: {
      name: 'stack',
      depth: 1,
      norm: 'rms_norm',
      layers: {
        name: 'pre_norm',
        norm: 'rms_norm',
        mixer: { name: 'multi_head', heads: 2, headDim: 38, bias: false, rotaryEmbedding: 'rotary' },
        feedforward: { name: 'glu', hidden, bias: false },
      },
    },
  });
const inputs = { ids: ['int64', ['batch', 'seq']] } as const;
const feeds = { ids: tensor('int64', [2, 5], [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]) };
const runtime = ort as unknown as Ort;

const plain = lm(false);
const weights = new Map<string, Tensor>();
beforeAll(async () => {
  for (const [name, w] of initialize(plain, { seed: 5, scheme: 'small' })) weights.set(name, await w.load());
});

const outputOf = async (model: Model): Promise<Float64Array> => {
  const run = await createRunner(model, runtime);
  const { logits } = await run(feeds);
  await run.dispose();
  return toArray(logits!).data;
};
const away = (a: Float64Array, b: Float64Array): number => a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i]!)), 0);
const countOf = (model: Model, key: string): number => model.graph.nodes.filter(({ op }) => op.key.endsWith(key)).length;

/** The checkpoint with every matrix as its stored form means it, by an independent reading of the format. */
async function dequantized(quantize: Quantize): Promise<Map<string, Tensor>> {
  const { weights: parts, formats } = quantizeWeights(plain, weights, quantize);
  const back = new Map(weights);
  for (const [path, format] of formats) {
    const part = async (name: string): Promise<Tensor | undefined> => parts.get(path.replace(/weight$/, name))?.load();
    const { dims } = weights.get(path)!;
    if (typeof format === 'string') {
      back.set(path, tensor('float32', dims, toArray((await part('weight_half'))!).data));
      continue;
    }
    const [codes, scales, zeros] = [await part('weight_codes'), await part('weight_scales'), await part('weight_zeros')];
    const [out, columns] = dims as [number, number];
    const blocks = Math.ceil(columns / format.blockSize);
    const at = (t: Tensor, row: number, i: number): number => {
      const width = t.data.length / out;
      if (format.bits === 8) return Number(t.data[row * width + i]);
      return (Number(t.data[row * width + (i >> 1)]) >> (4 * (i & 1))) & 15;
    };
    const values = Array.from({ length: out * columns }, (_, i) => {
      const [row, column] = [Math.floor(i / columns), i % columns];
      const block = Math.floor(column / format.blockSize);
      const zero = zeros ? at(zeros, row, block) : 2 ** (format.bits - 1);
      return (at(codes!, row, column) - zero) * toArray(scales!).data[row * blocks + block]!;
    });
    back.set(path, tensor('float32', dims, values));
  }
  return back;
}

describe('compile with quantize', () => {
  it.each([
    ['int4', 'int4', 0.2],
    ['a mixture by role', { bits: 4, roles: { head: 'int8', embedding: 'float16' } }, 0.2],
    ['int8 with zero points, larger blocks', { bits: 8, blockSize: 128, zeroPoints: true }, 0.02],
  ] as const)('%s: the numbers of the dequantised model, on portable and fused', async (_, quantize, most) => {
    const reference = await outputOf(compile(plain, { target: targets.cpu, inputs, weights: await dequantized(quantize) }));
    const float = await outputOf(compile(plain, { target: targets.cpu, inputs, weights }));
    const largest = reference.reduce((a, x) => Math.max(a, Math.abs(x)), 0);
    for (const target of [targets.cpu, targets.portable(18)]) {
      const model = compile(plain, { target, inputs, weights, quantize });
      const logits = await outputOf(model);
      expect(away(logits, reference)).toBeLessThan(2e-5 * largest);
      expect(away(logits, float)).toBeGreaterThan(1e-4 * largest);
      const mixed = typeof quantize === 'object' && 'roles' in quantize;
      const fused = target === targets.cpu;
      expect([countOf(model, '.MatMulNBits'), countOf(model, '.GatherBlockQuantized')]).toEqual(
        fused ? [8, mixed ? 0 : 1] : [0, 0],
      );
    }
    const errors = await quantizationErrors(plain, {
      target: targets.cpu,
      inputs,
      weights,
      quantize,
      sample: { feeds, ort: runtime },
    });
    expect(errors).toHaveLength(9);
    for (const e of errors) {
      expect(e.weight, e.path).toBeGreaterThan(0);
      expect(e.weight, e.path).toBeLessThan(most);
      expect(e.output, e.path).toBeGreaterThan(0);
      expect(e.output, e.path).toBeLessThan(2 * most);
      expect(e.bytes).toBeLessThan(e.originalBytes);
    }
  });

  it('the errors are those of the stored weights, and of the layer on the same activations', async () => {
    const quantize = { bits: 4, select: (path: string) => (path === 'head.weight' ? 'int4' : 'none') } as const;
    const [error] = await quantizationErrors(plain, {
      target: targets.portable(18),
      inputs,
      weights,
      quantize,
      sample: { feeds, ort: runtime },
    });
    const [exact, stored] = [weights.get('head.weight')!, (await dequantized(quantize)).get('head.weight')!].map(
      (t) => toArray(t).data,
    );
    const squares = (a: ArrayLike<number>): number => Array.from(a).reduce((n, x) => n + x * x, 0);
    const expected = Math.sqrt(squares(exact!.map((x, i) => x - stored![i]!)) / squares(exact!));
    expect(error!.weight).toBeCloseTo(expected, 8);
    const outputs = [exact!, stored!].map((w) =>
      compile(plain, {
        target: targets.cpu,
        inputs,
        weights: new Map([...weights, ['head.weight', tensor('float32', [vocab, dim], w)]]),
      }),
    );
    const [y, z] = [await outputOf(outputs[0]!), await outputOf(outputs[1]!)];
    expect(error!.output).toBeCloseTo(Math.sqrt(squares(y.map((x, i) => x - z[i]!)) / squares(y)), 5);
  });

  it('a table in float16 is widened in the rows that are looked up only', () => {
    const model = compile(plain, { target: targets.cpu, inputs, weights, quantize: { roles: { embedding: 'float16' } } });
    const whole = model.graph.nodes.filter((n) => n.outputs[0]!.dims.join() === `${vocab},${dim}`);
    expect(whole.map((n) => n.op.key)).toEqual([]);
  });

  it('a tied table is read by both kernels', () => {
    const model = lm(true);
    const tied = new Map([...weights].filter(([name]) => name !== 'head.weight'));
    const compiled = compile(model, { target: targets.cpu, inputs, weights: tied, quantize: 'int4' });
    expect([countOf(compiled, '.MatMulNBits'), countOf(compiled, '.GatherBlockQuantized')]).toEqual([8, 1]);
  });

  it('explain says which kernel reads which codes, with the accuracy level', () => {
    const text = printExplanation(
      explain(compile(plain, { target: targets.cpu, inputs, quantize: { bits: 8, accuracyLevel: 4 } })),
    );
    expect(text).toContain('Linear(DequantizeBlocks) → MatMulNBits');
    expect(text).toContain('codes of 8 bits in blocks of 32; accuracy level 4: products are computed in int8');
    expect(printExplanation(explain(compile(plain, { target: targets.cpu, inputs, quantize: 'int4' })))).toContain(
      'accuracy level 0',
    );
  });

  it('scales are stored in the dtype of the model', () => {
    const { weights: stored } = compile(plain, { target: targets.cuda, inputs, weights, dtype: 'float16', quantize: 'int4' });
    expect(stored!.get('head.weight_scales')!.dtype).toBe('float16');
  });
});

describe('quantizeWeights', () => {
  it('reads each weight once for all of its parts, and again for a second reading', async () => {
    let reads = 0;
    const counted = new Map<string, Tensor | LazyTensor>(
      [...weights].map(([name, w]) => [
        name,
        {
          dtype: w.dtype,
          dims: w.dims,
          byteLength: w.data.byteLength,
          load: async () => {
            reads++;
            return w;
          },
        },
      ]),
    );
    const { weights: parts, formats } = quantizeWeights(plain, counted, { bits: 4, zeroPoints: true });
    expect(reads).toBe(0);
    for (const w of parts.values()) await w.load();
    expect(reads).toBe(weights.size);
    const codes = parts.get('head.weight_codes')!;
    expect((await codes.load()).data).toEqual(
      quantizeBlocks(weights.get('head.weight')!, { bits: 4, blockSize: 32, zeroPoints: true }).weight_codes!.data,
    );
    expect(reads).toBe(weights.size + 1);
    expect(formats.size).toBe(9);
    expect([...parts.values()].every(isLazy)).toBe(true);
  });

  it('names wrong options', () => {
    const of = (quantize: unknown) => () => quantizeWeights(plain, weights, quantize as Quantize);
    expect(of('int5')).toThrow('Did you mean "int4"?');
    expect(of({ bits: 3 })).toThrow('quantize.bits: not a number of bits; expected 4 or 8, got 3');
    expect(of({ bits: 4, blockSize: 24 })).toThrow('a power of two of at least 16');
    expect(of({ roles: { head: 'int44' } })).toThrow('quantize.roles.head: not a format of weights');
    expect(of({ role: {} })).toThrow('Did you mean "roles"?');
    expect(of({ select: () => 'none' })).toThrow('no matrix is selected');
    expect(() => compile(plain, { target: targets.cpu, inputs, weights, quantize: 'int2' as 'int4' })).toThrow(
      "expected 'int4', 'int8'",
    );
    const small = quantizeWeights(plain, weights, 'int8').module;
    expect(() => quantizeWeights(small, new Map(), 'int8')).toThrow('A model can be quantised once');
    expect([...namesOf(small).parameters.keys()].filter((n) => n.endsWith('proj.weight'))).toEqual([]);
  });

  it('refuses a weight that is not finite', () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY])
      expect(() => quantizeBlocks(tensor('float32', [1, 2], [1, bad]), { bits: 4, blockSize: 16 })).toThrow('in row 0');
  });
});
