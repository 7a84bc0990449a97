import {
  causal,
  compile,
  contextOf,
  explain,
  type Graph,
  GraphBuilder,
  grad,
  interpret,
  keyLengths,
  type NDArray,
  namesOf,
  printExplanation,
  targets,
  type Value,
  withContext,
} from '@onnxformers/core';
import { lower } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';
import { checkOnRuntime, expectClose, randomArray, runBlock, traceBlock } from '@onnxformers/core/testing';
import fc from 'fast-check';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { attention, dot, perHead, product, type Rows, softmaxOf, turned } from '../plain.test-helper';
import { nystrom } from './nystrom';

type Config = Parameters<typeof nystrom>[0];
const always = () => true;

/** Means of `count` segments of rows; the last ones are longer by a row where it does not divide. */
function means(rows: Rows, count: number): number[][] {
  const short = Math.floor(rows.length / count);
  const bounds = Array.from({ length: count + 1 }, (_, l) => l * short + Math.max(0, l - (count - (rows.length % count))));
  return Array.from({ length: count }, (_, l) => {
    const members = rows.slice(bounds[l]!, bounds[l + 1]!);
    return rows[0]!.map((_, c) => members.reduce((sum, row) => sum + row[c]!, 0) / members.length);
  });
}

function iterate(K: Rows, count: number): number[][] {
  const n = K.length;
  const plus = (a: Rows, b: Rows, factor: number) => a.map((row, i) => row.map((x, j) => x + factor * b[i]![j]!));
  const identity = (x: number) => Array.from({ length: n }, (_, i) => Array.from({ length: n }, (_, j) => (i === j ? x : 0)));
  const largest = Math.max(...turned(K).map((column) => column.reduce((a, b) => a + b)));
  let Z = turned(K).map((row) => row.map((x) => x / largest));
  for (let step = 0; step < count; step++) {
    const X = product(K, Z);
    const cubic = product(X, plus(identity(15), product(X, plus(identity(7), X, -1)), -1));
    Z = product(Z, plus(identity(13), cubic, -1)).map((row) => row.map((x) => x / 4));
  }
  return Z;
}

/** The inverse, by elimination with pivots. */
function inverse(K: Rows): number[][] {
  const n = K.length;
  const rows = K.map((row, i) => [...row, ...Array.from({ length: n }, (_, j) => (i === j ? 1 : 0))]);
  for (let c = 0; c < n; c++) {
    const pivot = rows.slice(c).reduce((best, row, i) => (Math.abs(row[c]!) > Math.abs(rows[best]![c]!) ? i + c : best), c);
    [rows[c], rows[pivot]] = [rows[pivot]!, rows[c]!];
    const scale = rows[c]![c]!;
    rows[c] = rows[c]!.map((x) => x / scale);
    for (let r = 0; r < n; r++) {
      const factor = rows[r]![c]!;
      if (r !== c) rows[r] = rows[r]!.map((x, i) => x - factor * rows[c]![i]!);
    }
  }
  return rows.map((row) => row.slice(n));
}

const similar = (a: Rows, b: Rows) =>
  a.map((row) =>
    softmaxOf(
      b.map((other) => dot(row, other) / Math.sqrt(row.length)),
      always,
    ),
  );

function landmarkAttention(
  q: Rows,
  k: Rows,
  v: Rows,
  count: number,
  pinv: (K: Rows) => Rows,
  real: (j: number) => boolean = always,
  realQuery = real,
) {
  const kept = (rows: Rows, is: (i: number) => boolean) => rows.filter((_, i) => is(i));
  const [qs, ks, vs] = [kept(q, realQuery), kept(k, real), kept(v, real)];
  if (Math.min(qs.length, ks.length) <= count) return attention(q, ks, vs);
  const [ql, kl] = [means(qs, count), means(ks, count)];
  return product(similar(q, kl), product(pinv(similar(ql, kl)), attention(ql, ks, vs)));
}

