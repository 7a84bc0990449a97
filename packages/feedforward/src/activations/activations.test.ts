import { type AnyModule, ConfigError, registry, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { expectClose, runBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import {
  blocks,
  custom,
  gelu,
  geluTanh,
  identity,
  leakyRelu,
  quickGelu,
  relu,
  sigmoid,
  silu,
  smelu,
  squaredRelu,
  starRelu,
  tanh,
} from '../index';

// erf by its power series, summed from the smallest term.
function erf(x: number): number {
  const terms: number[] = [];
  for (let n = 0, t = x; n < 80; n++, t *= (-x * x) / n) terms.push(t / (2 * n + 1));
  return (2 / Math.sqrt(Math.PI)) * terms.reduceRight((a, b) => a + b, 0);
}
const logistic = (x: number) => 1 / (1 + Math.exp(-x));
const positive = (x: number) => Math.max(x, 0);
const bent = (beta: number) => (x: number) => (Math.abs(x) <= beta ? (x + beta) ** 2 / (4 * beta) : positive(x));

const functions = [
  ['relu', relu({}), positive],
  ['leaky_relu', leakyRelu({}), (x: number) => (x >= 0 ? x : 0.01 * x)],
  ['leaky_relu of slope 0.3', leakyRelu({ slope: 0.3 }), (x: number) => (x >= 0 ? x : 0.3 * x)],
  ['gelu', gelu({}), (x: number) => (x / 2) * (1 + erf(x / Math.SQRT2))],
  ['gelu_tanh', geluTanh({}), (x: number) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))],
  ['quick_gelu', quickGelu({}), (x: number) => x * logistic(1.702 * x)],
  ['silu', silu({}), (x: number) => x * logistic(x)],
  ['squared_relu', squaredRelu({}), (x: number) => positive(x) ** 2],
  ['smelu', smelu({}), bent(2)],
  ['smelu of beta 0.7', smelu({ beta: 0.7 }), bent(0.7)],
  ['star_relu', starRelu({}), (x: number) => 0.8944 * positive(x) ** 2 - 0.4472],
  ['tanh', tanh({}), Math.tanh],
  ['sigmoid', sigmoid({}), logistic],
  ['identity', identity({}), (x: number) => x],
  ['custom', custom({ f: (x) => ops.sin(x) }), Math.sin],
] as const;

it.each(functions)('%s', (_, block, f) => {
  const data = Float64Array.from([-5, -2.5, -2, -0.7, -0.3, 0, 0.1, 0.7, 1, 2, 3.5, 5]);
  const x = { dtype: 'float32', dims: [2, 3, 2], data } as const;
  // Constants are rounded to float32.
  expectClose(runBlock(block, { x }).outputs.y!, { ...x, data: data.map(f) }, { atol: 1e-6, rtol: 1e-6 });
});

it('every activation of the package is tested', () => {
  const tested = new Set<string>(functions.map(([, block]) => (block as AnyModule).blockName!));
  expect(
    blocks
      .filter((b) => b.kind === 'activation')
      .map((b) => b.blockName)
      .filter((name) => !tested.has(name)),
  ).toEqual([]);
});

describe('custom', () => {
  const zoo = registry(...blocks);
  const f = (x: Value) => ops.sin(x);

  it('is built from a config, but such a config has no JSON', () => {
    const block = zoo.build('activation', { name: 'custom', f });
    expect(() => zoo.toJSON(block)).toThrow('custom.f: a function cannot be written as JSON');
  });
  it('refuses values that are not functions', () => {
    expect(() => zoo.parse('activation', { name: 'custom', f: 'sin' })).toThrow(ConfigError);
    expect(() => zoo.parse('activation', 'custom')).toThrow('custom.f: missing; expected a function, got nothing');
  });
});

it('smelu refuses a parabola without width', () => {
  expect(() => smelu({ beta: 0 })).toThrow('smelu.beta: wrong value; expected a number >= 0.001, got 0');
});
