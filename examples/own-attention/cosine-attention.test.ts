import { conformance, expectClose, parity, randomArray, runBlock } from '@onnxformers/core/testing';
import { type NDArray, targets, zoo } from 'onnxformers';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { cosineAttention } from './cosine-attention';

const [batch, heads, kvHeads, seq, width] = [2, 6, 3, 5, 7];

/** The formula in loops, for one causal mask and one length per sequence. */
function plain(q: NDArray, k: NDArray, v: NDArray, logitScale: NDArray, lengths: readonly number[], maxScale: number): number[] {
  const row = (x: NDArray, b: number, h: number, i: number) => {
    const at = ((b * x.dims[1]! + h) * seq + i) * width;
    return [...x.data.slice(at, at + width)];
  };
  const dot = (a: readonly number[], b: readonly number[]) => a.reduce((sum, x, i) => sum + x * b[i]!, 0);
  const cosine = (a: readonly number[], b: readonly number[]) => dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
  const out: number[] = [];
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++)
      for (let i = 0; i < seq; i++) {
        const group = Math.floor((h * kvHeads) / heads);
        const sharpness = Math.min(Math.exp(logitScale.data[h]!), maxScale);
        const keys = Array.from({ length: Math.min(i + 1, lengths[b]!) }, (_, j) => j);
        const weights = keys.map((j) => Math.exp(sharpness * cosine(row(q, b, h, i), row(k, b, group, j))));
        const total = weights.reduce((x, y) => x + y, 0);
        for (let c = 0; c < width; c++)
          out.push(keys.reduce((sum, j) => sum + (weights[j]! / total) * row(v, b, group, j)[c]!, 0));
      }
  return out;
}

describe('cosine attention', () => {
  it.each([100, 1.5])('is softmax over angles, sharpened up to %d', (maxScale) => {
    const [q, k, v] = [
      randomArray('q', [batch, heads, seq, width]),
      randomArray('k', [batch, kvHeads, seq, width]),
      randomArray('v', [batch, kvHeads, seq, width]),
    ];
    const lengths = [5, 2];
    const mixed = cosineAttention({ heads, maxScale });
    const { outputs, parameters } = runBlock(mixed, {
      q,
      k,
      v,
      lengths: { dtype: 'int64', dims: [batch], data: Float64Array.from(lengths) },
      attention_mask: {
        dtype: 'bool',
        dims: [1, 1, seq, seq],
        data: Float64Array.from({ length: seq * seq }, (_, at) => Number(at % seq <= Math.floor(at / seq))),
      },
    });
    const expected = plain(q, k, v, parameters.logit_scale!, lengths, maxScale);
    expectClose(
      outputs.y!,
      { dtype: 'float32', dims: [batch, heads, seq, width], data: Float64Array.from(expected) },
      { atol: 1e-6 },
    );
  });

  it('can be used by name in a registry that contains it', () => {
    const mine = zoo.with(cosineAttention);
    const mixer = mine.build('mixer', { name: 'multi_head', dim: 12, heads: 3, attention: 'cosine' });
    expect(mine.toJSON(mixer)).toMatchObject({ attention: { name: 'cosine', heads: 3, maxScale: 100 } });
    expect(() => mine.parse('mixer', { name: 'multi_head', dim: 12, heads: 3, attention: 'cosin' })).toThrow(
      'Did you mean "cosine"?',
    );
    expect(() => mine.parse('attention', { name: 'cosine', heads: 3, maxScal: 2 })).toThrow('Did you mean "maxScale"?');
  });

  it('refuses queries of another number of heads', () => {
    const x = randomArray('x', [1, 2, seq, width]);
    expect(() => runBlock(cosineAttention({ heads: 3 }), { q: x, k: x, v: x })).toThrow(
      /cosine: another number of heads; expected 3, got 2/,
    );
  });
});

// The test suites of every block of the library.
const registry = zoo.with(cosineAttention);
conformance([cosineAttention], {
  describe,
  it,
  registry,
  snapshot: (names) => expect(names).toEqual([expect.stringMatching(/^logit_scale \[\d\]$/)]),
});
parity([cosineAttention], {
  describe,
  it,
  registry,
  targets: [targets.portable(18), targets.cpu].map((target) => ({ target, ort })),
});
