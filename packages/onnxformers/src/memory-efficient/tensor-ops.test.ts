// The ops on tensors, on the CPU and in WebAssembly, against plain loops.
import { and, causal, keyLengths, keyPadding, type Tensor, tensor, toArray } from '@onnxformers/core';
import { expectClose } from '@onnxformers/core/testing';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import * as classes from './index';
import {
  type AttentionBias,
  BlockDiagonalCausalFromBottomRightMask,
  BlockDiagonalCausalLocalAttentionPaddedKeysMask,
  BlockDiagonalCausalWithOffsetGappyKeysMask,
  BlockDiagonalCausalWithOffsetPaddedKeysMask,
  BlockDiagonalGappyKeysMask,
  BlockDiagonalMask,
  BlockDiagonalPaddedKeysMask,
  createOps,
  LocalAttentionFromBottomRightMask,
  LowerTriangularFromBottomRightMask,
  LowerTriangularMask,
  LowerTriangularMaskWithTensorBias,
  type OpSession,
  PackedQueriesMask,
  PagedBlockDiagonalCausalWithOffsetGappyKeysMask,
  PagedBlockDiagonalCausalWithOffsetPaddedKeysMask,
  PagedBlockDiagonalGappyKeysMask,
  PagedBlockDiagonalPaddedKeysMask,
  PagedKeysMask,
  type TensorBias,
} from './index';
import {
  type Added,
  addedBy,
  attentionTolerance,
  type FloatDType,
  machines,
  plainAttention,
  plainNorm,
  plainSwiglu,
  random,
  spoiled,
  swigluTolerance,
} from './plain.test-helper';

const hidden = Number.NEGATIVE_INFINITY;

interface Case {
  readonly bias: AttentionBias;
  readonly batch?: number;
  readonly seq: number;
  readonly kvSeq: number;
}

const decoding = (...kv: number[]) => [kv.map(() => 1), 7, kv] as const;

/** Sequences with one number of queries and one space for keys: an ordinary batch. */
const batches: Readonly<Record<string, readonly [Case, Case]>> = {
  'PaddedKeys, all keys': [
    { bias: BlockDiagonalPaddedKeysMask.fromSeqlens([2, 2], 5, [4, 0]), seq: 4, kvSeq: 10 },
    { bias: BlockDiagonalPaddedKeysMask.fromSeqlens([3, 3, 3], 7, [7, 1, 2]), seq: 9, kvSeq: 21 },
  ],
  'PaddedKeys, decoding': [
    { bias: BlockDiagonalCausalWithOffsetPaddedKeysMask.fromSeqlens(...decoding(5, 2, 7)), seq: 3, kvSeq: 21 },
    { bias: BlockDiagonalCausalWithOffsetPaddedKeysMask.fromSeqlens(...decoding(1, 6)), seq: 2, kvSeq: 14 },
  ],
  'LocalAttentionPaddedKeys, decoding': [
    { bias: BlockDiagonalPaddedKeysMask.fromSeqlens(...decoding(5, 2, 7)).makeLocalAttention(2, 1), seq: 3, kvSeq: 21 },
    { bias: BlockDiagonalPaddedKeysMask.fromSeqlens(...decoding(1, 6)).makeLocalAttention(2, 1), seq: 2, kvSeq: 14 },
  ],
  'CausalLocalAttentionPaddedKeys, decoding': [
    { bias: BlockDiagonalCausalLocalAttentionPaddedKeysMask.fromSeqlensLocal(...decoding(5, 0, 7), 3), seq: 3, kvSeq: 21 },
    { bias: BlockDiagonalCausalLocalAttentionPaddedKeysMask.fromSeqlensLocal(...decoding(1, 6), 3), seq: 2, kvSeq: 14 },
  ],
  'GappyKeys, regular': [
    { bias: BlockDiagonalGappyKeysMask.fromSeqlens([2, 2], [0, 5, 10], [4, 3]), seq: 4, kvSeq: 10 },
    { bias: BlockDiagonalGappyKeysMask.fromSeqlens([3, 3, 3], [0, 2, 4, 6], [1, 2, 1]), seq: 9, kvSeq: 6 },
  ],
  'Paged, decoding': [
    {
      bias: PagedBlockDiagonalCausalWithOffsetPaddedKeysMask.fromSeqlens([1, 1], [2, 5], [[3, -1], [1, 4]], 3), // biome-ignore format: rows of pages
      seq: 2,
      kvSeq: 15,
    },
    {
      bias: PagedBlockDiagonalCausalWithOffsetPaddedKeysMask.fromSeqlens([1, 1, 1], [3, 1, 8], [[0, -1, -1], [6, -1, -1], [1, 5, 2]], 3), // biome-ignore format: rows of pages
      seq: 3,
      kvSeq: 21,
    },
  ],
};

