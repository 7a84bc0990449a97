import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { backward } from '../autodiff/grad';
import { interpret } from '../interpret/interpret';
import type { Value } from '../ir/graph';
import { coreRules } from '../kernels/index';
import { lower } from '../lower/lower';
import {
  and,
  causal,
  dense,
  documents,
  keyLengths,
  keyPadding,
  type Mask,
  maskKinds,
  none,
  not,
  slidingWindow,
} from '../mask/index';
import { mayAttend } from '../mask/predicate';
import { portable } from '../targets/portable';
import type { NDArray } from '../tensor/tensor';
import { checkOp, expectClose } from '../testing';
import { type AttentionCall, array, attentionCall, feeder, randomArray } from '../testing/attention-calls';
import { type AttendOpOptions, attendOp, attendWithWeights } from './attend';
import { cases } from './attend.cases';
import { sub } from './elementwise';
import { slice } from './movement';
import { GraphBuilder } from './vocabulary';

test.each(cases.map((c) => [c.name, c] as const))('%s', (_, c) => checkOp(c));

const int64 = (...data: number[]): NDArray => array('int64', [data.length], data);
const q4 = (name: string, ...dims: number[]): NDArray => randomArray(name, dims, 'float64');

/** What a function of arrays gives, by the oracle and by the definition, which agree to 1e-12. */
function computed(build: (input: (x: NDArray) => Value) => Value): NDArray {
  const g = new GraphBuilder({ dtype: 'float64' });
  const feed = feeder(g);
  g.output(
    'y',
    build((x) => feed.input(x)),
  );
  const graph = g.finish();
  const [oracle, definition] = (['evaluate', 'decompose'] as const).map((prefer) => interpret(graph, feed.feeds, { prefer }).y!);
  expectClose(definition!, oracle!, { atol: 1e-12, rtol: 1e-12 }, 'definition and oracle');
  return oracle!;
}
const rows = (y: NDArray, axis: number, from: number, to: number): NDArray =>
  computed((input) => sliced(input(y), axis, from, to));

/** A call with random q, k, v; `named` are its sizes as the graph knows them. */
function traced(call: AttentionCall, symbolic: boolean) {
  const { batch, kvHeads, group, seq, kvSeq, queryOffset } = call;
  const heads = kvHeads * group;
  const packed = maskKinds(call.mask).includes('documents');
  const named = symbolic ? [packed ? 1 : 'batch', heads, 'seq', 'kv'] : [batch, heads, seq, kvSeq];
  const g = new GraphBuilder({ dtype: 'float64' });
  const feed = feeder(g);
  const q = feed.input(q4('q', batch, heads, seq, 3), [named[0]!, heads, named[2]!, 3]);
  const k = feed.input(q4('k', batch, kvHeads, kvSeq, 3), [named[0]!, kvHeads, named[3]!, 3]);
  const v = feed.input(q4('v', batch, kvHeads, kvSeq, 2), [named[0]!, kvHeads, named[3]!, 2]);
  const options = {
    mask: feed.mask(call.mask, named),
    ...(queryOffset && { queryOffset: feed.input(queryOffset, [named[0]!]) }),
  };
  return { g, feed, q, k, v, options };
}

