import { compile, createRunner, materialize, type Ort, randomPairs, targets, toArray, toTensor } from '@onnxformers/core';
import { expectClose, randomArray, runBlock } from '@onnxformers/core/testing';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { attention, perHead } from '../plain.test-helper';
import { randomAttention } from './random';

const feeds = (seq: number) => ({
  q: randomArray('q', [2, 6, seq, 3]),
  k: randomArray('k', [2, 2, seq, 3]),
  v: randomArray('v', [2, 2, seq, 5]),
});
const pairsOf = (density: number, seed: number, seq: number, shared?: number) => {
  const { data } = materialize(randomPairs(density, seed, shared), { seq, kvSeq: seq });
  return (i: number, j: number): boolean => data[i * seq + j] !== 0;
};

describe('random', () => {
  it.each([
    [{ density: 0.3, shared: 4 }, 0, false],
    [{ density: 0.6, shared: 1, seed: 7, causal: true }, 7, true],
    // Rows without a key are 0.
    [{ density: 0.02, shared: 3, seed: 3 }, 3, false],
    [{ density: 1, shared: 64 }, 0, false],
  ] as const)('%o is what plain loops give', (config, seed, causal) => {
    const given = feeds(13);
    const pairs = pairsOf(config.density, seed, 13, config.shared);
    const expected = perHead(given.q, given.k, given.v, (q, k, v) =>
      attention(q, k, v, (i, j) => pairs(i, j) && (!causal || j <= i)),
    );
    expectClose(runBlock(randomAttention(config), given).outputs.y!, expected);
  });

  it('draws the seed of each run', () => {
    const given = feeds(11);
    const draw = (u: number) => ({ seed: { dtype: 'float32', dims: [], data: Float64Array.of(u) } }) as const;
    const y = (u: number) =>
      runBlock(randomAttention({ density: 0.5, shared: 2, redraw: true }), given, { draws: draw(u) }).outputs.y!;
    const expected = (seed: number) =>
      perHead(given.q, given.k, given.v, (q, k, v) => attention(q, k, v, pairsOf(0.5, seed, 11, 2)));
    expectClose(y(0.25), expected(2 ** 22));
    expectClose(y(1 - 2 ** -24), expected(2 ** 24 - 1));
  });

  it('has other pairs in each run of a runtime, and the same ones in the same run of another session', async () => {
    const block = randomAttention({ density: 0.5, redraw: true });
    const given = feeds(11);
    const inputs = Object.fromEntries(Object.entries(given).map(([name, { dims }]) => [name, ['float32', dims] as const]));
    const model = compile(block, { target: targets.cpu, inputs, weights: new Map(), draws: { seed: 5 } });
    const tensors = Object.fromEntries(Object.entries(given).map(([name, x]) => [name, toTensor(x)]));
    const runs = async () => {
      const run = await createRunner(model, ort as unknown as Ort);
      const results = [await run(tensors), await run(tensors)].map(({ y }) => toArray(y!));
      await run.dispose();
      return results;
    };
    const [first, second] = (await runs()) as [ReturnType<typeof toArray>, ReturnType<typeof toArray>];
    expect(() => expectClose(first, second)).toThrow(/differ/);
    const again = await runs();
    expectClose(again[0]!, first);
    expectClose(again[1]!, second);
  });

  it("gives the keys of padding a score of 0 with compat: 'xformers'", () => {
    const [seq, seqLen] = [7, 13];
    const given = feeds(seq);
    const longer = (rows: readonly (readonly number[])[]) => [
      ...rows,
      ...Array.from({ length: seqLen - seq }, () => rows[0]!.map(() => 0)),
    ];
    const expected = perHead(given.q, given.k, given.v, (q, k, v) =>
      attention(longer(q), longer(k), longer(v), pairsOf(0.7, 0, seqLen)).slice(0, seq),
    );
    expectClose(runBlock(randomAttention({ density: 0.7, compat: 'xformers', seqLen }), given).outputs.y!, expected);
  });

  it('refuses a density that is none', () => {
    expect(() => randomAttention({ density: 0 })).toThrow(/density.*a number from .* to 1/);
  });
});