/** For each kind of mask two calls of other sizes. */
const kinds: Readonly<Record<string, readonly [Case, Case]>> = {
  LowerTriangularMask: [
    { bias: new LowerTriangularMask(), batch: 2, seq: 5, kvSeq: 7 },
    { bias: new LowerTriangularMask(), batch: 3, seq: 7, kvSeq: 5 },
  ],
  'LowerTriangularMask, as many keys': [
    { bias: new LowerTriangularMask(), batch: 2, seq: 7, kvSeq: 7 },
    { bias: new LowerTriangularMask(), batch: 1, seq: 13, kvSeq: 13 },
  ],
  LowerTriangularFromBottomRightMask: [
    { bias: new LowerTriangularFromBottomRightMask(), batch: 2, seq: 3, kvSeq: 7 },
    { bias: new LowerTriangularFromBottomRightMask(), batch: 2, seq: 5, kvSeq: 2 },
  ],
  LowerTriangularFromBottomRightLocalAttentionMask: [
    { bias: new LowerTriangularFromBottomRightMask().makeLocalAttention(3), batch: 2, seq: 3, kvSeq: 7 },
    { bias: new LowerTriangularFromBottomRightMask().makeLocalAttention(3), batch: 1, seq: 11, kvSeq: 13 },
  ],
  LocalAttentionFromBottomRightMask: [
    { bias: new LocalAttentionFromBottomRightMask(2, 1), batch: 2, seq: 5, kvSeq: 7 },
    { bias: new LocalAttentionFromBottomRightMask(2, 1), batch: 1, seq: 2, kvSeq: 11 },
  ],
  LowerTriangularMaskWithTensorBias: [
    { bias: new LowerTriangularMaskWithTensorBias(random('b', [1, 3, 5, 7])), batch: 2, seq: 5, kvSeq: 7 },
    { bias: new LowerTriangularMask().addBias(random('b', [1, 3, 3, 11])), batch: 2, seq: 3, kvSeq: 11 },
  ],
  BlockDiagonalMask: [
    { bias: BlockDiagonalMask.fromSeqlens([3, 1, 5]), seq: 9, kvSeq: 9 },
    { bias: BlockDiagonalMask.fromSeqlens([2, 11]), seq: 13, kvSeq: 13 },
  ],
  'BlockDiagonalMask with keys of other lengths': [
    { bias: BlockDiagonalMask.fromSeqlens([3, 1], [2, 5]), seq: 4, kvSeq: 7 },
    { bias: BlockDiagonalMask.fromSeqlens([1, 4, 2], [5, 1, 5]), seq: 7, kvSeq: 11 },
  ],
  'BlockDiagonalMask with a bias': [
    { bias: BlockDiagonalMask.fromSeqlens([3, 2]).addBias(random('b', [1, 3, 5, 5])), seq: 5, kvSeq: 5 },
    { bias: BlockDiagonalMask.fromSeqlens([3, 1, 3]).addBias(random('b', [1, 3, 7, 7])), seq: 7, kvSeq: 7 },
  ],
  BlockDiagonalCausalMask: [
    { bias: BlockDiagonalMask.fromSeqlens([3, 1, 5]).makeCausal(), seq: 9, kvSeq: 9 },
    { bias: BlockDiagonalMask.fromSeqlens([2, 11]).makeCausal(), seq: 13, kvSeq: 13 },
  ],
  'BlockDiagonalCausalMask with keys of other lengths': [
    { bias: BlockDiagonalMask.fromSeqlens([3, 1], [2, 5]).makeCausal(), seq: 4, kvSeq: 7 },
    { bias: BlockDiagonalMask.fromSeqlens([5, 3], [7, 2]).makeCausal(), seq: 8, kvSeq: 9 },
  ],
  BlockDiagonalCausalFromBottomRightMask: [
    { bias: BlockDiagonalCausalFromBottomRightMask.fromSeqlens([2, 1], [5, 2]), seq: 3, kvSeq: 7 },
    { bias: BlockDiagonalCausalFromBottomRightMask.fromSeqlens([2, 1, 2], [2, 3, 8]), seq: 5, kvSeq: 13 },
  ],
  BlockDiagonalCausalLocalAttentionMask: [
    { bias: BlockDiagonalMask.fromSeqlens([3, 2], [5, 2]).makeLocalAttention(2), seq: 5, kvSeq: 7 },
    { bias: BlockDiagonalMask.fromSeqlens([5, 2], [4, 7]).makeLocalAttention(2), seq: 7, kvSeq: 11 },
  ],
  BlockDiagonalCausalLocalAttentionFromBottomRightMask: [
    { bias: BlockDiagonalMask.fromSeqlens([3, 2], [5, 2]).makeLocalAttentionFromBottomRight(2), seq: 5, kvSeq: 7 },
    { bias: BlockDiagonalMask.fromSeqlens([4, 3], [4, 7]).makeLocalAttentionFromBottomRight(2), seq: 7, kvSeq: 11 },
  ],
  BlockDiagonalPaddedKeysMask: [
    { bias: BlockDiagonalPaddedKeysMask.fromSeqlens([1, 3], 5, [2, 4]), seq: 4, kvSeq: 10 },
    { bias: BlockDiagonalPaddedKeysMask.fromSeqlens([2, 1, 2], 3, [3, 0, 1]), seq: 5, kvSeq: 9 },
  ],
  BlockDiagonalCausalWithOffsetPaddedKeysMask: [
    { bias: BlockDiagonalCausalWithOffsetPaddedKeysMask.fromSeqlens([1, 3], 5, [2, 4]), seq: 4, kvSeq: 10 },
    { bias: BlockDiagonalCausalWithOffsetPaddedKeysMask.fromSeqlens([2, 1, 2], 3, [3, 2, 1]), seq: 5, kvSeq: 9 },
  ],
  BlockDiagonalLocalAttentionPaddedKeysMask: [
    { bias: BlockDiagonalPaddedKeysMask.fromSeqlens([1, 3], 5, [2, 4]).makeLocalAttention(1, 1), seq: 4, kvSeq: 10 },
    { bias: BlockDiagonalPaddedKeysMask.fromSeqlens([2, 3], 7, [7, 5]).makeLocalAttention(1, 1), seq: 5, kvSeq: 14 },
  ],
  BlockDiagonalCausalLocalAttentionPaddedKeysMask: [
    { bias: BlockDiagonalCausalLocalAttentionPaddedKeysMask.fromSeqlensLocal([1, 3], 5, [2, 4], 2), seq: 4, kvSeq: 10 },
    { bias: BlockDiagonalCausalLocalAttentionPaddedKeysMask.fromSeqlensLocal([2, 3], 7, [7, 5], 2), seq: 5, kvSeq: 14 },
  ],
  BlockDiagonalGappyKeysMask: [
    { bias: BlockDiagonalGappyKeysMask.fromSeqlens([1, 3], [1, 6, 11], [4, 3]), seq: 4, kvSeq: 11 },
    { bias: BlockDiagonalGappyKeysMask.fromSeqlens([2, 1, 2], [0, 2, 5, 7], [2, 3, 1]), seq: 5, kvSeq: 7 },
  ],
  BlockDiagonalCausalWithOffsetGappyKeysMask: [
    { bias: BlockDiagonalCausalWithOffsetGappyKeysMask.fromSeqlens([1, 3], [1, 6, 11], [4, 3]), seq: 4, kvSeq: 11 },
    { bias: BlockDiagonalCausalWithOffsetGappyKeysMask.fromSeqlens([2, 1, 2], [0, 2, 5, 7], [2, 3, 2]), seq: 5, kvSeq: 7 },
  ],
  PagedBlockDiagonalPaddedKeysMask: [
    {
      bias: PagedBlockDiagonalPaddedKeysMask.fromSeqlens(
        [1, 3],
        [2, 5],
        [
          [3, -1],
          [1, 4],
        ],
        3,
      ),
      seq: 4,
      kvSeq: 15,
    },
    {
      bias: PagedBlockDiagonalPaddedKeysMask.fromSeqlens(
        [2, 1, 2],
        [4, 1, 7],
        [
          [5, 0, 0],
          [1, 0, 0],
          [3, 6, 2],
        ],
        3,
      ),
      seq: 5,
      kvSeq: 21,
    },
  ],
  PagedBlockDiagonalCausalWithOffsetPaddedKeysMask: [
    {
      bias: PagedBlockDiagonalCausalWithOffsetPaddedKeysMask.fromSeqlens(
        [1, 3],
        [2, 5],
        [
          [3, -1],
          [1, 4],
        ],
        3,
      ),
      seq: 4,
      kvSeq: 15,
    },
    {
      bias: PagedBlockDiagonalCausalWithOffsetPaddedKeysMask.fromSeqlens(
        [2, 1],
        [6, 5],
        [
          [1, 4],
          [1, 2],
        ],
        3,
      ),
      seq: 3,
      kvSeq: 15,
    },
  ],
  PagedBlockDiagonalGappyKeysMask: [
    {
      bias: PagedBlockDiagonalGappyKeysMask.fromSeqlens(
        [1, 3],
        [1, 0],
        [2, 5],
        [
          [3, -1],
          [1, 4],
        ],
        3,
      ),
      seq: 4,
      kvSeq: 15,
    },
    {
      bias: PagedBlockDiagonalGappyKeysMask.fromSeqlens(
        [2, 1],
        [2, 4],
        [3, 2],
        [
          [1, 4],
          [-1, 2],
        ],
        3,
      ),
      seq: 3,
      kvSeq: 21,
    },
  ],
  PagedBlockDiagonalCausalWithOffsetGappyKeysMask: [
    {
      bias: PagedBlockDiagonalCausalWithOffsetGappyKeysMask.fromSeqlens(
        [1, 3],
        [1, 0],
        [2, 5],
        [
          [3, -1],
          [1, 4],
        ],
        3,
      ),
      seq: 4,
      kvSeq: 15,
    },
    {
      bias: PagedBlockDiagonalCausalWithOffsetGappyKeysMask.fromSeqlens(
        [2, 1],
        [2, 4],
        [3, 2],
        [
          [1, 4],
          [-1, 2],
        ],
        3,
      ),
      seq: 3,
      kvSeq: 21,
    },
  ],
};

