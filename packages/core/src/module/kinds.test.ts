// Kinds: each says what a block of it takes by itself and how it is called; a kind of a user's own can say the same.
import { describe, expect, it } from 'vitest';
import { defineBlock } from '../block/block';
import { registry } from '../block/registry';
import { compile } from '../compile/compile';
import { int } from '../config/fields';
import { ConfigError } from '../error';
import type { Value } from '../ir/graph';
import { mul, tanh } from '../ops/elementwise';
import { targets } from '../targets/index';
import { exampleOf, feedsFor, sizesOf } from '../testing/example';
import { runBlock } from '../testing/run-block';
import { variantsOf } from '../testing/variants';
import { type AnyKindDefinition, blockInputs, kindOf, kinds } from './kinds';
import { type AnyModule, module } from './module';
import { standalone } from './standalone';

const summaries = Object.values(kinds).map(({ summary }) => summary);

it('every kind has its own sentence for the catalogue', () => {
  expect(new Set(summaries).size).toBe(summaries.length);
  for (const summary of summaries) expect(summary).toMatch(/^[A-Z].*\.$/);
});

describe('a block by itself', () => {
  const scaled = defineBlock({
    kind: 'rotaryEmbedding',
    name: 'halved',
    summary: 'Halves both.',
    fields: { dim: int({ doc: 'channels of a head', min: 1 }) },
    examples: [{ dim: 3 }],
    create: () => (q: Value, k: Value) => [mul(q, 0.5), mul(k, 0.25)] as const,
  });

  it('returns the outputs that its kind names, in that order', () => {
    const feed = (x: number) => ({ dtype: 'float32', dims: [1, 1, 1, 3], data: Float64Array.of(x, x, x) }) as const;
    const { outputs } = runBlock(scaled({ dim: 3 }), { q: feed(8), k: feed(16) });
    expect(Object.entries(outputs).map(([name, { data }]) => [name, [...data]])).toEqual([
      ['q_rotated', [4, 4, 4]],
      ['k_rotated', [4, 4, 4]],
    ]);
  });

  it('reads sizes from its config and names those that it leaves open', () => {
    expect(blockInputs(scaled({ dim: 3 }))).toEqual({
      q: { dtype: 'float32', dims: ['batch', 'heads', 'seq', 3] },
      k: { dtype: 'float32', dims: ['batch', 'kv_heads', 'seq', 3] },
    });
  });

  it('prefers its own definition to that of its kind', () => {
    const patches = defineBlock({
      kind: 'embedding',
      name: 'pixel_rows',
      summary: 'Rows of pixels.',
      fields: { dim: int({ doc: 'channels', min: 1 }) },
      inputs: () => ({ pixels: { dtype: 'float32', dims: ['batch', 'seq', 5] } }),
      examples: [{ dim: 3 }],
      create: () => (pixels: Value) => mul(pixels, 2),
    });
    expect(blockInputs(patches({ dim: 3 }))).toEqual({ pixels: { dtype: 'float32', dims: ['batch', 'seq', 5] } });
    const { inputs } = exampleOf(patches, 0, registry(patches));
    expect(Object.keys(inputs)).toEqual(['pixels']);
  });
});

describe('a kind of the user', () => {
  // Merged into Contracts by its user: gate(x, by) → x scaled.
  const definition: AnyKindDefinition = {
    summary: 'What scales rows by others.',
    masks: 'none',
    inputs: () => ({
      x: { dtype: 'float32', dims: ['batch', 'seq', 'dim'] },
      by: { dtype: 'float32', dims: ['batch', 'seq', 'dim'] },
    }),
    alone: {
      outputs: ['gated'],
      call: (f: (x: Value, by: Value) => Value, input: (name: string) => Value) => [f(input('x'), input('by'))],
    },
  };
  const gateWith = (kindDefinition?: AnyKindDefinition) =>
    defineBlock({
      kind: 'gate' as never,
      name: 'tanh_gate',
      summary: 'x · tanh(by).',
      fields: {},
      ...(kindDefinition && { kindDefinition }),
      examples: [{}],
      create: (() => (x: Value, by: Value) => mul(x, tanh(by))) as never,
    });
  const inputs = { x: ['float32', ['batch', 3]], by: ['float32', ['batch', 3]] } as const;

  it('is called according to its definition, by compile and by the suites', () => {
    const block = gateWith(definition);
    const gate = block({}) as AnyModule;
    expect(compile(gate, { target: targets.cpu, inputs }).signature.outputs.map(({ name }) => name)).toEqual(['gated']);
    expect(kindOf(gate)).toBe(definition);
    const example = exampleOf(block as never, 0, registry(block as never));
    expect(variantsOf(example).map(({ name }) => name)).toEqual(['']);
    const sizes = sizesOf(example);
    const { outputs } = runBlock(gate, feedsFor(example.inputs, sizes));
    expect(outputs.gated!.dims).toEqual([sizes.batch, sizes.seq, 7]);
  });

  it.each([
    ['compiled', () => standalone(gateWith()({}))],
    ['asked for its inputs', () => blockInputs(gateWith()({}))],
  ])('of which nothing is said is refused with what to do when it is %s', (_, act) => {
    expect(act).toThrow(ConfigError);
    expect(act).toThrow(/gate.*(\n.*)*kindDefinition/);
  });

  it('does not apply its scope to another forward function', () => {
    const gate = gateWith(definition)({}) as AnyModule;
    const wrapped = module({ gate }, ({ x }: Readonly<Record<string, Value>>) => ({ y: gate(x, x) as Value }));
    expect(standalone(wrapped)).toBe(wrapped);
    expect(kindOf(wrapped)).toBeUndefined();
  });
});