describe('any mask', () => {
  test('the definition agrees with the reference', () => {
    fc.assert(
      fc.property(
        attentionCall,
        fc.boolean(),
        fc.option(fc.constantFrom(0.5, 3)),
        fc.boolean(),
        (call, open, softcap, hasSinks) => {
          // A reshape with an open size cannot tell how many empty rows there are.
          const symbolic = open && call.kvSeq > 0;
          const { g, feed, q, k, v, options } = traced(call, symbolic);
          const sinks = hasSinks ? { sinks: feed.input(q4('sinks', call.kvHeads * call.group)) } : {};
          g.output('y', attendOp(q, k, v, { ...options, ...sinks, ...(softcap !== null && { softcap }) }));
          const graph = g.finish();
          const oracle = interpret(graph, feed.feeds).y!;
          expectClose(interpret(graph, feed.feeds, { prefer: 'decompose' }).y!, oracle, { atol: 1e-12, rtol: 1e-12 });
        },
      ),
      { numRuns: 300 },
    );
  });

  test('queries without keys give exactly 0, and no gradient is NaN', () => {
    let dead = 0;
    fc.assert(
      fc.property(attentionCall, (call) => {
        const { g, feed, q, k, v, options } = traced(call, false);
        const y = attendOp(q, k, v, options);
        const seed = feed.input(q4('seed', ...(y.dims as number[])));
        const grads = backward([y], [seed], [q, k, v]);
        g.output('y', y);
        grads.forEach((grad, i) => {
          if (grad) g.output(`grad${i}`, grad);
        });
        const out = interpret(g.finish(), feed.feeds, { prefer: 'decompose' });
        for (const { data } of Object.values(out)) expect(data.every(Number.isFinite)).toBe(true);
        const allowed = mayAttend(call.mask, call, call.queryOffset);
        const heads = call.kvHeads * call.group;
        for (let b = 0, row = 0; b < call.batch; b++)
          for (let h = 0; h < heads; h++)
            for (let i = 0; i < call.seq; i++, row++) {
              if (Array.from({ length: call.kvSeq }, (_, j) => j).some((j) => allowed(b, h, i, j))) continue;
              dead++;
              expect(Array.from(out.y!.data.subarray(2 * row, 2 * row + 2))).toEqual([0, 0]);
              if (out.grad0) expect(out.grad0.data.subarray(3 * row, 3 * row + 3).every((x) => x === 0)).toBe(true);
            }
      }),
      { numRuns: 150 },
    );
    expect(dead).toBeGreaterThan(100);
  });

  test('weights: hidden keys have exactly 0, the others sum to 1, and y is what they weight', () => {
    let hidden = 0;
    fc.assert(
      fc.property(attentionCall, (call) => {
        const { g, feed, q, k, v, options } = traced(call, false);
        const { y, weights } = attendWithWeights(q, k, v, options);
        g.output('y', y);
        g.output('weights', weights);
        g.output('alone', attendOp(q, k, v, options));
        const graph = g.finish();
        const oracle = interpret(graph, feed.feeds);
        const definition = interpret(graph, feed.feeds, { prefer: 'decompose' });
        for (const name of ['y', 'weights', 'alone'])
          expectClose(definition[name]!, oracle[name]!, { atol: 1e-12, rtol: 1e-12 }, name);
        expect(oracle.alone!.data).toEqual(oracle.y!.data);
        expect(definition.alone!.data).toEqual(definition.y!.data);
        const allowed = mayAttend(call.mask, call, call.queryOffset);
        const heads = call.kvHeads * call.group;
        for (const { weights } of [oracle, definition])
          for (let b = 0, row = 0; b < call.batch; b++)
            for (let h = 0; h < heads; h++)
              for (let i = 0; i < call.seq; i++, row++) {
                const own = weights!.data.subarray(row * call.kvSeq, (row + 1) * call.kvSeq);
                const seen = own.filter((_, j) => allowed(b, h, i, j));
                const unseen = own.filter((_, j) => !allowed(b, h, i, j));
                expect(unseen.every((w) => w === 0)).toBe(true);
                hidden += unseen.length;
                expect(Math.abs(seen.reduce((sum, w) => sum + w, 0) - (seen.length ? 1 : 0))).toBeLessThan(1e-14);
              }
      }),
      { numRuns: 150 },
    );
    expect(hidden).toBeGreaterThan(1000);
  });
});

function sliced(x: Value, axis: number, from: number, to: number): Value {
  return slice(x, { axes: [axis], starts: [from], ends: [to] });
}

