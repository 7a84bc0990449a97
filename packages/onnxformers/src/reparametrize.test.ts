// Parametrizations, with blocks that do not notice: low-rank updates as inputs, weights in 4 bits.
import { multiHead, scaledDotProduct } from '@onnxformers/attention';
import {
  compile,
  createRunner,
  embedding,
  type Graph,
  initialize,
  isLazy,
  linear,
  lora,
  type Model,
  module,
  namesOf,
  type Ort,
  Parameter,
  quantizeBlocks,
  quantizedBlocks,
  reparametrize,
  type SequenceContext,
  serialize,
  type Tensor,
  targets,
  tensor,
  toArray,
  type Value,
  withForward,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { glu } from '@onnxformers/feedforward';
import { preNorm } from '@onnxformers/residual';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';

const [vocab, dim, headDim, hidden] = [19, 68, 24, 97];

function network() {
  const embed = embedding(vocab, dim, { init: { kind: 'normal', std: 1 } });
  const layers = [0, 1].map(() =>
    preNorm({
      dim,
      mixer: multiHead({ dim, heads: 3, headDim, attention: scaledDotProduct({ causal: true }) }),
      feedforward: glu({ dim, hidden, bias: false }),
    }),
  );
  const head = linear(dim, vocab, { role: 'head' });
  return module({ embed, layers, head }, (inputs: Record<string, Value>, ctx: SequenceContext) => ({
    logits: head(layers.reduce((x, layer) => layer(x, ctx), embed(inputs.ids!))),
  }));
}

const inputs = { ids: ['int64', ['batch', 'seq']] } as const;
const ids = tensor('int64', [2, 5], [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]);
const strict = { session: { graphOptimizationLevel: 'disabled' } } as const;
const logitsOf = async (model: Model, feeds: Readonly<Record<string, Tensor>> = {}): Promise<Float64Array> => {
  const run = await createRunner(model, ort as unknown as Ort, strict);
  const { logits } = await run({ ids, ...feeds });
  await run.dispose();
  return toArray(logits!).data;
};
const away = (a: Float64Array, b: Float64Array): number => a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i]!)), 0);
const keysOf = ({ nodes }: Graph): string[] => nodes.map((n) => n.op.key);
const isMatrix = (p: Parameter): boolean => p.dims.length === 2 && p.options.part === 'weight';

/** Every weight of a module as a tensor. */
async function tensorsOf(model: ReturnType<typeof network>): Promise<Map<string, Tensor>> {
  const loaded = [...initialize(model, { seed: 5 })].map(async ([name, w]) => [name, isLazy(w) ? await w.load() : w] as const);
  return new Map(await Promise.all(loaded));
}

