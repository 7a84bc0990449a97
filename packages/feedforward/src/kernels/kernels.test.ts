import {
  type AnyModule,
  defineBlock,
  dtypes,
  GraphBuilder,
  linear,
  module,
  slot,
  type Target,
  targets,
  type Value,
} from '@onnxformers/core';
import type { Decision } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';
import { lowerBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { gelu, geluTanh, glu, mlp, quickGelu, silu } from '../index';
import { BiasGelu } from './bias-gelu';
import { FastGelu } from './fast-gelu';
import { GeluKernel } from './gelu';
import { QuickGelu } from './quick-gelu';

/** Plain ONNX and these kernels. */
function withKernels(...keys: readonly string[]): Target {
  const plain = targets.portable(23);
  return { ...plain, name: 'small', kernels: { ...plain.kernels, ...Object.fromEntries(keys.map((key) => [key, { dtypes }])) } };
}
const all = withKernels('com.microsoft.BiasGelu', 'com.microsoft.Gelu', 'com.microsoft.FastGelu', 'com.microsoft.QuickGelu');

const inputs = { x: ['float32', ['batch', 'seq', 5]] } as const;
const sizes = { batch: 2, seq: 3 };
const lowered = (m: AnyModule, target: Target) => lowerBlock(m, inputs, target, { sizes, tolerance: { atol: 1e-6, rtol: 1e-6 } });
const keysOf = (m: AnyModule, target: Target) =>
  lowered(m, target)
    .graph.nodes.map((n) => n.op.key)
    .filter((key) => key !== 'Transpose');
const refusals = (decisions: readonly Decision[]) =>
  decisions.flatMap((d) => d.refused.map((r) => `${r.rule}: ${r.reason.text}`));

describe('a feed-forward whose activation has its own kernel', () => {
  it.each([
    ['gelu', mlp({ dim: 5, hidden: 7 }), ['MatMul', 'com.microsoft.BiasGelu', 'MatMul', 'Add']],
    ['gelu without a bias', mlp({ dim: 5, hidden: 7, bias: false }), ['MatMul', 'com.microsoft.Gelu', 'MatMul']],
    ['gelu_tanh', mlp({ dim: 5, hidden: 7, activation: geluTanh({}) }), ['MatMul', 'com.microsoft.FastGelu', 'MatMul', 'Add']],
    [
      'gelu_tanh without a bias',
      mlp({ dim: 5, hidden: 7, bias: false, activation: geluTanh({}) }),
      ['MatMul', 'com.microsoft.FastGelu', 'MatMul'],
    ],
    [
      'quick_gelu',
      mlp({ dim: 5, hidden: 7, activation: quickGelu({}) }),
      ['MatMul', 'Add', 'com.microsoft.QuickGelu', 'MatMul', 'Add'],
    ],
    ['silu', mlp({ dim: 5, hidden: 7, activation: silu({}) }), ['MatMul', 'Add', 'com.microsoft.QuickGelu', 'MatMul', 'Add']],
    [
      'a gated unit of silu',
      glu({ dim: 5, hidden: 7, bias: false }),
      ['MatMul', 'com.microsoft.QuickGelu', 'MatMul', 'Mul', 'MatMul'],
    ],
    [
      'a gated unit of gelu',
      glu({ dim: 5, hidden: 7, activation: gelu({}) }),
      ['MatMul', 'com.microsoft.BiasGelu', 'MatMul', 'Add', 'Mul', 'MatMul', 'Add'],
    ],
  ] as const)('%s', (_, block, keys) => {
    expect(keysOf(block, all).sort()).toEqual([...keys].sort());
  });

  it('has the right alpha: 1 for silu, 1.702 for quick_gelu', () => {
    const alpha = (m: AnyModule) => lowered(m, all).graph.nodes.map((n) => n.attrs.alpha);
    expect([...alpha(silu({})), ...alpha(quickGelu({}))]).toEqual([1, 1.702]);
  });
});

describe('without the kernels', () => {
  it.each([gelu({}), geluTanh({}), silu({}), quickGelu({})])('%o is what the standard has', (block) => {
    const { graph, decisions } = lowered(block, withKernels());
    expect(graph.nodes.some((n) => n.op.key.startsWith('com.microsoft'))).toBe(false);
    expect(refusals(decisions).join('\n')).toContain('small has no kernel for com.microsoft.');
  });
  it('a bias stays with its linear map', () => {
    expect(keysOf(mlp({ dim: 5, hidden: 7 }), withKernels('com.microsoft.Gelu'))).toEqual([
      'MatMul',
      'Add',
      'com.microsoft.Gelu',
      'MatMul',
      'Add',
    ]);
  });
});

// f(h) + h: what the activation reads is read by the sum too.
const around = defineBlock({
  kind: 'feedforward',
  name: 'around',
  summary: 'For tests.',
  fields: { activation: slot('activation', { doc: 'f' }) },
  examples: [],
  create({ activation }) {
    const map = linear(5, 7);
    return module({ map, activation }, (x: Value) => {
      const h = map(x);
      return ops.add(activation(h), h);
    });
  },
});

it.each([
  ['gelu', gelu({}), 'Gelu(Linear + bias) → BiasGelu', 'com.microsoft.Gelu'],
  ['gelu_tanh', geluTanh({}), 'Gelu(tanh) → FastGelu', 'com.microsoft.FastGelu'],
])('%s takes no bias from a linear map that something else reads', (_, activation, rule, kernel) => {
  const { graph, decisions } = lowered(around({ activation }), all);
  expect(refusals(decisions)).toEqual([`${rule}: its operand is not a linear map with a bias, or something else reads it too`]);
  expect(graph.nodes.filter((n) => n.op.key === kernel).map((n) => n.operands.length)).toEqual([1]);
});

describe('the kernels', () => {
  const g = new GraphBuilder();
  const x = g.input('x', 'float32', ['n', 5]);
  it('refuse a bias that does not fit', () => {
    const seven = g.input('b', 'float32', [7]);
    const half = g.input('h', 'float16', [5]);
    for (const op of [BiasGelu, FastGelu]) {
      expect(() => op.infer([x, seven], {})).toThrow('the bias does not fit the channels; expected float32[5], got float32[7]');
      expect(() => op.infer([x, half], {})).toThrow('got float16[5]');
    }
    expect(() => BiasGelu.infer([x], {})).toThrow('the bias is missing');
  });
  it('are known to runtimes by these names', () => {
    expect([BiasGelu, FastGelu, GeluKernel, QuickGelu].map((op) => op.key)).toEqual([
      'com.microsoft.BiasGelu',
      'com.microsoft.FastGelu',
      'com.microsoft.Gelu',
      'com.microsoft.QuickGelu',
    ]);
  });
});
