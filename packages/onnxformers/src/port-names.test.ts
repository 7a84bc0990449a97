// What types know of the names that go in and out of a model.
import { exampleOf, traceBlock } from '@onnxformers/core/testing';
import * as ort from 'onnxruntime-node';
import { describe, expect, expectTypeOf, it } from 'vitest';
import {
  type CompileOptions,
  causalLm,
  compile,
  createRunner,
  encoder,
  initialize,
  type KindModule,
  type Model,
  module,
  type Ort,
  ops,
  type Runner,
  rmsNorm,
  type Tensor,
  targets,
  tensor,
  type Value,
  zoo,
} from './index';

const layers = { name: 'pre_norm', mixer: { name: 'multi_head', heads: 3 } } as const;
const stack = { name: 'stack', depth: 1, layers } as const;
const block = zoo.build('model', { name: 'encoder', dim: 12, embedding: { name: 'token', vocabSize: 23 }, stack });
const inputs = { ids: ['int64', ['batch', 'seq']] } as const;
const { cpu: target } = targets;

describe('names of inputs and outputs in types', () => {
  it('of a model of the registry are those that its block declares', async () => {
    const model = compile(block, { target, inputs, weights: initialize(block, { seed: 1 }) });
    expectTypeOf(model).toEqualTypeOf<Model<'ids', 'hidden_states'>>();
    const run = await createRunner(model, ort as unknown as Ort);
    const o = await run({ ids: tensor('int64', [2, 3], [1, 2, 3, 4, 5, 6]) });
    expectTypeOf(o.hidden_states).toEqualTypeOf<Tensor>();
    expect(o.hidden_states.dims).toEqual([2, 3, 12]);
    // @ts-expect-error: misspelt
    expect(o.hiden_states).toBeUndefined();
    // @ts-expect-error: misspelt
    await expect(run({ idz: tensor('int64', [2, 3], [1, 2, 3, 4, 5, 6]) })).rejects.toThrow('idz');
    await run.dispose();
  });

  it('of blocks by hand and of other kinds are known too', () => {
    expectTypeOf(encoder).returns.toEqualTypeOf<KindModule<'model', 'hidden_states'>>();
    expectTypeOf(causalLm).returns.toEqualTypeOf<KindModule<'model', 'logits'>>();
    const norm = compile(rmsNorm({ dim: 5 }), { target, inputs: { x: ['float32', ['rows', 5]] } });
    expectTypeOf(norm).toEqualTypeOf<Model<'x', 'y'>>();
    expect(norm.signature.outputs.map(({ name }) => name)).toEqual(['y']);
  });

  it('of a module made by hand are the keys of what it returns', () => {
    const twice = module({}, ({ x }: Readonly<Record<string, Value>>) => ({ twice: ops.mul(x!, 2) }));
    const model = compile(twice, { target, inputs: { x: ['float32', ['n']] } });
    expectTypeOf(model).toEqualTypeOf<Model<'x', 'twice'>>();
  });

  it('are any text if there are caches, taps or parameters, or if they are unknown', () => {
    expectTypeOf(compile(block, { target, inputs, taps: ['stack.layers.0.mixer'] })).toEqualTypeOf<Model<'ids', string>>();
    expectTypeOf(compile(block, { target, inputs, parameters: () => 'input' })).toEqualTypeOf<Model<string, 'hidden_states'>>();
    const cached = Math.random() < 2;
    const spread = compile(block, { target, inputs, ...(cached && { taps: ['stack.layers.0.mixer'] }) });
    expectTypeOf(spread).toEqualTypeOf<Model<'ids', string>>();
    const declared: CompileOptions = { target, inputs };
    expectTypeOf(compile(block, { ...declared })).toEqualTypeOf<Model<string, string>>();
    const parsed = zoo.parse('model', { name: 'encoder', dim: 12, stack });
    const x = { x: ['float32', ['batch', 'seq', 12]] } as const;
    expectTypeOf(compile(parsed, { target, inputs: x })).toEqualTypeOf<Model<'x', string>>();
    expectTypeOf<Runner<'ids', 'logits'>>().toExtend<Runner>();
    expectTypeOf<Model<'ids', 'logits'>>().toExtend<Model>();
  });
});

it.each(zoo.blocks.filter(({ definition }) => 'outputs' in definition).map((b) => [b.blockName, b] as const))(
  '%s has the outputs that it declares, for every example',
  (_, declared) => {
    const { outputs, examples } = declared.definition as { outputs: readonly string[]; examples: readonly unknown[] };
    expect(examples.length).toBeGreaterThan(0);
    examples.forEach((_, index) => {
      const { module: example, inputs: named } = exampleOf(declared, index, zoo);
      const types = Object.entries(named).map(([name, { dtype, dims }]) => [name, [dtype, dims] as const] as const);
      expect(
        traceBlock(example, Object.fromEntries(types))
          .outputs.map(({ name }) => name)
          .sort(),
      ).toEqual([...outputs].sort());
    });
  },
);