describe.each([targets.portable(18), targets.portable(23), targets.cpu])('$name', (target) => {
  it('LoRA: base weights stored, updates exchanged from run to run', async () => {
    const model = network();
    const weights = await tensorsOf(model);
    const adapted = /mixer\.(q|v)_proj\.weight|down_proj\.weight/;
    const [rank, alpha] = [3, 6];
    const tuned = reparametrize(model, (path, p) => (adapted.test(path) ? lora(p, { rank, alpha }) : undefined));
    const compiled = compile(tuned, {
      target,
      inputs,
      weights,
      parameters: (path) => (path.includes('.lora_') ? 'input' : 'stored'),
    });
    const fed = compiled.signature.inputs.filter((p) => p.parameter);
    expect(fed.map((p) => p.name)).toEqual(
      [0, 1].flatMap((i) =>
        ['mixer.q_proj', 'mixer.v_proj', 'feedforward.down_proj'].flatMap((p) => [
          `layers.${i}.${p}.lora_a`,
          `layers.${i}.${p}.lora_b`,
        ]),
      ),
    );
    const update = (f: (i: number, port: number) => number): Record<string, Tensor> =>
      Object.fromEntries(
        fed.map(({ name, dims }, port) => {
          const count = (dims as number[]).reduce((a, b) => a * b, 1);
          return [
            name,
            tensor(
              'float32',
              dims as number[],
              Array.from({ length: count }, (_, i) => f(i, port)),
            ),
          ];
        }),
      );
    const base = await logitsOf(compile(model, { target, inputs, weights }));
    const some = update((i, port) => Math.sin(i * 7 + port));
    const none = update((i, port) => (port % 2 ? 0 : Math.sin(i * 7 + port)));
    expect(away(await logitsOf(compiled, none), base)).toBeLessThan(1e-5);

    const changed = await logitsOf(compiled, some);
    expect(away(changed, base)).toBeGreaterThan(0.1);
    const merged = new Map([...weights].map(([name, w]) => [name, adapted.test(name) ? withUpdate(name, w) : w] as const));
    function withUpdate(name: string, w: Tensor): Tensor {
      const [a, b] = ['lora_a', 'lora_b'].map((part) => toArray(some[name.replace(/weight$/, part)]!).data);
      const [out, inner] = w.dims as [number, number];
      const values = toArray(w).data.map((x, at) => {
        const [row, column] = [Math.floor(at / inner), at % inner];
        let sum = 0;
        for (let r = 0; r < rank; r++) sum += b![row * rank + r]! * a![r * inner + column]!;
        return x + (alpha / rank) * sum;
      });
      return tensor('float32', [out, inner], values);
    }
    expect(away(changed, await logitsOf(compile(model, { target, inputs, weights: merged })))).toBeLessThan(5e-5);

    // The wide product is never made of a changed weight: no sum of a matrix stands in the graph.
    const wide = compiled.graph.nodes.filter((n) => n.op.key === 'Add' && n.outputs[0]!.dims.join() === `${dim},${hidden}`);
    expect(wide).toEqual([]);
  });

  it('stored updates become part of the weights', async () => {
    const model = network();
    const tuned = reparametrize(model, (path, p) => (path.endsWith('q_proj.weight') ? lora(p, { rank: 2 }) : undefined));
    const stored = compile(tuned, { target, inputs, weights: await withLora() });
    const written = serialize(stored);
    const ofQueries = written.graph.initializers.filter((i) => /q_proj\.(weight|lora)/.test(i.name));
    expect(ofQueries.map((i) => i.dims)).toEqual([
      [dim, 3 * headDim],
      [dim, 3 * headDim],
    ]);
    async function withLora(): Promise<Map<string, Tensor>> {
      const values = [...namesOf(tuned).parameters].filter(([name]) => name.includes('.lora_'));
      return new Map([
        ...(await tensorsOf(model)),
        ...values.map(([name, p]) => [name, tensor('float32', p.dims, Array(p.dims[0]! * p.dims[1]!).fill(0.1))] as const),
      ]);
    }
  });

  for (const zeroPoints of [false, true])
    it(`weights in 4 bits${zeroPoints ? ' with zero points' : ''} give what the dequantised weights give`, async () => {
      const model = network();
      const weights = await tensorsOf(model);
      const options = { bits: 4, blockSize: 16, zeroPoints } as const;
      const chosen = (path: string, p: Parameter): boolean => isMatrix(p) && !path.startsWith('embed');
      const small = reparametrize(model, (path, p) => (chosen(path, p) ? quantizedBlocks(p, options) : undefined));
      const { parameters } = namesOf(model);
      const [packed, reference] = [new Map<string, Tensor>(), new Map<string, Tensor>()];
      for (const [name, w] of weights) {
        if (!chosen(name, parameters.get(name)!)) {
          for (const map of [packed, reference]) map.set(name, w);
          continue;
        }
        const made = quantizeBlocks(w, options);
        for (const [part, t] of Object.entries(made)) packed.set(name.replace(/weight$/, part), t);
        reference.set(name, dequantized(w.dims as [number, number], made, options.blockSize));
      }
      const compiled = compile(small, { target, inputs, weights: packed });
      const [got, expected, full] = [
        await logitsOf(compiled),
        await logitsOf(compile(model, { target, inputs, weights: reference })),
        await logitsOf(compile(model, { target, inputs, weights })),
      ];
      expect(away(got, expected)).toBeLessThan(2e-5);
      expect(away(got, full)).toBeGreaterThan(1e-3);
      const keys = keysOf(compiled.graph);
      const maps = 2 * 7 + 1;
      expect(keys.filter((k) => k === 'com.microsoft.MatMulNBits').length).toBe(target.name === 'cpu' ? maps : 0);
      // What is stored stays in 4 bits: no initializer is as large as a map's weight.
      const large = serialize(compiled).graph.initializers.filter((i) => i.dims.reduce((a, b) => a * b, 1) >= 3 * headDim * dim);
      expect(large.filter((i) => i.dtype !== 'uint8').map((i) => i.name)).toEqual([]);
    });

  for (const zeroPoints of [false, true])
    for (const tied of [false, true])
      it(`a table in 4 bits${zeroPoints ? ' with zero points' : ''}${tied ? ', tied to the head,' : ''} gives the rows of the dequantised one`, async () => {
        // Large enough not to be unpacked when it is written.
        const words = 131;
        const table = embedding(words, dim, { init: { kind: 'normal', std: 1 } });
        const head = new Parameter([words, dim], { kind: 'normal', std: 1 }, { role: 'head', part: 'weight' });
        const { weight } = table.children as { readonly weight: Parameter };
        const model = module({ table, ...(!tied && { head }) }, ({ ids }: Record<string, Value>) => {
          const rows = table(ids!);
          return { logits: ops.linear(rows, ids!.graph.param(tied ? weight : head)), rows };
        });
        const options = { bits: 4, blockSize: 16, zeroPoints } as const;
        const small = reparametrize(model, (_, p) => (p === weight ? quantizedBlocks(p, options) : undefined));
        const weights = await tensorsOf(model);
        const w = weights.get('table.weight')!;
        const made = quantizeBlocks(w, options);
        const packed = new Map([...weights, ...Object.entries(made).map(([part, t]) => [`table.${part}`, t] as const)]);
        packed.delete('table.weight');
        const reference = new Map([...weights, ['table.weight', dequantized([words, dim], made, 16)] as const]);
        const compiled = compile(small, { target, inputs, weights: packed });
        const expected = compile(model, { target, inputs, weights: reference });
        expect(away(await logitsOf(compiled), await logitsOf(expected))).toBeLessThan(2e-5);

        // The table as a whole is unpacked for a product only, where that has no kernel.
        const keys = keysOf(compiled.graph);
        expect(keys.includes('com.microsoft.GatherBlockQuantized')).toBe(target.name === 'cpu');
        expect(keys.includes('com.microsoft.MatMulNBits')).toBe(target.name === 'cpu' && tied);
        const whole = compiled.graph.nodes.filter((n) => n.outputs[0]!.dims.join() === `${words},${dim}`);
        expect(whole.length > 0).toBe(target.name !== 'cpu' && tied);
        const large = serialize(compiled).graph.initializers.filter((i) => i.dims.reduce((a, b) => a * b, 1) >= words * dim);
        expect(large.filter((i) => i.dtype !== 'uint8').map((i) => i.name)).toEqual(tied ? [] : [expect.stringMatching(/^head/)]);
      });
});