// Rows of keys that belong to no sequence, also in pages.
function paddingOf(bias: AttentionBias, seq: number, kvSeq: number): (row: number) => boolean {
  const unpaged = bias instanceof PagedKeysMask ? bias.unpaged : bias;
  if (!(unpaged instanceof PackedQueriesMask)) return () => false;
  const plain = new BlockDiagonalPaddedKeysMask(unpaged.queries, unpaged.keys);
  const whole =
    bias instanceof PagedKeysMask ? Object.assign(Object.create(Object.getPrototypeOf(bias)), bias, { unpaged: plain }) : plain;
  const added = addedBy(whole.materialize([seq, kvSeq]));
  return (row) => Array.from({ length: seq }, (_, i) => added(0, 0, i, row)).every((x) => x === Number.NEGATIVE_INFINITY);
}

const close = (y: Tensor, expected: Tensor, keys: number, dtype: FloatDType = 'float32', headDim = 5): void =>
  expectClose(y, { ...expected, dtype }, attentionTolerance(headDim, keys, dtype, 1.5));

describe.each(machines)('on $name', ({ ort, target }) => {
  const xops = createOps({ ort, target, seed: 3 });
  afterAll(() => xops.dispose());

  describe('every kind of attention bias, twice in one session', () => {
    it.each([...Object.entries(kinds), ...Object.entries(batches)])('%s', async (name, calls) => {
      const used = new Set<OpSession>();
      for (const { bias, batch = 1, seq, kvSeq } of calls) {
        const padding = paddingOf(bias, seq, kvSeq);
        const q = random(`q ${name}`, [batch, seq, 3, 5]);
        const k = spoiled(random(`k ${name}`, [batch, kvSeq, 3, 5]), padding);
        const v = spoiled(random(`v ${name}`, [batch, kvSeq, 3, 11]), padding);
        const y = await xops.memoryEfficientAttention(q, k, v, { attnBias: bias });
        close(y, plainAttention(q, k, v, addedBy(bias.materialize([1, 3, seq, kvSeq]))), kvSeq);
        used.add(xops.sessions.at(-1)!);
      }
      expect([...used].map(({ op }) => op)).toEqual(['memoryEfficientAttention']);
      if (name in batches) expect([...used][0]!.signature).not.toContain('documents');
    });
    it('every class is here', () => {
      const here = new Set(Object.values(kinds).flatMap((calls) => calls.map(({ bias }) => bias.constructor.name)));
      const named = Object.keys(classes).filter((name) => /Mask/.test(name));
      const abstract = ['PackedQueriesMask', 'PagedKeysMask'];
      expect([...here].sort()).toEqual(named.filter((name) => !abstract.includes(name)).sort());
    });
  });

  it('any lengths of queries and keys, with gaps, in one session', async () => {
    const sequence = fc.record({ queries: fc.nat(3), keys: fc.nat(4), gap: fc.nat(2) });
    const lists = fc.tuple(fc.array(sequence, { minLength: 1, maxLength: 5 }), fc.nat(2));
    await fc.assert(
      fc.asyncProperty(lists, async ([sequences, first]) => {
        const starts = [first];
        for (const { keys, gap } of sequences) starts.push(starts.at(-1)! + keys + gap);
        const lengths = sequences.map(({ queries }) => queries);
        const [seq, kvSeq] = [lengths.reduce((a, b) => a + b), starts.at(-1)!];
        // One query, no query and as many queries as keys are kinds of their own.
        fc.pre(seq > 1 && kvSeq > 1 && seq !== kvSeq);
        const keys = sequences.map((s) => s.keys);
        const bias = BlockDiagonalCausalWithOffsetGappyKeysMask.fromSeqlens(lengths, starts, keys);
        const isKey = (row: number) => keys.some((n, i) => row >= starts[i]! && row < starts[i]! + n);
        const q = random('q', [1, seq, 2, 5]);
        const [k, v] = ['k', 'v'].map((name) => spoiled(random(name, [1, kvSeq, 2, 5]), (row) => !isKey(row)));
        const y = await xops.memoryEfficientAttention(q, k!, v!, { attnBias: bias });
        close(y, plainAttention(q, k!, v!, addedBy(bias.materialize([1, 2, seq, kvSeq]))), kvSeq);
      }),
      { numRuns: 40 },
    );
    expect(xops.sessions.at(-1)!.runs).toBeGreaterThan(39);
  });

  it('float16 with the values of float32, and results in float16', async () => {
    const bias = BlockDiagonalMask.fromSeqlens([3, 4], [5, 2]).addBias(random('b', [1, 3, 7, 7], 'float16'));
    const [q, k, v] = ['q', 'k', 'v'].map((name) => random(name, [1, 7, 3, 8], 'float16')) as [Tensor, Tensor, Tensor];
    const y = await xops.memoryEfficientAttention(q, k, v, { attnBias: bias, scale: 0.3 });
    close(y, plainAttention(q, k, v, addedBy(bias.materialize([1, 3, 7, 7])), 0.3), 7, 'float16', 8);
    const triangular = await xops.memoryEfficientAttention(q, k, v, { attnBias: new LowerTriangularMask() });
    close(
      triangular,
      plainAttention(q, k, v, (_, _h, i, j) => (j > i ? hidden : 0)),
      7,
      'float16',
      8,
    );
  });

  describe('layouts', () => {
    const nothing = () => 0;
    it('one head [batch, seq, head_dim], with a bias [batch, seq, kv_seq]', async () => {
      const [q, k, v] = [random('q', [2, 5, 7]), random('k', [2, 3, 7]), random('v', [2, 3, 11])];
      const bias = random('b', [2, 5, 3]);
      const y = await xops.memoryEfficientAttention(q, k, v, { attnBias: bias });
      const four = (x: Tensor): Tensor => ({ ...x, dims: [x.dims[0]!, x.dims[1]!, 1, x.dims[2]!] });
      const added: Added = (b, _, i, j) => Number(bias.data[(b * 5 + i) * 3 + j]);
      expect(y.dims).toEqual([2, 5, 11]);
      close(four(y), plainAttention(four(q), four(k), four(v), added), 3, 'float32', 7);
    });
    it('groups [batch, seq, groups, heads, head_dim], whose keys have one head or all of them', async () => {
      const q = random('q', [2, 5, 2, 3, 8]);
      const [k, v] = [random('k', [2, 7, 2, 1, 8]), random('v', [2, 7, 2, 1, 8])];
      const merged = (x: Tensor): Tensor => ({ ...x, dims: [x.dims[0]!, x.dims[1]!, x.dims[2]! * x.dims[3]!, x.dims[4]!] });
      const bias = random('b', [1, 2, 1, 5, 7]);
      const added: Added = (_, h, i, j) => Number(bias.data[(Math.floor(h / 3) * 5 + i) * 7 + j]);
      const y = await xops.memoryEfficientAttention(q, k, v, { attnBias: bias });
      expect(y.dims).toEqual([2, 5, 2, 3, 8]);
      close(merged(y), plainAttention(merged(q), merged(k), merged(v), added), 7, 'float32', 8);
      const [all, values] = [random('k', [2, 7, 2, 3, 8]), random('v', [2, 7, 2, 3, 8])];
      const each = await xops.memoryEfficientAttention(q, all, values);
      close(merged(each), plainAttention(merged(q), merged(all), merged(values), nothing), 7, 'float32', 8);
    });
    it('fewer heads of keys than of queries', async () => {
      const [q, k, v] = [random('q', [2, 5, 6, 8]), random('k', [2, 5, 2, 8]), random('v', [2, 5, 2, 8])];
      const y = await xops.memoryEfficientAttention(q, k, v, { attnBias: new LowerTriangularMask() });
      close(
        y,
        plainAttention(q, k, v, (_, _h, i, j) => (j > i ? hidden : 0)),
        5,
        'float32',
        8,
      );
    });
    it('no tokens', async () => {
      const [q, k] = [random('q', [2, 0, 3, 5]), random('k', [2, 3, 3, 5])];
      expect((await xops.memoryEfficientAttention(q, k, k)).dims).toEqual([2, 0, 3, 5]);
    });
  });

  describe('tensors and masks as a bias', () => {
    const [q, k, v] = [random('q', [2, 3, 5, 7]), random('k', [2, 11, 5, 7]), random('v', [2, 11, 5, 7])];
    const some = tensor(
      'float32',
      [2, 1, 3, 11],
      toArray(random('b', [2, 1, 3, 11])).data.map((x, i) => (i % 3 === 0 ? hidden : x)),
    );
    it.each<[string, TensorBias, Added]>([
      ['with −∞', some, (b, _, i, j) => Number(some.data[(b * 3 + i) * 11 + j])],
      ['of all pairs', random('b', [3, 11]), (_, _h, i, j) => Number(random('b', [3, 11]).data[i * 11 + j])],
      [
        'of booleans',
        tensor(
          'bool',
          [1, 5, 3, 11],
          Array.from({ length: 165 }, (_, i) => i % 2),
        ),
        (_, h, i, j) => (((h * 3 + i) * 11 + j) % 2 ? 0 : hidden),
      ],
      ['of one query for all', random('b', [1, 5, 1, 11]), (_, h, _i, j) => Number(random('b', [1, 5, 1, 11]).data[h * 11 + j])],
      ['a mask', and(causal, keyLengths(tensor('int64', [2], [9, 10]))), (b, _, i, j) => (j > i + 8 || j >= 9 + b ? hidden : 0)],
      [
        'a padding mask',
        keyPadding(
          tensor(
            'bool',
            [2, 11],
            Array.from({ length: 22 }, (_, i) => i % 4),
          ),
        ),
        (b, _, _i, j) => ((b * 11 + j) % 4 ? 0 : hidden),
      ],
    ])('%s', async (_, attnBias, added) => {
      const y = await xops.memoryEfficientAttention(q, k, v, { attnBias });
      close(y, plainAttention(q, k, v, added), 11, 'float32', 7);
    });
    it('a query without keys gives 0', async () => {
      const none = tensor(
        'bool',
        [3, 11],
        new Array(33).fill(0).map((_, i) => Number(i >= 11)),
      );
      const { data } = await xops.memoryEfficientAttention(q, k, v, { attnBias: none });
      expect(Array.from(data as Float32Array).slice(0, 35)).toEqual(new Array(35).fill(0));
    });
  });

  it('operands may be tensors of the runtime', async () => {
    const own = ({ dtype, data, dims }: Tensor) => new ort.Tensor(dtype, data, dims);
    const [q, k, v] = [random('q', [2, 3, 5, 7]), random('k', [2, 11, 5, 7]), random('v', [2, 11, 5, 7])];
    const y = await xops.memoryEfficientAttention(own(q), own(k), v, { attnBias: random('b', [3, 11]) });
    close(
      y,
      plainAttention(q, k, v, (_, _h, i, j) => Number(random('b', [3, 11]).data[i * 11 + j])),
      11,
      'float32',
      7,
    );
    const [x, w] = [random('x', [3, 7]), random('w', [7])];
    const tolerance = { atol: 64 * 2 ** -24 * 5, rtol: 1e-6 };
    expectClose(
      await xops.rmsNorm(own(x), own(w)),
      { ...plainNorm(x, { weight: w, eps: 1e-6, centre: false }), dtype: 'float32' },
      tolerance,
    );
  });

  it('dropout keeps or doubles each weight, and differs from run to run', async () => {
    const [q, k] = [random('q', [1, 5, 1, 7]), random('k', [1, 13, 1, 7])];
    const identity = tensor(
      'float32',
      [1, 13, 1, 13],
      Array.from({ length: 169 }, (_, i) => Number(i % 14 === 0)),
    );
    const weights = async (p: number) => toArray(await xops.memoryEfficientAttention(q, k, identity, { p })).data;
    const [whole, once, twice, gone] = [await weights(0), await weights(0.5), await weights(0.5), await weights(1)];
    for (const dropped of [once, twice])
      dropped.forEach((w, i) => {
        if (w !== 0) expect(w).toBeCloseTo(2 * whole[i]!, 5);
      });
    expect(once.filter((w) => w === 0).length).toBeGreaterThan(0);
    expect(once).not.toEqual(twice);
    expect(gone.every((w) => w === 0)).toBe(true);
  });

  describe('fused ops', () => {
    const [dim, hiddenDim, out] = [5, 7, 3];
    const weights = (dtype: FloatDType) =>
      [
        random('w1', [hiddenDim, dim], dtype),
        random('b1', [hiddenDim], dtype),
        random('w2', [hiddenDim, dim], dtype),
        undefined,
        random('w3', [out, hiddenDim], dtype),
        random('b3', [out], dtype),
      ] as const;

    it.each(['float32', 'float16'] as const)('swiglu in %s, for any number of rows in one session', async (dtype) => {
      const w = weights(dtype);
      const sessions = new Set<OpSession>();
      for (const dims of [
        [2, 11, dim],
        [3, 1, dim],
      ]) {
        const x = random('x', dims, dtype);
        const y = await xops.swiglu(x, ...w);
        expectClose(y, { ...plainSwiglu(x, ...w), dtype }, swigluTolerance(x, ...w));
        sessions.add(xops.sessions.at(-1)!);
      }
      expect(sessions.size).toBe(1);
    });
    it.each(['float32', 'float16'] as const)('norms in %s', async (dtype) => {
      const [x, y] = [random('x', [2, 3, 11], dtype), random('y', [2, 3, 11], dtype)];
      const [w, b] = [random('w', [11], dtype), random('b', [11], dtype)];
      // Results are at most √11 · 1.5, after sums of 11 numbers and a few more roundings.
      const tolerance = { atol: 64 * 2 ** -24 * 5, rtol: dtype === 'float16' ? 2 ** -10 : 1e-6 };
      const near = (got: Tensor, expected: Tensor) => expectClose(got, { ...expected, dtype }, tolerance);
      near(await xops.rmsNorm(x, w), plainNorm(x, { weight: w, eps: 1e-6, centre: false }));
      near(await xops.rmsNorm(x, undefined, 0.1), plainNorm(x, { eps: 0.1, centre: false }));
      near(await xops.layerNorm(x, w, b), plainNorm(x, { weight: w, bias: b, eps: 1e-5, centre: true }));
      near(await xops.layerNorm(x), plainNorm(x, { eps: 1e-5, centre: true }));
      const { y: normalized, sum } = await xops.rmsNormAdd(x, y, w, 0.01);
      const total = { ...x, dtype: 'float64' as const, data: toArray(x).data.map((value, i) => value + toArray(y).data[i]!) };
      near(sum, total);
      near(normalized, plainNorm(total, { weight: w, eps: 0.01, centre: false }));
    });
  });
});
