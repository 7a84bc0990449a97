import { causal, defineBlock, each, int, module, type NDArray, registry } from '@onnxformers/core';
import { expectClose, randomArray, runBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { dot, rowsOf, softmaxOf } from '../plain.test-helper';
import { differential } from './differential';

const feeds = (seq: number, kvSeq: number, kvHeads: number) => ({
  q: randomArray('q', [2, 4, seq, 3]),
  k: randomArray('k', [2, kvHeads, kvSeq, 3]),
  v: randomArray('v', [2, kvHeads, kvSeq, 5]),
});
type Given = ReturnType<typeof feeds>;

/** The formula of the paper, pair by pair; pair p is heads 2p and 2p + 1. */
function plain(
  { q, k, v }: Given,
  p: Readonly<Record<string, NDArray>>,
  o: { start: number; scale?: number; eps?: number; keep?: (b: number, i: number, j: number) => boolean },
): NDArray {
  const { start, scale = 1 / Math.sqrt(3), eps = 1e-5, keep = () => true } = o;
  const [batch, heads, seq] = q.dims as [number, number, number];
  const power = (n: number) => Math.exp(dot([...p[`lambda_q${n}`]!.data], [...p[`lambda_k${n}`]!.data]));
  const lambda = power(1) - power(2) + start;
  const y = new Float64Array(batch * heads * seq * 5);
  for (let b = 0; b < batch; b++)
    for (let pair = 0; pair < heads / 2; pair++) {
      const shared = Math.floor((pair * k.dims[1]!) / heads);
      const weights = (side: number, i: number) => {
        const row = rowsOf(q, b, 2 * pair + side)[i]!;
        return softmaxOf(
          rowsOf(k, b, 2 * shared + side).map((key) => scale * dot(row, key)),
          (j) => keep(b, i, j),
        );
      };
      const [left, right] = [rowsOf(v, b, 2 * shared), rowsOf(v, b, 2 * shared + 1)];
      for (let i = 0; i < seq; i++) {
        const [first, second] = [weights(0, i), weights(1, i)];
        const of = (c: number) =>
          first.reduce((sum, w, j) => sum + (w - lambda * second[j]!) * (c < 5 ? left[j]![c]! : right[j]![c - 5]!), 0);
        const row = Array.from({ length: 10 }, (_, c) => of(c));
        const norm = Math.sqrt(row.reduce((sum, e) => sum + e * e, 0) / 10 + eps);
        row.forEach((e, c) => {
          const at = ((b * heads + 2 * pair + (c < 5 ? 0 : 1)) * seq + i) * 5 + (c % 5);
          y[at] = ((1 - start) * e * p['subln.weight']!.data[c]!) / norm;
        });
      }
    }
  return { dtype: 'float32', dims: [batch, heads, seq, 5], data: y };
}

// Constants are float32.
const float32 = { atol: 1e-6, rtol: 1e-6 };

/** What it is at index 3 of a list of layers. */
const fourth = defineBlock({
  kind: 'attention',
  name: 'fourth',
  summary: 'The last of four layers.',
  fields: {
    headDim: int({ doc: 'channels' }),
    valueHeadDim: int({ doc: 'channels' }),
    of: each('attention', { doc: 'layers' }),
  },
  examples: [],
  create({ of: layers }) {
    const last = [0, 1, 2, 3].map((i) => layers(i))[3]!;
    return module({ of: last }, last.forward);
  },
});

describe('differential', () => {
  it.each([
    [4, {}],
    [2, { lambdaInit: 0.3, scale: 0.4, eps: 0.01 }],
  ])('with %i key heads and %o is what plain loops give', (kvHeads, config) => {
    const given = feeds(5, 7, kvHeads);
    const { outputs, parameters } = runBlock(differential({ headDim: 3, valueHeadDim: 5, ...config }), given);
    const { lambdaInit = 0.8 - 0.6, ...rest } = config as { lambdaInit?: number };
    expectClose(outputs.y!, plain(given, parameters, { start: lambdaInit, ...rest }), float32);
  });

  it('masks both softmaxes', () => {
    const given = feeds(5, 5, 2);
    const lengths: NDArray = { dtype: 'int64', dims: [2], data: Float64Array.of(3, 0) };
    const block = differential({ headDim: 3, valueHeadDim: 5 });
    const { outputs, parameters } = runBlock(block, { ...given, lengths }, { assumptions: ['finite padding'], mask: causal });
    const keep = (b: number, i: number, j: number) => j <= i && j < lengths.data[b]!;
    expectClose(outputs.y!, plain(given, parameters, { start: 0.8 - 0.6, keep }), float32);
  });

  it('begins with a λ that grows with the depth of its layer', () => {
    const given = feeds(5, 7, 4);
    const built = registry(fourth, differential).parse('attention', {
      name: 'fourth',
      headDim: 3,
      valueHeadDim: 5,
      of: 'differential',
    });
    const deep = runBlock(built, given);
    const own = Object.fromEntries(Object.entries(deep.parameters).map(([name, p]) => [name.replace(/^of\./, ''), p]));
    expectClose(deep.outputs.y!, plain(given, own, { start: 0.8 - 0.6 * Math.exp(-0.9) }), float32);
  });

  it('refuses heads that are not pairs, and other widths', () => {
    const odd = { ...feeds(5, 5, 2), k: randomArray('k', [2, 1, 5, 3]), v: randomArray('v', [2, 1, 5, 5]) };
    expect(() => runBlock(differential({ headDim: 3, valueHeadDim: 5 }), odd)).toThrow(
      /differential: an odd number of heads is not a number of pairs; expected an even number of query heads and of key heads, got 1/,
    );
    expect(() => runBlock(differential({ headDim: 3 }), feeds(5, 5, 2))).toThrow(
      /differential\.valueHeadDim: differs from the width of a head; expected 3, got 5/,
    );
  });
});