describe('equalities', () => {
  const [q, k, v] = [q4('q', 2, 6, 5, 3), q4('k', 2, 3, 7, 3), q4('v', 2, 3, 7, 2)];
  const attended = (a: NDArray, b: NDArray, c: NDArray, o: (input: (x: NDArray) => Value) => AttendOpOptions): NDArray =>
    computed((input) => attendOp(input(a), input(b), input(c), o(input)));

  test('numbers by hand', () => {
    const one = (...data: number[]): NDArray => array('float64', [1, 1, data.length, 1], data);
    // Scores 0, ln 3: weights 1/4 and 3/4.
    const y = attended(one(1), one(0, Math.log(3)), one(8, 4), () => ({ mask: none }));
    expectClose(y, one(5), { atol: 1e-15 });
    const weightsOf = (o: (input: (x: NDArray) => Value) => Omit<AttendOpOptions, 'mask'> = () => ({})): NDArray =>
      computed(
        (input) =>
          attendWithWeights(input(one(1)), input(one(0, Math.log(3))), input(one(8, 4)), { mask: none, ...o(input) }).weights,
      );
    const row = (...data: number[]): NDArray => array('float64', [1, 1, 1, 2], data);
    expectClose(weightsOf(), row(0.25, 0.75), { atol: 1e-15 });
    expectClose(
      weightsOf((input) => ({ sinks: input(array('float64', [1], [Math.log(4)])) })),
      row(0.125, 0.375),
      { atol: 1e-15 },
    );
    // Dropout changes the result, not the weights.
    const given = array('float32', [1, 1, 1, 2], [0.2, 0.9]);
    expectClose(
      weightsOf((input) => ({ dropout: { probability: 0.5, noise: input(given) } })),
      row(0.25, 0.75),
      { atol: 1e-15 },
    );
    // A sink of ln 4 takes half.
    const half = attended(one(1), one(0, Math.log(3)), one(8, 4), (input) => ({
      mask: none,
      sinks: input(array('float64', [1], [Math.log(4)])),
    }));
    expectClose(half, one(2.5), { atol: 1e-15 });
    // tanh(ln 2) = 3/5, twice its half as softcap: score 2 · tanh(ln 2 · 2 / 2) = 6/5.
    const capped = attended(one(2), one(0, Math.log(2)), one(0, 1), () => ({ mask: none, softcap: 2 }));
    expectClose(capped, one(1 / (1 + Math.exp(-1.2))), { atol: 1e-15 });
    // Noise below one half drops the first key; the other counts twice.
    const noise = array('float32', [1, 1, 1, 2], [0.49, 0.5]);
    const dropped = attended(one(1), one(0, Math.log(3)), one(8, 4), (input) => ({
      mask: none,
      dropout: { probability: 0.5, noise: input(noise) },
    }));
    expectClose(dropped, one(6), { atol: 1e-15 });
  });

  test('query heads read the kv head of their group', () => {
    const whole = attended(q, k, v, () => ({ mask: causal }));
    for (let h = 0; h < 6; h++) {
      const kvHead = Math.floor(h / 2);
      const own = attended(rows(q, 1, h, h + 1), rows(k, 1, kvHead, kvHead + 1), rows(v, 1, kvHead, kvHead + 1), () => ({
        mask: causal,
      }));
      expectClose(own, rows(whole, 1, h, h + 1), { atol: 1e-14 });
    }
  });

  test('a ragged queryOffset is each row of the batch by itself', () => {
    const queryOffset = [2, 0];
    const whole = attended(q, k, v, (input) => ({
      mask: and(causal, slidingWindow({ left: 3 })),
      queryOffset: input(int64(...queryOffset)),
    }));
    queryOffset.forEach((n, b) => {
      const held = (x: NDArray) => rows(rows(x, 0, b, b + 1), 2, 0, n + 5);
      const own = attended(rows(q, 0, b, b + 1), held(k), held(v), () => ({ mask: and(causal, slidingWindow({ left: 3 })) }));
      expectClose(own, rows(whole, 0, b, b + 1), { atol: 1e-14 });
    });
  });

  test('packed sequences are each sequence by itself', () => {
    const [queries, keys] = [
      [0, 3, 3, 4, 9],
      [0, 3, 5, 9, 11],
    ] as const;
    const [pq, pk, pv] = [q4('pq', 1, 6, 9, 3), q4('pk', 1, 2, 11, 3), q4('pv', 1, 2, 11, 2)];
    for (const mask of [none, causal, slidingWindow({ left: 1, right: 1 })] as Mask<never>[]) {
      const packed = attended(pq, pk, pv, (input) => ({
        mask: and<Value>(documents(input(int64(...queries)), input(int64(...keys))), mask),
      }));
      for (let i = 0; i + 1 < queries.length; i++) {
        const [own, theirs] = [
          [queries[i]!, queries[i + 1]!],
          [keys[i]!, keys[i + 1]!],
        ] as const;
        const alone = attended(rows(pq, 2, ...own), rows(pk, 2, ...theirs), rows(pv, 2, ...theirs), () => ({ mask }));
        expectClose(alone, rows(packed, 2, ...own), { atol: 1e-14 });
      }
    }
  });

  test('lengths truncate keys, and a mask tensor computes the same', () => {
    const lengths = attended(q, k, v, (input) => ({ mask: keyLengths(input(int64(4, 4))) }));
    expectClose(
      attended(q, rows(k, 2, 0, 4), rows(v, 2, 0, 4), () => ({ mask: none })),
      lengths,
      { atol: 1e-14 },
    );
    const keep = array('bool', [7], [1, 1, 1, 1, 0, 0, 0]);
    expectClose(
      attended(q, k, v, (input) => ({ mask: dense(input(keep)) })),
      lengths,
      { atol: 0 },
    );
  });

  test('a sink is one more key without a value', () => {
    const sinks = q4('sinks', 1);
    const [sq, sk, sv] = [q4('sq', 1, 1, 5, 3), q4('sk', 1, 1, 7, 3), q4('sv', 1, 1, 7, 2)];
    const y = attended(sq, sk, sv, (input) => ({ mask: none, sinks: input(sinks) }));
    const onZero = (x: NDArray) => array('float64', [1, 1, 8, x.dims[3]!], [...x.data, ...new Array(x.dims[3]!).fill(0)]);
    const bias = array(
      'float64',
      [1, 1, 5, 8],
      Array.from({ length: 40 }, (_, i) => (i % 8 === 7 ? sinks.data[0]! : 0)),
    );
    expectClose(
      attended(sq, onZero(sk), onZero(sv), (input) => ({ mask: none, bias: input(bias) })),
      y,
      { atol: 1e-14 },
    );
  });

  test('masked keys and values have no influence', () => {
    const spoilt = (x: NDArray) => ({
      ...x,
      data: x.data.map((value, i) => (Math.floor(i / x.dims[3]!) % 7 >= 4 ? 1e30 : value)),
    });
    const mask = (input: (x: NDArray) => Value): AttendOpOptions => ({ mask: keyLengths(input(int64(4, 4))) });
    expectClose(attended(q, spoilt(k), spoilt(v), mask), attended(q, k, v, mask), { atol: 0 });
  });
});