const feeds = (seq: number) => ({
  q: randomArray('q', [2, 4, seq, 3]),
  k: randomArray('k', [2, 2, seq, 3]),
  v: randomArray('v', [2, 2, seq, 5]),
});
const int64 = (values: number[]) => ({ dtype: 'int64', dims: [values.length], data: Float64Array.from(values) }) as const;
/** Zeros beyond the lengths of [batch, heads, seq, dim]. */
const realRows = (x: NDArray, lengths: readonly number[]): NDArray => {
  const [, heads, seq, dim] = x.dims as [number, number, number, number];
  const real = (i: number) => Math.floor(i / dim) % seq < lengths[Math.floor(i / (heads * seq * dim))]!;
  return { ...x, data: x.data.map((e, i) => (real(i) ? e : 0)) };
};
const run = (config: Config, given: Record<string, NDArray>) =>
  runBlock(nystrom(config), given, { assumptions: ['finite padding'] }).outputs.y!;

describe('nystrom', () => {
  it.each([
    [12, 3],
    [13, 5],
    [7, 4],
  ])('of %i rows by %i landmarks is what plain loops give', (seq, landmarks) => {
    const given = feeds(seq);
    const expected = perHead(given.q, given.k, given.v, (q, k, v) => landmarkAttention(q, k, v, landmarks, (K) => iterate(K, 6)));
    // The scale is a float32 constant, and the inverse magnifies what that rounds away.
    expectClose(run({ landmarks }, given), expected, { atol: 1e-6, rtol: 1e-6 });
  });

  it('traced at symbolic sizes, it decides when it runs', () => {
    const shapes = {
      q: ['float32', [2, 4, 'seq', 3]],
      k: ['float32', [2, 2, 'seq', 3]],
      v: ['float32', [2, 2, 'seq', 5]],
    } as const;
    expect(traceBlock(nystrom({ landmarks: 7 }), shapes).nodes.map((n) => n.op.key)).toContain('If');
  });

  it.each([
    [3, 9],
    [1, 7],
    [4, 11],
  ])('%i landmarks of %i rows run where only the run knows how many rows there are', async (landmarks, seq) => {
    const rows = ['float32', ['batch', 2, 'seq', 8]] as const;
    await checkOnRuntime(nystrom({ landmarks }), { q: rows, k: rows, v: rows }, targets.cpu, ort, { sizes: { batch: 3, seq } });
  });

  // Landmarks fewer than rows, as many, and more; padding of every length, down to nothing.
  it('agrees with plain loops for random numbers of rows, landmarks and lengths', () => {
    const rows = fc.integer({ min: 1, max: 23 });
    const calls = rows.chain((seq) =>
      fc.record({
        seq: fc.constant(seq),
        landmarks: fc.oneof(fc.integer({ min: 1, max: seq }), fc.constant(seq), fc.integer({ min: seq, max: 40 })),
        lengths: fc.option(fc.tuple(fc.integer({ min: 0, max: seq }), fc.integer({ min: 0, max: seq })), { nil: undefined }),
        known: fc.boolean(),
      }),
    );
    fc.assert(
      fc.property(calls, ({ seq, landmarks, lengths, known }) => {
        const given = { ...feeds(seq), ...(lengths && { lengths: int64(lengths) }) };
        const expected = perHead(given.q, given.k, given.v, (q, k, v, b) =>
          lengths?.[b] === 0
            ? q.map(() => [0, 0, 0, 0, 0])
            : landmarkAttention(q, k, v, landmarks, (K) => iterate(K, 6), lengths ? (j) => j < lengths[b]! : always),
        );
        const size = known ? seq : 'seq';
        const shapes = {
          q: ['float32', [2, 4, size, 3]],
          k: ['float32', [2, 2, size, 3]],
          v: ['float32', [2, 2, size, 5]],
          ...(lengths && { lengths: ['int64', [2]] as const }),
        } as const;
        const { graph } = lower(traceBlock(nystrom({ landmarks }), shapes), targets.portable(21), {
          assumptions: ['finite padding'],
        });
        const [y, real] = [interpret(graph, given).y!, lengths ?? [seq, seq]];
        expect(y.data.every(Number.isFinite)).toBe(true);
        expectClose(realRows(y, real), realRows(expected, real), { atol: 1e-6, rtol: 1e-6 });
      }),
      { numRuns: 60 },
    );
  });

  it('is exact with as many landmarks as positions', () => {
    const given = feeds(7);
    const exact = perHead(given.q, given.k, given.v, (q, k, v) => attention(q, k, v));
    expectClose(run({ landmarks: 7 }, given), exact);
    expectClose(run({ landmarks: 64 }, given), exact);
  });

  it('converged, uses the inverse to one part in a million', () => {
    const given = feeds(13);
    const expected = perHead(given.q, given.k, given.v, (q, k, v) => landmarkAttention(q, k, v, 2, inverse));
    expectClose(run({ landmarks: 2, pseudoInverse: 'converged' }, given), expected, { atol: 1e-6, rtol: 1e-6 });
    const six = run({ landmarks: 2 }, given);
    expect(() => expectClose(six, expected, { atol: 1e-3 })).toThrow(/differ too much/);
  });

  it.each([
    ['lengths', { lengths: int64([9, 4]) }, (b: number) => (j: number) => j < [9, 4][b]!],
    ['lengths, one of which is short', { lengths: int64([9, 2]) }, (b: number) => (j: number) => j < [9, 2][b]!],
    [
      'keyPadding',
      {
        attention_mask: { dtype: 'bool', dims: [2, 11], data: Float64Array.from({ length: 22 }, (_, i) => Number(i % 4 !== 0)) },
      },
      (b: number) => (j: number) => (11 * b + j) % 4 !== 0,
    ],
  ] as const)('keeps padding out of landmarks and sums: %s', (_, mask, real) => {
    const given = feeds(11);
    const expected = perHead(given.q, given.k, given.v, (q, k, v, b) =>
      landmarkAttention(q, k, v, 3, (K) => iterate(K, 6), real(b)),
    );
    expectClose(run({ landmarks: 3 }, { ...given, ...mask }), expected, { atol: 1e-6, rtol: 1e-6 });
  });

  it('is the same as without padding: lengths [2], landmarks 2', () => {
    const column = (...values: number[]): NDArray => ({
      dtype: 'float32',
      dims: [1, 1, values.length, 1],
      data: Float64Array.from(values),
    });
    const given = { q: column(1, -1, 0, 0), k: column(2, -1, 0, 0), v: column(10, 20, 0, 0), lengths: int64([2]) };
    const { data } = run({ landmarks: 2 }, given);
    expect(data[0]).toBeCloseTo(10.474, 3);
    expect(data[1]).toBeCloseTo(19.526, 3);
  });

  it.each([
    // Both long, few keys, few queries.
    [11, 13, [9, 8], [13, 5], 3],
    [11, 13, [9, 8], [13, 2], 3],
    [11, 13, [2, 11], [12, 13], 3],
    // As many rows of memory as queries, whose masks are not each other's.
    [11, 11, [9, 2], [4, 11], 3],
  ] as const)(
    'across to a memory, each with padding of its own: %i queries, %i keys, lengths %j and %j',
    (seq, rows, ofQueries, ofMemory, landmarks) => {
      const [q, k, v] = [randomArray('q', [2, 4, seq, 3]), randomArray('k', [2, 2, rows, 3]), randomArray('v', [2, 2, rows, 5])];
      const block = nystrom({ landmarks });
      const g = new GraphBuilder();
      const [qs, ks, vs] = [g.input('q', 'float32', q.dims), g.input('k', 'float32', k.dims), g.input('v', 'float32', v.dims)];
      const lengths = (name: string) => keyLengths(g.input(name, 'int64', [2]));
      const plain = contextOf(g, { q: qs, k: ks, v: vs }, { layout: 'padded' });
      const ctx = withContext(plain, { mask: lengths('ofMemory'), queryMask: lengths('ofQueries') });
      g.output('y', block(qs, ks, vs, ctx));
      const { y } = interpret(g.finish(), { q, k, v, ofQueries: int64([...ofQueries]), ofMemory: int64([...ofMemory]) });
      const expected = perHead(q, k, v, (q, k, v, b) =>
        landmarkAttention(
          q,
          k,
          v,
          landmarks,
          (K) => iterate(K, 6),
          (j) => j < ofMemory[b]!,
          (i) => i < ofQueries[b]!,
        ),
      );
      // A padded query among few stands in no landmark.
      expectClose(realRows(y!, ofQueries), realRows(expected, ofQueries), { atol: 1e-6, rtol: 1e-6 });
    },
  );

  it('is refused for causal queries', () => {
    const g = new GraphBuilder();
    const x = g.input('x', 'float32', [2, 4, 7, 3]);
    const ctx = withContext(contextOf(g, { x }, { layout: 'padded' }), { queryMask: causal });
    expect(() => nystrom({ landmarks: 2 })(x, x, x, ctx)).toThrow(
      /landmarks average over positions.*got queries under the mask causal/,
    );
  });

  it('adds a convolution of the values of each head', () => {
    const given = feeds(11);
    const { outputs, parameters } = runBlock(nystrom({ landmarks: 3, convolution: 5, heads: 4 }), given);
    const kernel = parameters['skip_connection.weight']!;
    expect(kernel.dims).toEqual([4, 1, 5, 1]);
    const expected = perHead(given.q, given.k, given.v, (q, k, v, _, h) => {
      const y = landmarkAttention(q, k, v, 3, (K) => iterate(K, 6));
      const tap = (i: number, c: number, t: number) => kernel.data[h * 5 + t]! * (v[i + t - 2]?.[c] ?? 0);
      return y.map((row, i) => row.map((x, c) => x + [0, 1, 2, 3, 4].reduce((sum, t) => sum + tap(i, c, t), 0)));
    });
    expectClose(outputs.y!, expected, { atol: 1e-6, rtol: 1e-6 });
  });

  it('converged in float64, is exact for a K that float32 cannot invert well', () => {
    const { q, k, v } = feeds(13);
    // Flat scores make the rows of K nearly alike.
    const given = { q: { ...q, data: q.data.map((x) => x / 7) }, k, v };
    const config = { landmarks: 3, pseudoInverse: 'converged' } as const;
    const expected = perHead(given.q, k, v, (q, k, v) => landmarkAttention(q, k, v, 3, inverse));
    const offBy = (graph: Graph) => {
      const { y } = interpret(graph, given);
      return Math.max(...y!.data.map((x, i) => Math.abs(x - expected.data[i]!)));
    };
    const shapes = Object.fromEntries(Object.entries(given).map(([name, { dims }]) => [name, ['float32', dims] as const]));
    const wide = traceBlock(nystrom({ ...config, float64: true }), shapes);
    const products = (graph: Graph) => graph.nodes.filter((n) => n.op.key === 'MatMul').map((n) => n.outputs[0]!.dtype);
    expect(new Set(products(wide))).toEqual(new Set(['float64']));
    expect(new Set(products(traceBlock(nystrom(config), shapes)))).toEqual(new Set(['float32']));
    expect(wide.outputs[0]!.value.dtype).toBe('float32');
    expect(offBy(wide)).toBeLessThan(1e-6);
  });

  it('adds a bias of keys to what their landmarks see', () => {
    const given = feeds(11);
    const bias = randomArray('bias', [2, 1, 1, 11]);
    const expected = perHead(given.q, given.k, given.v, (q, k, v, b) => {
      const [ql, kl] = [means(q, 3), means(k, 3)];
      const weighted = ql.map((row) => {
        const scores = k.map((key, j) => dot(row, key) / Math.sqrt(key.length) + bias.data[11 * b + j]!);
        return softmaxOf(scores, always);
      });
      return product(similar(q, kl), product(iterate(similar(ql, kl), 6), product(weighted, v)));
    });
    expectClose(run({ landmarks: 3 }, { ...given, attention_bias: bias }), expected, { atol: 1e-6, rtol: 1e-6 });
    const exact = perHead(given.q, given.k, given.v, (q, k, v, b) =>
      q.map((row) => {
        const scores = k.map((key, j) => dot(row, key) / Math.sqrt(key.length) + bias.data[11 * b + j]!);
        return product([softmaxOf(scores, always)], v)[0]!;
      }),
    );
    expectClose(run({ landmarks: 11 }, { ...given, attention_bias: bias }), exact, { atol: 1e-6, rtol: 1e-6 });
  });

  it('refuses what it cannot do', () => {
    const shapes = { q: ['float32', [2, 4, 9, 3]], k: ['float32', [2, 4, 9, 3]], v: ['float32', [2, 4, 9, 3]] } as const;
    expect(() => nystrom({ causal: true })).toThrow(/nystrom\.causal: landmarks average over positions/);
    expect(() => nystrom({ convolution: 4 })).toThrow(/expected an odd number, got 4/);
    expect(() => traceBlock(nystrom({}), { ...shapes, attention_mask: ['bool', [1, 1, 9, 9]] })).toThrow(
      /does not support the mask: dense/,
    );
    expect(() => traceBlock(nystrom({}), { ...shapes, attention_bias: ['float32', [1, 4, 9, 9]] })).toThrow(
      /got an attention bias/,
    );
    const more = { ...shapes, k: ['float32', [2, 4, 11, 3]], v: ['float32', [2, 4, 11, 3]] } as const;
    expect(() => traceBlock(nystrom({ convolution: 3, heads: 4 }), more)).toThrow(
      /nystrom\.convolution: .* expected as many keys as queries \(9\), got 11/,
    );
  });
});

