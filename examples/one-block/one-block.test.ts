import {
  compile,
  createRunner,
  initialize,
  type Model,
  namesOf,
  type Target,
  type Tensor,
  targets,
  tensor,
} from '@onnxformers/core';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { attention, byteFeatures, quantization } from './byte-features';

const [batch, seq, dim, outDim] = [2, 5, 24, 10];
const bytes = Uint8Array.from({ length: batch * seq * dim }, (_, i) => (i * i + 7 * i) % 256);
const realTokens = [5, 3];
const lengths = tensor('int64', [batch], realTokens);

async function runOnce(model: Model, feeds: Record<string, Tensor>): Promise<Float32Array> {
  const run = await createRunner(model, ort);
  const { y } = await run(feeds);
  await run.dispose();
  expect(y!.dims).toEqual([batch, seq, outDim]);
  return y!.data as Float32Array;
}

describe.each([targets.cpu, targets.portable(18)] satisfies Target[])('one block on $name', (target) => {
  it('computes with the other ops the same as plain arithmetic around the block', async () => {
    const around = byteFeatures();
    const weights = initialize(around, { seed: 5 });
    const withOps = await runOnce(
      compile(around, {
        target,
        weights,
        inputs: { x: ['uint8', ['batch', 'seq', dim]], lengths: ['int64', ['batch']] },
      }),
      { x: tensor('uint8', [batch, seq, dim], bytes), lengths },
    );

    const numbers = Float32Array.from(bytes, (b) => (b - quantization.zeroPoint) * quantization.scale);
    const ownNames = new Map([...weights].map(([name, weight]) => [name.replace(/^block\./, ''), weight]));
    const alone = await runOnce(
      compile(attention(), {
        target,
        weights: ownNames,
        inputs: { x: ['float32', ['batch', 'seq', dim]], lengths: ['int64', ['batch']] },
      }),
      { x: tensor('float32', [batch, seq, dim], numbers), lengths },
    );
    // Of real positions: in padded ones the results are not specified.
    for (let row = 0; row < batch * seq; row++) {
      if (row % seq >= realTokens[Math.floor(row / seq)]!) continue;
      const vector = alone.subarray(row * outDim, (row + 1) * outDim);
      const length = Math.hypot(...vector);
      expect(length).toBeGreaterThan(0.01);
      for (let i = 0; i < outDim; i++) expect(withOps[row * outDim + i]).toBeCloseTo(vector[i]! / length, 5);
    }
  });

  it('has the names of the block, below its own', () => {
    const own = [...namesOf(attention()).parameters.keys()];
    expect([...namesOf(byteFeatures()).parameters.keys()]).toEqual(own.map((name) => `block.${name}`));
    expect(own).toContain('q_proj.weight');
  });
});

it('is refused if its ops do not declare the target', () => {
  const inputs = { x: ['uint8', ['batch', 'seq', dim]] } as const;
  expect(() => compile(byteFeatures(), { target: targets.webgpu, inputs })).toThrow(
    /webgpu has no kernel for (DequantizeLinear|LpNormalization)/,
  );
});