test('hidden values have a weight of 0, and 0 · NaN is NaN: in the definition and in the oracle', () => {
  const one = (name: string, ...data: number[]): NDArray => ({
    ...randomArray(name, [1, 1, data.length, 1], 'float64'),
    data: Float64Array.from(data),
  });
  const outputs = (v: NDArray) => {
    const g = new GraphBuilder({ dtype: 'float64' });
    const feed = feeder(g);
    const [q, k] = [feed.input(one('q', 1)), feed.input(one('k', 0, Number.NaN))];
    g.output('y', attendOp(q, k, feed.input(v), { mask: keyLengths(feed.input(int64(1))) }));
    const graph = g.finish();
    return (['evaluate', 'decompose'] as const).map((prefer) => interpret(graph, feed.feeds, { prefer }).y!.data[0]);
  };
  expect(outputs(one('v', 3, 1e30))).toEqual([3, 3]);
  expect(outputs(one('v', 3, Number.NaN))).toEqual([Number.NaN, Number.NaN]);
});

describe('the definition takes no more than it needs', () => {
  const keys = (
    heads: number,
    kvHeads: number,
    o: (g: GraphBuilder) => AttendOpOptions,
    dtype: 'float32' | 'float16' | 'bfloat16' = 'float32',
    headDim = 5,
  ): string[] => {
    const g = new GraphBuilder({ dtype });
    const input = (name: string, ...dims: (string | number)[]) => g.input(name, dtype, dims);
    const [q, k, v] = [
      input('q', 'batch', heads, 'seq', headDim),
      input('k', 'batch', kvHeads, 'seq', headDim),
      input('v', 'batch', kvHeads, 'seq', 7),
    ];
    const { producer } = attendOp(q, k, v, o(g));
    producer!.op.decompose!(producer!.operands, producer!.attrs, producer!.graph.ops).forEach((y, i) => {
      g.output(`y${i}`, y);
    });
    return g.finish().nodes.map((n) => n.op.key.replace('onnxformers.', ''));
  };
  test('plain', () => expect(keys(3, 3, () => ({ mask: none }))).toEqual(['Mul', 'Transpose', 'MatMul', 'Softmax', 'MatMul']));
  test('plain, with scale 1', () =>
    expect(keys(3, 3, () => ({ mask: none, scale: 1 }))).toEqual(['Transpose', 'MatMul', 'Softmax', 'MatMul']));
  test('grouped heads are a reshape before and after', () =>
    expect(keys(6, 2, () => ({ mask: none }))).toEqual([
      'Reshape',
      'Mul',
      'Transpose',
      'MatMul',
      'Softmax',
      'MatMul',
      'Reshape',
    ]));
  test('softcap takes two', () =>
    expect(keys(3, 3, () => ({ mask: none, softcap: 2 }))).toEqual([
      'Mul',
      'Transpose',
      'MatMul',
      'Tanh',
      'Mul',
      'Softmax',
      'MatMul',
    ]));
  test('causal needs one Where', () => expect(keys(3, 3, () => ({ mask: causal })).filter((k) => k === 'Where')).toHaveLength(1));
  test('a mask that may leave a query without keys needs one for its row of scores and one for its result', () =>
    expect(keys(3, 3, () => ({ mask: not(causal) })).filter((k) => k === 'Where')).toHaveLength(3));
  test('with a sink it does not', () =>
    expect(
      keys(3, 3, (g) => ({ mask: not(causal), sinks: g.input('sinks', 'float32', [3]) })).filter((k) => k === 'Where'),
    ).toHaveLength(1));
  test('16-bit floats: scores and softmax are between casts', () => {
    expect(keys(3, 3, () => ({ mask: none }), 'float16', 16)).toEqual([
      'Cast',
      'Mul',
      'Cast',
      'Transpose',
      'MatMul',
      'Softmax',
      'Cast',
      'MatMul',
    ]);
    expect(keys(3, 3, () => ({ mask: none }), 'bfloat16', 5)).toEqual([
      'Cast',
      'Mul',
      'Cast',
      'Transpose',
      'MatMul',
      'Softmax',
      'Cast',
      'MatMul',
    ]);
  });
});