describe('the gradient at symbolic sizes', () => {
  // More rows than landmarks, and fewer: both sides of the decision.
  it.each([11, 2])('of %i positions agrees with finite differences, for every input and parameter', (seq) => {
    const shapes = { q: [2, 2, 'seq', 3], k: [2, 2, 'seq', 3], v: [2, 2, 'seq', 5] } as const;
    const block = nystrom({ landmarks: 4, heads: 2, convolution: 3 });
    const g = new GraphBuilder();
    const inputs = Object.entries(shapes).map(([name, dims]) => g.input(name, 'float32', dims));
    const [q, k, v] = inputs as [Value, Value, Value];
    const y = block(q, k, v, contextOf(g, { q, k, v }, { layout: 'padded' }));
    const weights = g.input('weights', 'float32', y.dims);
    const loss = ops.reduceSum(ops.mul(y, weights), [0, 1, 2, 3], { keepDims: false });
    const parameters = [...namesOf(block).parameters.values()];
    const wrt = [...inputs, ...parameters.map((p) => g.param(p))];
    g.output('loss', loss);
    grad(loss, wrt).forEach((d, i) => {
      g.output(`${i}`, d);
    });
    const graph = g.finish();
    expect(graph.nodes.filter((n) => n.op.key === 'If')).toHaveLength(2);
    const at = (dims: readonly (number | string)[]) => dims.map((d) => (d === 'seq' ? seq : Number(d)));
    const values = wrt.map((x, i) => randomArray(`gradient ${i}`, at(x.dims)));
    const weighted = randomArray('gradient weights', at(y.dims));
    const run = (x: readonly NDArray[]) =>
      interpret(
        graph,
        { q: x[0]!, k: x[1]!, v: x[2]!, weights: weighted },
        { parameters: (p) => x[inputs.length + parameters.indexOf(p)]! },
      );
    const exact = run(values);
    const h = 1e-5;
    values.forEach((x, i) => {
      const direction = randomArray(`towards ${i}`, x.dims);
      const lossAt = (t: number) =>
        run(values.with(i, { ...x, data: x.data.map((e, j) => e + t * direction.data[j]!) })).loss!.data[0]!;
      const measured = (lossAt(h) - lossAt(-h)) / (2 * h);
      const slope = exact[i]!.data.reduce((sum, d, j) => sum + d * direction.data[j]!, 0);
      expect(Math.abs(slope)).toBeGreaterThan(1e-6);
      expect(Math.abs(slope - measured)).toBeLessThan(1e-6 * Math.max(1, Math.abs(measured)));
    });
  });
});

it('explain prints for which lengths each of its attentions runs', () => {
  const types = Object.fromEntries(['q', 'k', 'v'].map((name) => [name, ['float32', ['batch', 2, 'seq', 8]] as const]));
  const model = compile(nystrom({ landmarks: 32 }), { target: targets.cpu, inputs: types });
  const text = printExplanation(explain(model));
  const told = text.split('\n').filter((line) => line.startsWith('  Attend'));
  expect(told.length).toBeGreaterThan(1);
  expect(told.filter((line) => line.endsWith(', where seq <= 32'))).toHaveLength(1);
  expect(told.filter((line) => line.includes(', where seq > 32'))).toHaveLength(told.length - 1);
});
