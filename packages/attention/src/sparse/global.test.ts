import { type Dim, type DType, interpret } from '@onnxformers/core';
import { expectClose, randomArray, runBlock, traceBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { attention, perHead } from '../plain.test-helper';
import { globalAttention } from './global';

const feeds = (seq: number) => ({
  q: randomArray('q', [2, 6, seq, 3]),
  k: randomArray('k', [2, 2, seq, 3]),
  v: randomArray('v', [2, 2, seq, 5]),
});
const int64 = (values: number[]) => ({ dtype: 'int64', dims: [values.length], data: Float64Array.from(values) }) as const;
const pairOf =
  (tokens: readonly number[]) =>
  (i: number, j: number): boolean =>
    tokens.includes(i) || tokens.includes(j);

describe('global', () => {
  it.each([
    [{}, [0]],
    [{ tokens: [3, 7] }, [3, 7]],
    [{ tokens: [1, 0] }, [0, 1]],
    // Beyond the sequence: there is no such token.
    [{ tokens: [2, 11, 40] }, [2]],
    [{ tokens: [] }, []],
  ] as const)('%o is what plain loops give', (config, tokens) => {
    const given = feeds(11);
    const expected = perHead(given.q, given.k, given.v, (q, k, v) => attention(q, k, v, pairOf(tokens)));
    expectClose(runBlock(globalAttention(config), given).outputs.y!, expected);
  });

  it('is causal', () => {
    const given = feeds(13);
    const allowed = (i: number, j: number) => j <= i && pairOf([2, 7])(i, j);
    const expected = perHead(given.q, given.k, given.v, (q, k, v) => attention(q, k, v, allowed));
    expectClose(runBlock(globalAttention({ tokens: [7, 2], causal: true }), given).outputs.y!, expected);
  });

  it('attends to real positions only', () => {
    const given = feeds(11);
    const lengths = [7, 3];
    const { y } = runBlock(globalAttention({ tokens: [1, 5] }), { ...given, lengths: int64(lengths) }).outputs;
    const expected = perHead(given.q, given.k, given.v, (q, k, v, b) =>
      attention(q, k, v, (i, j) => j < lengths[b]! && pairOf([1, 5])(i, j)),
    );
    // Rows of padding are not compared: what a global token there attends to has no meaning.
    const real = (x: typeof expected) => x.data.filter((_, i) => Math.floor(i / 5) % 11 < lengths[Math.floor(i / (6 * 11 * 5))]!);
    expectClose(
      { ...y!, dims: [real(y!).length], data: real(y!) },
      { ...expected, dims: [real(expected).length], data: real(expected) },
    );
  });

  it('refuses padding that may be on the left, which would shift its tokens', () => {
    const attention_mask = { dtype: 'bool', dims: [2, 11], data: new Float64Array(22).fill(1) } as const;
    expect(() => runBlock(globalAttention({}), { ...feeds(11), attention_mask })).toThrow(
      /global does not support the mask: keyPadding/,
    );
  });

  describe("compat: 'xformers'", () => {
    const compat = 'xformers';

    it('gives the keys of padding a score of 0', () => {
      const [seq, seqLen, tokens] = [7, 11, [0, 3, 5, 9]];
      const given = feeds(seq);
      const longer = (rows: readonly (readonly number[])[]) => [
        ...rows,
        ...Array.from({ length: seqLen - seq }, () => rows[0]!.map(() => 0)),
      ];
      const expected = perHead(given.q, given.k, given.v, (q, k, v) =>
        attention(longer(q), longer(k), longer(v), pairOf(tokens)).slice(0, seq),
      );
      const block = globalAttention({ tokens, compat, seqLen });
      expectClose(runBlock(block, given).outputs.y!, expected);
      const shapes = (kvHeads: number, width: number): [DType, Dim[]] => ['float32', ['batch', kvHeads, 'seq', width]];
      const graph = traceBlock(block, { q: shapes(6, 3), k: shapes(2, 3), v: shapes(2, 5) });
      expectClose(interpret(graph, given).y!, expected);
    });

    it('omits the last of few pairs, and ignores causal', () => {
      const given = feeds(13);
      // 25 pairs of 169.
      let left = 24;
      const kept = Array.from({ length: 13 }, (_, i) => Array.from({ length: 13 }, (_, j) => pairOf([4])(i, j) && left-- > 0));
      const expected = perHead(given.q, given.k, given.v, (q, k, v) => attention(q, k, v, (i, j) => kept[i]![j]!));
      expectClose(runBlock(globalAttention({ tokens: [4], causal: true, compat }), given).outputs.y!, expected);
    });

    it('refuses an attention bias', () => {
      const attention_bias = randomArray('bias', [1, 6, 7, 7]);
      expect(() => runBlock(globalAttention({ compat }), { ...feeds(7), attention_bias })).toThrow(
        /compat: the original has one pattern.*got an attention bias/,
      );
    });
  });
});