// An independent reading of the format.
function dequantized(
  [out, columns]: readonly [number, number],
  parts: Readonly<Record<string, Tensor>>,
  blockSize: number,
): Tensor {
  const { weight_codes, weight_scales, weight_zeros } = parts;
  const blocks = Math.ceil(columns / blockSize);
  const half = (bytes: Tensor, row: number, at: number): number => {
    const perRow = bytes.data.length / out;
    return (Number(bytes.data[row * perRow + Math.floor(at / 2)]) >> (at % 2 ? 4 : 0)) & 15;
  };
  const values = Array.from({ length: out * columns }, (_, i) => {
    const [row, column] = [Math.floor(i / columns), i % columns];
    const block = Math.floor(column / blockSize);
    const zero = weight_zeros ? half(weight_zeros, row, block) : 8;
    return (half(weight_codes!, row, column) - zero) * Number(weight_scales!.data[row * blocks + block]);
  });
  return tensor('float32', [out, columns], values);
}

it('another forward function on 4-bit weights does not require the replaced weights', async () => {
  const model = network();
  const small = reparametrize(model, (path, p) =>
    isMatrix(p) && !path.startsWith('embed') ? quantizedBlocks(p, { bits: 4, blockSize: 16 }) : undefined,
  );
  const sum = withForward(small, (given: Record<string, Value>, ctx: SequenceContext) => {
    const { logits } = small.forward(given, ctx);
    return { twice: ops.add(logits, logits) };
  });
  const names = [...namesOf(small).parameters.keys()];
  expect([...namesOf(sum).parameters.keys()]).toEqual(names);
  expect(names.filter((name) => name.endsWith('weight_codes'))).toHaveLength(15);
  expect(names.filter((name) => name.endsWith('q_proj.weight'))).toEqual([]);
  expect(compile(sum, { target: targets.cpu, inputs }).signature.outputs.map((p) => p.name)).toEqual(['twice']);
});

describe('quantizeBlocks', () => {
  it('represents the element of the largest magnitude exactly and the others to half a step', () => {
    const weight = tensor(
      'float32',
      [2, 19],
      Array.from({ length: 38 }, (_, i) => Math.fround(Math.sin(i * i))),
    );
    const made = quantizeBlocks(weight, { bits: 4, blockSize: 16 });
    const back = toArray(dequantized([2, 19], made, 16)).data;
    const original = toArray(weight).data;
    for (let row = 0; row < 2; row++)
      for (const [from, to] of [
        [0, 16],
        [16, 19],
      ] as const) {
        const part = Array.from(original.slice(row * 19 + from, row * 19 + to));
        const furthest = part.reduce((a, x) => (Math.abs(x) > Math.abs(a) ? x : a), 0);
        const at = row * 19 + from + part.indexOf(furthest);
        expect(back[at]).toBe(original[at]);
        const step = Math.abs(furthest) / 8;
        // A number opposite to the furthest one has 7 steps only.
        part.forEach((x, i) =>
          expect(Math.abs(back[row * 19 + from + i]! - x)).toBeLessThanOrEqual(step * (x * furthest < 0 ? 1 : 0.5) + 1e-7),
        );
      }
  });
  it('names what it cannot quantise', () => {
    expect(() => quantizeBlocks(tensor('float32', [4], [1, 2, 3, 4]), { bits: 4, blockSize: 16 })).toThrow(
      'not a weight; expected finite floats [out, in], got float32[4]',
    );
    expect(() => quantizeBlocks(tensor('float32', [1, 4], [1, 2, 3, 4]), { bits: 4, blockSize: 12 })).toThrow(
      'expected a power of two of at least 16, got 12',
    );
  });
  it('a bias is not a matrix', () => {
    const model = network();
    expect(() => reparametrize(model, (path, p) => (path.endsWith('bias') ? lora(p, { rank: 2 }) : undefined))).toThrow(
      'the parameter is not a matrix',
    );
    expect(() => reparametrize(model, (path, p) => (path === 'head.weight' ? lora(p, { rank: 0 }) : undefined))).toThrow(
      'lora.rank: not a rank',
    );
  });
});
