import { expectClose, randomArray, runBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { dot, perHead, type Rows, softmaxOf, turned } from '../plain.test-helper';
import { lambda } from './lambda';

const [seqLen, headDim] = [13, 3];
const feeds = (seq: number) => ({
  q: randomArray('q', [2, 6, seq, headDim]),
  k: randomArray('k', [2, 2, seq, headDim]),
  v: randomArray('v', [2, 2, seq, 5]),
});
const int64 = (values: number[]) => ({ dtype: 'int64', dims: [values.length], data: Float64Array.from(values) }) as const;
const rows = (data: Float64Array, width: number): number[][] =>
  Array.from({ length: data.length / width }, (_, i) => [...data.slice(i * width, (i + 1) * width)]);

/** The layer for the first `real` positions. */
const layer =
  (distances: Rows, real: number) =>
  (q: Rows, k: Rows, v: Rows): number[][] => {
    const shares = turned(k).map((channel) => softmaxOf(channel, (m) => m < real));
    return q.map((query, i) =>
      v[0]!.map((_, c) => {
        const content = dot(
          query,
          shares.map((share) => share.reduce((sum, s, m) => sum + s * v[m]![c]!, 0)),
        );
        const place = v.reduce(
          (sum, value, m) => (m < real ? sum + dot(query, distances[m - i + seqLen - 1]!) * value[c]! : sum),
          0,
        );
        return content + place;
      }),
    );
  };

describe('lambda', () => {
  it.each([13, 7, 1])('is what plain loops give for %i positions', (seq) => {
    const given = feeds(seq);
    const { outputs, parameters } = runBlock(lambda({ seqLen, headDim }), given);
    const distances = rows(parameters.rel_pos_emb!.data, headDim);
    expectClose(outputs.y!, perHead(given.q, given.k, given.v, layer(distances, seq)));
  });

  it('sums over real positions only', () => {
    const given = feeds(11);
    const lengths = [7, 0];
    const options = { assumptions: ['finite padding'] } as const;
    const { outputs, parameters } = runBlock(lambda({ seqLen, headDim }), { ...given, lengths: int64(lengths) }, options);
    const distances = rows(parameters.rel_pos_emb!.data, headDim);
    expectClose(
      outputs.y!,
      perHead(given.q, given.k, given.v, (q, k, v, b) => layer(distances, lengths[b]!)(q, k, v)),
    );
  });

  it("has another softmax and mixes no positions by distance with compat: 'xformers'", () => {
    const given = feeds(7);
    const { outputs, parameters } = runBlock(lambda({ seqLen, headDim, compat: 'xformers' }), given);
    const distances = rows(parameters.rel_pos_emb!.data, headDim);
    const original = (q: Rows, k: Rows, v: Rows) => {
      const shares = turned(k.map((key) => softmaxOf(key, () => true)));
      return q.map((query, i) => {
        const factor = v.reduce((sum, _, m) => sum + dot(query, distances[i - m + seqLen - 1]!), 0);
        return v[0]!.map(
          (_, c) =>
            dot(
              query,
              shares.map((share) => share.reduce((sum, s, m) => sum + s * v[m]![c]!, 0)),
            ) +
            factor * v[i]![c]!,
        );
      });
    };
    expectClose(outputs.y!, perHead(given.q, given.k, given.v, original));
  });

  it('refuses other widths, longer sequences and a memory', () => {
    expect(() => runBlock(lambda({ seqLen, headDim: 5 }), feeds(7))).toThrow(
      /headDim: differs from the width of queries; expected 5, got 3/,
    );
    expect(() => runBlock(lambda({ seqLen, headDim }), feeds(17))).toThrow(/at most 13, by lambda\.seqLen|17/);
    const k = randomArray('k', [2, 2, 9, headDim]);
    expect(() => runBlock(lambda({ seqLen, headDim }), { ...feeds(7), k, v: k })).toThrow(
      /expected self attention without a cache/,
    );
  });
});
