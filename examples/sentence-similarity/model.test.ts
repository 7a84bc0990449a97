// The rebuilt network against the recorded answers of the original.
import { type Graph, type Node, type Tensor, targets } from '@onnxformers/core';
import { subgraphsOf } from '@onnxformers/core/lowering';
import { beforeAll, describe, expect, it } from 'vitest';
import { buildEncoder } from './build';
import { compileEncoder } from './model';
import { recorded } from './reference.test-helper';
import { toBatch } from './tokenizer';
import { readWeights } from './weights';

const sentences = recorded();
const batch = toBatch(sentences.map(({ ids }) => ids as never));
let weights: ReadonlyMap<string, Tensor>;
beforeAll(async () => {
  weights = await readWeights();
});

const worst = (vectors: readonly Float32Array[]): number =>
  Math.max(...vectors.flatMap((v, i) => Array.from(v, (x, c) => Math.abs(x - sentences[i]!.vector[c]!))));

describe('the sentence encoder', () => {
  for (const [target, dtype, budget] of [
    ['portable', 'float32', 5e-6],
    ['cpu', 'float32', 5e-6],
    ['wasm', 'float32', 5e-6],
    ['cpu', 'float16', 5e-3],
  ] as const)
    it(`gives the original's vectors on ${target} in ${dtype}, to ${budget}`, async () => {
      const encoder = await buildEncoder(weights, { target, dtype });
      const error = worst(await encoder.encode(batch));
      await encoder.dispose();
      expect(error).toBeLessThan(budget);
      expect(error).toBeGreaterThan(0); // the recorded numbers were not handed through
    });

  it("gives the original's vectors on webgpu in float32, to 0.0002", async ({ skip }) => {
    const encoder = await buildEncoder(weights, { target: 'webgpu', dtype: 'float32' }).catch((error: Error) => {
      const reason = `no WebGPU adapter: ${error.message.split('\n')[0]}`;
      process.stdout.write(`skipped: ${reason}\n`);
      return skip(reason);
    });
    // A software adapter has subgroups of 4, for which the runtime's attention shaders for 32 rows and more are not made.
    const short = sentences.filter(({ ids }) => ids.length > 0 && ids.length < 32);
    const vectors = await encoder.encode(toBatch(short.map(({ ids }) => ids as never)));
    await encoder.dispose();
    const errors = vectors.flatMap((v, i) => Array.from(v, (x, c) => Math.abs(x - short[i]!.vector[c]!)));
    expect(Math.max(...errors)).toBeLessThan(2e-4);
  });

  it('reaches the fused kernels on the CPU', () => {
    const model = compileEncoder(weights, targets.cpu, 'float32');
    // Attention over many pairs runs in chunks, so the kernels for the others are in a branch.
    const all = ({ nodes }: Graph): readonly Node[] => nodes.flatMap((n) => [n, ...subgraphsOf(n).flatMap(([, g]) => all(g))]);
    const count = (key: string): number => all(model.graph).filter((n) => n.op.key === key).length;
    expect(count('com.microsoft.MultiHeadAttention')).toBe(2);
    expect(count('com.microsoft.SkipLayerNormalization') + count('LayerNormalization')).toBe(4);
    expect(count('Softmax')).toBe(0);
  });
});
