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
import { type Decision, lower } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';
import { lowerBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { deepNorm, layerNorm, postNorm, preNorm, rmsNorm } from '../index';
import { biasedMap, rowMap, twoLayers } from '../plain.test-helper';
import { SimplifiedLayerNormalization, useSimplifiedLayerNormalization } from './simplified-layer-normalization';
import { SkipLayerNormalization, useSkipLayerNormalization } from './skip-layer-normalization';
import { SkipSimplifiedLayerNormalization, useSkipSimplifiedLayerNormalization } from './skip-simplified-layer-normalization';

/** Plain ONNX and these kernels. */
function withKernels(...keys: readonly string[]): Target {
  const plain = targets.portable(23);
  return { ...plain, name: 'small', kernels: { ...plain.kernels, ...Object.fromEntries(keys.map((key) => [key, { dtypes }])) } };
}
const all = withKernels(SkipLayerNormalization.key, SkipSimplifiedLayerNormalization.key, SimplifiedLayerNormalization.key);

const inputs = { x: ['float32', ['batch', 'seq', 5]] } as const;
const sizes = { batch: 2, seq: 3 };
const lowered = (m: AnyModule, target: Target = all) =>
  lowerBlock(m, inputs, target, { sizes, tolerance: { atol: 1e-6, rtol: 1e-6 } });
const refusals = (decisions: readonly Decision[]) => decisions.flatMap((d) => d.refused.map((r) => r.reason.text));
/** `Skip+` where the kernel gives the sum too, `b` where it adds a bias. */
const short: Readonly<Record<string, string>> = {
  'com.microsoft.SkipLayerNormalization': 'Skip',
  'com.microsoft.SkipSimplifiedLayerNormalization': 'SkipRms',
  SimplifiedLayerNormalization: 'Rms',
  LayerNormalization: 'Layer',
};
const norms = (m: AnyModule, target?: Target) =>
  lowered(m, target).graph.nodes.flatMap(({ op, outputs, operands }) => {
    const name = short[op.key];
    const bias = operands[op.key === SkipLayerNormalization.key ? 4 : 3];
    return name ? [`${name}${outputs.length > 1 ? '+' : ''}${name.startsWith('Skip') && bias ? 'b' : ''}`] : [];
  });

const plain = () => rowMap({ dim: 5 });
const biased = () => biasedMap({ dim: 5 });

describe('sums and norms', () => {
  it.each([
    [
      'pre_norm',
      twoLayers({ layers: () => preNorm({ dim: 5, feedforward: plain() }), norm: layerNorm({ dim: 5 }) }),
      ['Layer', 'Skip+', 'Skip'],
    ],
    [
      'pre_norm, biases taken along',
      twoLayers({ layers: () => preNorm({ dim: 5, feedforward: biased() }), norm: layerNorm({ dim: 5 }) }),
      ['Layer', 'Skip+b', 'Skipb'],
    ],
    [
      'pre_norm of rms_norm',
      twoLayers({
        layers: () => preNorm({ dim: 5, feedforward: biased(), norm: () => rmsNorm({ dim: 5 }) }),
        norm: rmsNorm({ dim: 5 }),
      }),
      ['Rms', 'SkipRms+b', 'SkipRmsb'],
    ],
    [
      'pre_norm without a norm behind',
      twoLayers({ layers: () => preNorm({ dim: 5, feedforward: biased() }) }),
      ['Layer', 'Skip+b'],
    ],
    ['post_norm', twoLayers({ layers: () => postNorm({ dim: 5, feedforward: plain() }) }), ['Skip', 'Skip']],
    [
      'post_norm, biases taken along',
      twoLayers({ layers: () => postNorm({ dim: 5, feedforward: biased() }) }),
      ['Skipb', 'Skipb'],
    ],
    [
      'post_norm of norms without shift',
      twoLayers({ layers: () => postNorm({ dim: 5, feedforward: biased(), norm: () => layerNorm({ dim: 5, bias: false }) }) }),
      ['Skipb', 'Skipb'],
    ],
    ['deep_norm', twoLayers({ layers: () => deepNorm({ dim: 5, depth: 2, feedforward: biased() }) }), ['Skipb', 'Skipb']],
  ] as const)('%s, across layers', (_, block, expected) => {
    expect(norms(block)).toEqual(expected);
  });

  it('of a shortcut as well', () => {
    expect(norms(postNorm({ dim: 5, feedforward: rowMap({ dim: 5, outDim: 3 }) }))).toEqual(['Skip']);
  });
  it('leave no sum and no bias', () => {
    const { graph } = lowered(postNorm({ dim: 5, feedforward: biased() }));
    expect(graph.nodes.map((n) => n.op.key)).toEqual(['Transpose', 'MatMul', SkipLayerNormalization.key]);
  });
  it('stay apart without the kernel', () => {
    const { graph, decisions } = lowered(postNorm({ dim: 5, feedforward: plain() }), withKernels());
    expect(graph.nodes.map((n) => n.op.key)).toEqual(['Transpose', 'MatMul', 'Add', 'LayerNormalization']);
    expect(refusals(decisions)).toEqual(['small has no kernel for com.microsoft.SkipLayerNormalization']);
  });
});

describe('rms_norm alone', () => {
  it('is the simplified kernel if there is one, otherwise the op of the standard', () => {
    expect(norms(rmsNorm({ dim: 5 }))).toEqual(['Rms']);
    expect(lowered(rmsNorm({ dim: 5 }), withKernels()).graph.nodes.map((n) => n.op.key)).toEqual(['RMSNormalization']);
  });
});

describe('is refused', () => {
  const rules = [useSkipLayerNormalization, useSkipSimplifiedLayerNormalization, useSimplifiedLayerNormalization];
  const reasons = (build: (g: GraphBuilder) => Value, target = all): readonly string[] => {
    const g = new GraphBuilder();
    g.output('y', build(g));
    return refusals(lower(g.finish(), target, { rules }).decisions);
  };
  const sum = (g: GraphBuilder, a: readonly (number | string)[], b = a) =>
    ops.add(g.input('a', 'float32', a), g.input('b', 'float32', b));
  const row = (g: GraphBuilder, ...dims: number[]) => g.input('s', 'float32', dims);

  it.each([
    [
      'several axes',
      (g: GraphBuilder) => ops.layerNorm(sum(g, ['n', 3, 5]), row(g, 3, 5), undefined, { axis: -2 }),
      'it normalises only the last axis',
    ],
    [
      'a sum that repeats a row',
      (g: GraphBuilder) => ops.layerNorm(sum(g, ['n', 3, 5], ['n', 1, 5]), row(g, 5)),
      'it adds streams of the same dims, or one for the whole batch, not float32[n, 1, 5] and float32[n, 3, 5]',
    ],
    [
      'two streams of which neither is the sum',
      (g: GraphBuilder) => ops.layerNorm(sum(g, ['n', 1, 5], [3, 5]), row(g, 5)),
      'it adds streams of the same dims, or one for the whole batch, not float32[3, 5] and float32[n, 3, 5]',
    ],
    [
      'one scale for all channels',
      (g: GraphBuilder) => ops.layerNorm(sum(g, ['n', 3, 5]), row(g, 1)),
      'scale and shift must have one number for each channel',
    ],
    [
      'a scale that stretches',
      (g: GraphBuilder) => ops.rmsNorm(g.input('x', 'float32', ['n', 5]), row(g, 1)),
      'the scale must be float32[5], got float32[1]',
    ],
  ])('%s', (_, build, reason) => {
    expect(reasons(build)).toContain(reason);
  });

  it('more axes than the kernel of the runtime has', () => {
    const heads = (g: GraphBuilder) => ops.rmsNorm(sum(g, ['n', 3, 7, 5]), row(g, 5));
    expect(reasons(heads, targets.cpu)).toContain('rank must be at least 2, at most 3, got 4');
  });
  it('does not concern a norm without a sum before it', () => {
    expect(reasons((g) => ops.layerNorm(g.input('x', 'float32', ['n', 5]), row(g, 5)))).toEqual([]);
  });
});

it('a bias that something else reads stays with its linear map', () => {
  const readTwice = defineBlock({
    kind: 'layer',
    name: 'read_twice',
    summary: 'For tests.',
    fields: { norm: slot('norm', { doc: 'of the sum' }) },
    examples: [],
    create({ norm }) {
      const map = linear(5, 5);
      return module({ map, norm }, (x: Value) => {
        const h = map(x);
        return ops.add(norm(ops.add(x, h)), h);
      });
    },
  });
  expect(norms(readTwice({ norm: layerNorm({ dim: 5 }) }))).toEqual(['Skip']);
});

describe('the kernels', () => {
  const g = new GraphBuilder();
  const input = (name: string, ...dims: (number | string)[]) => g.input(name, 'float32', dims);
  const [x, row, other] = [input('x', 'n', 3, 5), input('row', 5), input('other', 7)];
  const attrs = { epsilon: 1e-5, sum: false };
  it.each([SkipLayerNormalization, SkipSimplifiedLayerNormalization])('$key refuses operands that do not fit', (op) => {
    expect(() => op.infer([x, input(`${op.key}.y`, 'n', 1, 5), row], attrs)).toThrow('the two streams differ');
    expect(() => op.infer([x, x, other], attrs)).toThrow(
      'scale, shift or bias does not fit the channels; expected float32[5], got float32[7]',
    );
  });
  it('return the sum as the fourth output of ONNX, only if requested', () => {
    const outputs = (sum: boolean) => {
      const h = new GraphBuilder();
      const [a, s] = [h.input('a', 'float32', ['n', 5]), h.input('s', 'float32', [5])];
      const made = SkipLayerNormalization.infer([a, a, s], { epsilon: 1e-5, sum });
      const values = h.emit(SkipLayerNormalization as never, [a, a, s], { epsilon: 1e-5, sum }, made);
      const encoded = SkipLayerNormalization.encode!(values[0]!.producer as never);
      return { places: encoded.outputs!.map((v) => v && values.indexOf(v)), attributes: Object.keys(encoded.attributes) };
    };
    expect(outputs(true)).toEqual({ places: [0, undefined, undefined, 1], attributes: ['epsilon'] });
    expect(outputs(false)).toEqual({ places: [0], attributes: ['epsilon'] });
  });
});
