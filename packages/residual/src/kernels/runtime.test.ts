import { module, targets, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { checkOnRuntime } from '@onnxformers/core/testing';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { layerNorm, postNorm, preNorm, rmsNorm } from '../index';
import { biasedMap, twoLayers } from '../plain.test-helper';

const dim = 24;
const norms = {
  layer_norm: () => layerNorm({ dim }),
  'layer_norm without shift': () => layerNorm({ dim, bias: false }),
  rms_norm: () => rmsNorm({ dim, eps: 1e-3 }),
};
const feedforward = () => biasedMap({ dim });

describe.each(Object.entries(norms))('on the runtime, %s', (name, norm) => {
  const root = name === 'rms_norm' ? 'SimplifiedLayerNormalization' : 'LayerNormalization';
  const keys = async (m: Parameters<typeof checkOnRuntime>[0]) => {
    const model = await checkOnRuntime(m, { x: ['float32', ['batch', 'seq', dim]] }, targets.cpu, ort, {
      sizes: { batch: 2, seq: 5 },
    });
    return model.graph.nodes.filter((n) => n.op.key.includes('Normalization')).map((n) => `${n.op.key} ${n.outputs.length}`);
  };

  it('alone', async () => {
    expect(await keys(norm())).toEqual([`${root} 1`]);
  });
  it('of a sum and a bias', async () => {
    expect(await keys(postNorm({ dim, feedforward: feedforward(), norm }))).toEqual([`com.microsoft.Skip${root} 1`]);
  });
  it.each([[[1, 5, dim]], [[5, dim]]])('of a sum with a stream for the whole batch, %o', async (dims) => {
    const inner = norm();
    const m = module({ inner }, ({ x, signal }: Readonly<Record<string, Value>>) => {
      const sum = ops.add(signal!, x!);
      return { sum, y: inner(sum) };
    });
    const model = await checkOnRuntime(m, { x: ['float32', ['batch', 5, dim]], signal: ['float32', dims] }, targets.cpu, ort, {
      sizes: { batch: 2 },
    });
    expect(model.graph.nodes.map((n) => `${n.op.key} ${n.outputs.length}`)).toEqual([`com.microsoft.Skip${root} 2`]);
  });
  it('of sums that go on', async () => {
    const stack = twoLayers({ layers: () => preNorm({ dim, feedforward: feedforward(), norm }), norm: norm() });
    expect(await keys(stack)).toEqual([`${root} 1`, `com.microsoft.Skip${root} 2`, `com.microsoft.Skip${root} 1`]);
  });
});
