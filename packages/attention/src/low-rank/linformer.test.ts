import { ConfigError, type NDArray, namesOf, ShapeError } from '@onnxformers/core';
import { expectClose, randomArray, runBlock, traceBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { attention, perHead, product } from '../plain.test-helper';
import { linformer } from './linformer';

const matrix = (p: NDArray, columns: number): number[][] =>
  Array.from({ length: p.dims[0]! }, (_, i) => Array.from(p.data.subarray(i * p.dims[1]!, i * p.dims[1]! + columns)));

describe('linformer', () => {
  it.each([
    { seqLen: 13, keys: 13, kvHeads: 2, heads: 2 },
    { seqLen: 13, k: 5, keys: 7, kvHeads: 2, heads: 6 },
  ])('agrees with plain loops: %o', ({ keys, heads, kvHeads, ...config }) => {
    const q = randomArray('q', [2, heads, 11, 3]);
    const [k, v] = [randomArray('k', [2, kvHeads, keys, 3]), randomArray('v', [2, kvHeads, keys, 5])];
    const { outputs, parameters: p } = runBlock(linformer(config), { q, k, v });
    const [E, F] = [matrix(p['E.weight']!, keys), matrix(p['F.weight']!, keys)];
    expectClose(
      outputs.y!,
      perHead(q, k, v, (qs, ks, vs) => attention(qs, product(E, ks), product(F, vs))),
    );
  });

  it('keeps a quarter of the positions by default', () => {
    const dims = (config: { seqLen: number; k?: number }) =>
      [...namesOf(linformer(config)).parameters].map(([name, p]) => `${name} ${p.dims}`);
    expect(dims({ seqLen: 19 })).toEqual(['E.weight 4,19', 'F.weight 4,19']);
    expect(dims({ seqLen: 3 })).toEqual(['E.weight 1,3', 'F.weight 1,3']);
  });

  const shapes = (seq: number | string) =>
    ({ q: ['float32', [2, 3, seq, 5]], k: ['float32', [2, 3, seq, 5]], v: ['float32', [2, 3, seq, 5]] }) as const;

  it('refuses sequences that are too long, when tracing or when running', () => {
    expect(() => traceBlock(linformer({ seqLen: 7 }), shapes(11))).toThrow(ShapeError);
    const { nodes } = traceBlock(linformer({ seqLen: 7 }), shapes('seq'));
    expect(nodes.filter((n) => n.op.key === 'onnxformers.Attend')).toHaveLength(1);
  });

  it('refuses masks and attention biases', () => {
    const block = linformer({ seqLen: 7 });
    expect(() => traceBlock(block, { ...shapes(7), attention_mask: ['bool', [2, 7]] })).toThrow(
      /does not support the mask: keyPadding/,
    );
    expect(() => traceBlock(block, { ...shapes(7), attention_bias: ['float32', [1, 3, 7, 7]] })).toThrow(ConfigError);
  });

  it('drops weights and the result while training', () => {
    const { inputs } = traceBlock(linformer({ seqLen: 12, dropout: 0.3 }), shapes(12), { training: true });
    const draws = inputs.filter((v) => v.leaf?.kind === 'draw').map((v) => v.dims);
    expect(draws).toEqual([
      [2, 3, 12, 3],
      [2, 3, 12, 5],
    ]);
  });
});