describe('a negative query offset', () => {
  const [q, k, v] = [q4('q', 2, 1, 3, 2), q4('k', 2, 1, 5, 2), q4('v', 2, 1, 5, 2)];
  test('that the graph computes: queries before the first key are 0', () => {
    const g = new GraphBuilder({ dtype: 'float64' });
    const feed = feeder(g);
    const [a, b] = [feed.input(int64(1, 0)), feed.input(int64(3, 0))];
    g.output('y', attendOp(feed.input(q), feed.input(k), feed.input(v), { mask: causal, queryOffset: sub(a, b) }));
    const whole = g.finish();
    const y = interpret(lower(whole, portable(18), { rules: coreRules }).graph, feed.feeds).y!;
    expectClose(y, interpret(whole, feed.feeds).y!, { atol: 1e-12, rtol: 1e-12 });
    expect([...y.data.slice(0, 4)]).toEqual([0, 0, 0, 0]);
    // Query 2 is at position 0, where key 0 is the only one.
    expectClose(
      { ...y, dims: [2], data: y.data.slice(4, 6) },
      { ...v, dims: [2], data: v.data.slice(0, 2) },
      { atol: 1e-12, rtol: 0 },
    );
    expect([...y.data].every(Number.isFinite)).toBe(true);
  });
  test('of an input is refused', () => {
    const made = (input: (x: NDArray) => Value, queryOffset: Value) =>
      attendOp(input(q), input(k), input(v), { mask: causal, queryOffset });
    expect(() => computed((input) => made(input, input(int64(0, -1))))).toThrow(/a negative query offset/);
  });
});

describe('operands that do not fit', () => {
  type Dims = readonly (string | number)[];
  function attempt(
    o: (g: GraphBuilder) => AttendOpOptions,
    dims: { q?: Dims; k?: Dims; v?: Dims; dtype?: 'int64' | 'float16' } = {},
  ): () => Value {
    return () => {
      const g = new GraphBuilder();
      const q = g.input('q', 'float32', dims.q ?? ['batch', 6, 'seq', 5]);
      const k = g.input('k', dims.dtype ?? 'float32', dims.k ?? ['batch', 2, 'kv', 5]);
      const v = g.input('v', 'float32', dims.v ?? ['batch', 2, 'kv', 7]);
      return attendOp(q, k, v, o(g));
    };
  }
  const plain = () => ({ mask: none }) as AttendOpOptions;
  test.each<readonly [string, () => Value]>([
    ['q does not have 4 axes', attempt(plain, { q: ['batch', 'seq', 5] })],
    ['k and q differ in dtype', attempt(plain, { dtype: 'float16' })],
    ['q and k differ in head_dim; expected 5, got 3', attempt(plain, { k: ['batch', 2, 'kv', 3] })],
    ['k has the wrong dims', attempt(plain, { k: ['other', 2, 'kv', 5] })],
    ['v has the wrong dims', attempt(plain, { v: ['batch', 2, 'rows', 7] })],
    [
      'the heads of q are not a multiple of the heads of k; expected a divisor of 6, got 4',
      attempt(plain, { k: ['batch', 4, 'kv', 5], v: ['batch', 4, 'kv', 7] }),
    ],
    [
      'the default scale 1/√head_dim needs a known head_dim',
      attempt(plain, { q: ['batch', 6, 'seq', 'd'], k: ['batch', 2, 'kv', 'd'] }),
    ],
    ['softcap is not positive', attempt(() => ({ mask: none, softcap: 0 }))],
    [
      'dropout is not a probability',
      attempt((g) => ({ mask: none, dropout: { probability: 1.5, noise: g.input('n', 'float32', ['batch', 6, 'seq', 'kv']) } })),
    ],
    [
      'dropout noise has the wrong dims',
      attempt((g) => ({ mask: none, dropout: { probability: 0.5, noise: g.input('n', 'float32', ['batch', 1, 'seq', 'kv']) } })),
    ],
    ['queryOffset has the wrong dtype', attempt((g) => ({ mask: none, queryOffset: g.input('s', 'int32', ['batch']) }))],
    ['bias has the wrong dims', attempt((g) => ({ mask: none, bias: g.input('b', 'float32', ['batch', 2, 'seq', 'kv']) }))],
    ['sinks has the wrong dims', attempt((g) => ({ mask: none, sinks: g.input('s', 'float32', [2]) }))],
    ['lengths mask has the wrong dtype', attempt((g) => ({ mask: keyLengths(g.input('l', 'int32', ['batch'])) }))],
    ['key padding mask has the wrong dims', attempt((g) => ({ mask: keyPadding(g.input('l', 'bool', ['batch', 'seq'])) }))],
    ['dense mask has the wrong dims', attempt((g) => ({ mask: not(dense(g.input('m', 'bool', ['kv', 'seq']))) }))],
    ['a documents mask must be used alone, or once', attempt((g) => ({ mask: not(packed(g)) }))],
    ['a documents mask must be used alone, or once', attempt((g) => ({ mask: and(packed(g, 'a'), packed(g, 'b')) }))],
    ['a documents mask requires packed sequences', attempt((g) => ({ mask: packed(g) }))],
    [
      'packed sequences cannot have a queryOffset',
      attempt((g) => ({ mask: packed(g), queryOffset: g.input('s', 'int64', [1]) }), {
        q: [1, 6, 'seq', 5],
        k: [1, 2, 'kv', 5],
        v: [1, 2, 'kv', 7],
      }),
    ],
  ])('%s', (message, build) => {
    expect(build).toThrow(message);
    expect(build).toThrow('onnxformers.Attend');
  });
  function packed(g: GraphBuilder, name = 'o'): Mask<Value> {
    return documents(g.input(name, 'int64', ['n + 1']));
  }
});
