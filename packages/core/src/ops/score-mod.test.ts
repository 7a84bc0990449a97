import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { backward } from '../autodiff/grad';
import { lookup } from '../expression/term';
import { interpret } from '../interpret/interpret';
import type { Node, Value } from '../ir/graph';
import { and, causal, causalFromTopLeft, none, printMask, slidingWindow } from '../mask/index';
import { pairsOf } from '../mask/predicate';
import { tensor } from '../tensor/convert';
import type { NDArray } from '../tensor/tensor';
import { expectClose } from '../testing';
import { array, attentionCall, feeder, randomArray } from '../testing/attention-calls';
import { placeFunctions, type RandomTerm } from '../testing/mask-functions';
import { attendOp, attendWithWeights } from './attend';
import { attendInChunks, type ChunkOptions } from './attend-chunked';
import type { AttendOpOptions, ModifiedAttrs } from './attend-options';
import { attendParts } from './attend-parts';
import { FlexAttend } from './flex-attend';
import { mapModifiers, printModifiers } from './modifiers';
import { type ScoreFunction, scoreMod, weightMod } from './score-mod';
import { GraphBuilder } from './vocabulary';

const lowest = Number.NEGATIVE_INFINITY;

describe('what options express becomes options', () => {
  function resolved(f: ScoreFunction, o: (g: GraphBuilder) => Partial<AttendOpOptions> = () => ({}), align?: 'topLeft') {
    const g = new GraphBuilder();
    const [q, k] = [g.input('q', 'float32', ['batch', 3, 'seq', 4]), g.input('k', 'float32', ['batch', 3, 'kv', 4])];
    const { op, attrs, operands } = attendOp(q, k, k, { mask: none, scoreMod: scoreMod(f, align && { align }), ...o(g) })
      .producer! as Node<ModifiedAttrs>;
    const { mask, scale, softcap, slots, modifiers } = attrs;
    return {
      op: op.key.replace('onnxformers.', ''),
      ...(mask.class !== none.class && { mask: printMask(mask) }),
      ...(scale !== undefined && { scale }),
      ...(softcap !== undefined && { softcap }),
      ...(slots.bias !== undefined && { bias: operands[slots.bias]!.dims.join() }),
      ...(modifiers && { modifiers: printModifiers(modifiers) }),
    };
  }
  const bias = (g: GraphBuilder) => ({ bias: g.input('bias', 'float32', ['batch', 3, 'seq', 'kv']) });
  type Resolution = readonly [string, ScoreFunction, object, ((g: GraphBuilder) => Partial<AttendOpOptions>)?];
  test.each([
    ['itself', (score) => score, {}],
    ['a scale', (score) => score.mul(2), { scale: 1 }],
    ['a scale of a scale', (score) => score.div(2).mul(3), { scale: 6 }, () => ({ scale: 4 })],
    ['a softcap', (score) => score.div(20).tanh().mul(20), { softcap: 20 }],
    ['a softcap of a scale', (score) => score.mul(2).div(5).tanh().mul(5), { scale: 1, softcap: 5 }],
    ['ALiBi', (score, _b, h, q, k) => score.sub(q.sub(k).mul(h.add(1).neg().exp())), { bias: '1,3,seq,kv' }],
    ['a relative position', (score, _b, _h, q, k) => q.sub(k).add(score), { bias: '1,1,seq,kv' }],
    ['a bias beside another', (score, b) => score.add(b), { bias: 'batch,3,seq,kv' }, bias],
    ['a softcap, then a bias', (score, _b, h) => score.tanh().add(h), { softcap: 1, bias: '1,3,seq,kv' }],
    ['a mask', (score, _b, _h, q, k) => q.ge(k).select(score, lowest), { mask: 'causal' }],
    ['a mask the other way round', (score, _b, _h, q, k) => q.lt(k).select(lowest, score), { mask: 'causal' }],
    ['a mask that is added', (score, _b, _h, q, k) => score.add(q.ge(k).select(0, lowest)), { mask: 'causal' }],
    [
      'masks within masks',
      (score, _b, _h, q, k) => q.ge(k).select(q.sub(k).lt(3).select(score.mul(2), lowest), lowest),
      { mask: 'causal, window(2 left, ∞ right)', scale: 1 },
    ],
    [
      'a mask beside the own',
      (score, _b, _h, q, k) => q.ge(k).select(score, lowest),
      { mask: 'window(2 left, ∞ right), causal' },
      () => ({ mask: slidingWindow({ left: 2 }) }),
    ],
    ['a negative scale', (score) => score.neg(), { op: 'FlexAttend', modifiers: 'scores -score' }],
    ['a square', (score) => score.mul(score), { op: 'FlexAttend', modifiers: 'scores score * score' }],
    ['a scale of each head', (score, _b, h) => score.mul(h.add(1)), { op: 'FlexAttend', modifiers: 'scores score * (h + 1)' }],
    [
      'a scale after a bias',
      (score) => score.mul(2),
      { op: 'FlexAttend', bias: 'batch,3,seq,kv', modifiers: 'scores score * 2' },
      bias,
    ],
    [
      'a softcap after another',
      (score) => score.tanh(),
      { op: 'FlexAttend', softcap: 2, modifiers: 'scores tanh(score)' },
      () => ({ softcap: 2 }),
    ],
    [
      'a mask of a square',
      (score, _b, _h, q, k) => q.ge(k).select(score.mul(score), lowest),
      { op: 'FlexAttend', mask: 'causal', modifiers: 'scores score * score' },
    ],
  ] satisfies readonly Resolution[])('%s', (...[, f, expected, o]: Resolution) =>
    expect(resolved(f, o)).toEqual({ op: 'Attend', ...expected }),
  );
  test('queries are counted from the top left', () =>
    expect(resolved((score, _b, _h, q, k) => q.ge(k).select(score, lowest), undefined, 'topLeft')).toEqual({
      op: 'Attend',
      mask: printMask(causalFromTopLeft),
    }));
});

const isFlex = (node: Node): node is Node<ModifiedAttrs> => node.op.key === FlexAttend.key;

describe('numbers', () => {
  const q4 = (name: string, ...dims: number[]): NDArray => randomArray(name, dims, 'float64');

  test('a random function of scores and weights is computed at each place', () => {
    const ops = { Attend: 0, FlexAttend: 0 };
    const call = attentionCall.chain((c) => {
      const heads = c.kvHeads * c.group;
      // A mask of documents and nothing else has no parts.
      const packed = [c.mask, ...c.mask.parts].find((m) => m.class.name === 'documents');
      const sequences = packed ? (packed.operands as { offsets: NDArray }).offsets.data.length - 1 : c.batch;
      const real = placeFunctions({ sequences, heads, queries: Math.max(c.seq, c.kvSeq), keys: c.kvSeq }, true).real;
      return fc.record({
        call: fc.constant(c),
        score: fc.option(real, { freq: 2 }),
        weight: fc.option(real, { freq: 2 }),
        align: fc.constantFrom({}, { align: 'topLeft' } as const),
      });
    });
    fc.assert(
      fc.property(call, fc.constantFrom(undefined, 2), ({ call: c, score, weight, align }, softcap) => {
        const { batch, kvHeads, group, seq, kvSeq } = c;
        const heads = kvHeads * group;
        const g = new GraphBuilder({ dtype: 'float64' });
        const feed = feeder(g);
        const [qa, ka, va] = [
          q4('q', batch, heads, seq, 3),
          q4('k', batch, kvHeads, kvSeq, 3),
          q4('v', batch, kvHeads, kvSeq, 2),
        ];
        const of =
          (made: RandomTerm): ScoreFunction =>
          (s, b, h, q, k) =>
            made.build({ score: s, b, h, q, k }) as never;
        const mods = {
          ...(score && { scoreMod: scoreMod(of(score), align) }),
          ...(weight && { weightMod: weightMod(of(weight), align) }),
        };
        const [q, k, v] = [feed.input(qa), feed.input(ka), feed.input(va)];
        const options = {
          mask: feed.mask(c.mask, [batch, heads, seq, kvSeq]),
          ...(c.queryOffset && { queryOffset: feed.input(c.queryOffset) }),
          ...(softcap !== undefined && { softcap }),
        };
        const { y, weights } = attendWithWeights(q, k, v, { ...options, ...mods });
        ops[y.producer!.op.key.replace('onnxformers.', '') as keyof typeof ops]++;
        g.output('y', y);
        g.output('weights', weights);
        if (isFlex(y.producer!) && seq > 0 && kvSeq > 0) {
          const { operands, attrs } = y.producer;
          const modifiers = mapModifiers(attrs.modifiers, (i) => operands[i]!);
          const chunks = { scale: attrs.scale, softcap: attrs.softcap, modifiers, rows: 2, keysName: 'keys_of_chunk' };
          g.output('chunked', attendInChunks(q, k, v, { ...attendParts(operands, attrs), ...chunks } as ChunkOptions));
        }
        const graph = g.finish();
        const oracle = interpret(graph, feed.feeds);
        const definition = interpret(graph, feed.feeds, { prefer: 'decompose' });
        for (const name of ['y', 'weights']) expectClose(definition[name]!, oracle[name]!, { atol: 1e-12, rtol: 1e-12 }, name);
        if (definition.chunked) expectClose(definition.chunked, oracle.y!, { atol: 1e-12, rtol: 1e-12 }, 'chunks');
        // In plain loops.
        const pairOf = pairsOf(c.mask, c, c.queryOffset);
        const expected: number[] = [];
        for (let b = 0; b < batch; b++)
          for (let h = 0; h < heads; h++)
            for (let i = 0; i < seq; i++) {
              const places = Array.from({ length: kvSeq }, (_, j) => {
                const pair = pairOf(b, h, i, j);
                if (!pair || !c.mask.class.definition.allows(c.mask, pair)) return undefined;
                return { b: pair.to.sequence, h, q: align.align ? pair.from.index : pair.from.position, k: pair.to.position };
              });
              const scores = places.map((at, j) => {
                if (!at) return lowest;
                const kvHead = Math.floor(h / group);
                let s = 0;
                for (let d = 0; d < 3; d++)
                  s += qa.data[((b * heads + h) * seq + i) * 3 + d]! * ka.data[((b * kvHeads + kvHead) * kvSeq + j) * 3 + d]!;
                s /= Math.sqrt(3);
                if (softcap !== undefined) s = softcap * Math.tanh(s / softcap);
                return score ? score.value({ ...at, score: s }) : s;
              });
              const top = Math.max(...scores);
              const exps = scores.map((s) => (top === lowest ? 0 : Math.exp(s - top)));
              const total = exps.reduce((a, x) => a + x, 0);
              exps.forEach((x, j) => {
                const share = total === 0 ? 0 : x / total;
                expected.push(weight && places[j] && total > 0 ? weight.value({ ...places[j], score: share }) : share);
              });
            }
        expectClose(
          oracle.weights!,
          { ...oracle.weights!, data: Float64Array.from(expected) },
          { atol: 1e-9, rtol: 1e-9 },
          'loops',
        );
      }),
      { numRuns: 250 },
    );
    expect(ops.Attend).toBeGreaterThan(20);
    expect(ops.FlexAttend).toBeGreaterThan(20);
  });
});

describe('in a graph', () => {
  const [q, k, v] = [
    randomArray('q', [2, 3, 5, 4], 'float64'),
    randomArray('k', [2, 3, 7, 4], 'float64'),
    randomArray('v', [2, 3, 7, 2], 'float64'),
  ];
  const computed = (o: (input: (x: NDArray) => Value) => AttendOpOptions) => {
    const g = new GraphBuilder({ dtype: 'float64' });
    const feed = feeder(g);
    g.output(
      'y',
      attendOp(
        feed.input(q),
        feed.input(k),
        feed.input(v),
        o((x) => feed.input(x)),
      ),
    );
    const graph = g.finish();
    const [oracle, definition] = (['evaluate', 'decompose'] as const).map(
      (prefer) => interpret(graph, feed.feeds, { prefer }).y!,
    );
    expectClose(definition!, oracle!, { atol: 1e-12, rtol: 1e-12 });
    return oracle!;
  };
  test('a recognised function is the same as an unrecognised one', () => {
    // A product with a table of ones is not recognised.
    const one = tensor('float64', [3], [1, 1, 1]);
    for (const f of [
      (score) => score.mul(2),
      (score) => score.div(3).tanh().mul(3),
      (score, _b, h, q, k) => score.sub(q.sub(k).mul(h.add(1)).div(4)),
      (score, b, _h, q, k) => q.ge(k).select(score.mul(0.5), lowest).add(b),
    ] as ScoreFunction[]) {
      const known = computed(() => ({ mask: none, scoreMod: scoreMod(f) }));
      const other = computed(() => ({
        mask: none,
        scoreMod: scoreMod((s, b, h, q, k) => f(s.mul(lookup(one, h)) as never, b, h, q, k)),
      }));
      expectClose(other, known, { atol: 1e-6, rtol: 1e-6 });
    }
  });
  test('numbers by hand', () => {
    // Scores 0 and ln 3, squared: weights 1 and exp(ln² 3).
    const g = new GraphBuilder({ dtype: 'float64' });
    const feed = feeder(g);
    const row = (...data: number[]) => feed.input(array('float64', [1, 1, data.length, 1], data));
    const [a, b, c] = [row(1), row(0, Math.log(3)), row(0, 1)];
    g.output('y', attendOp(a, b, c, { mask: none, scoreMod: scoreMod((s) => s.mul(s)) }));
    g.output('half', attendOp(a, b, c, { mask: none, weightMod: weightMod((w) => w.mul(0.5)) }));
    g.output('hidden', attendOp(a, b, c, { mask: causal, weightMod: weightMod((w) => w.add(1)) }));
    const out = interpret(g.finish(), feed.feeds);
    const squared = Math.exp(Math.log(3) ** 2);
    expectClose(out.y!, array('float64', [1, 1, 1, 1], [squared / (1 + squared)]), { atol: 1e-15 });
    expectClose(out.half!, array('float64', [1, 1, 1, 1], [3 / 8]), { atol: 1e-15 });
    expectClose(out.hidden!, array('float64', [1, 1, 1, 1], [7 / 4]), { atol: 1e-15 });
  });
  test('gradients reach the operands and the tables', () => {
    const gate = randomArray('gate', [3], 'float64');
    const bend = (x: Value, input: (x: NDArray) => Value) =>
      attendOp(x, input(k), input(v), {
        mask: and(causal, slidingWindow({ left: 3 })),
        scoreMod: scoreMod((s, _b, h) =>
          s
            .mul(s)
            .mul(lookup(input(gate), h))
            .tanh(),
        ),
      });
    const loss = (moved: NDArray, which: NDArray): number => {
      const g = new GraphBuilder({ dtype: 'float64' });
      const feed = feeder(g);
      const y = bend(feed.input(q), (x) => feed.input(x));
      g.output('y', y);
      const feeds = { ...feed.feeds };
      for (const [name, x] of Object.entries(feeds)) if (x === which) feeds[name] = moved;
      return interpret(g.finish(), feeds).y!.data.reduce((sum, x, i) => sum + x * Math.sin(i), 0);
    };
    const g = new GraphBuilder({ dtype: 'float64' });
    const feed = feeder(g);
    const y = bend(feed.input(q), (x) => feed.input(x));
    const dims = y.dims as number[];
    const seed = array(
      'float64',
      dims,
      Array.from({ length: dims.reduce((a, b) => a * b) }, (_, i) => Math.sin(i)),
    );
    const grads = backward([y], [feed.input(seed)], [feed.input(q), feed.input(gate)]);
    grads.forEach((grad, i) => {
      g.output(`grad${i}`, grad!);
    });
    const out = interpret(g.finish(), feed.feeds);
    for (const [i, x] of [q, gate].entries())
      for (const at of [0, 1, x.data.length - 1]) {
        const step = (by: number): number => loss({ ...x, data: x.data.map((value, j) => (j === at ? value + by : value)) }, x);
        const slope = (step(1e-5) - step(-1e-5)) / 2e-5;
        expect(Math.abs(out[`grad${i}`]!.data[at]! - slope)).toBeLessThan(1e-8);
      }
  });
});

test.each<readonly [string, () => unknown]>([
  [
    'scoreMod: −∞ has no meaning here; expected a branch of select, which may be added to a score, got an operand of mul',
    () => scoreMod((s, _b, _h, q, k) => q.ge(k).select(s, lowest).mul(2)),
  ],
  ['weightMod: −∞ has no meaning here; expected finite weights', () => weightMod((w, _b, _h, q, k) => q.ge(k).select(w, lowest))],
  [
    'scoreMod: the function returns something else; expected an expression of numbers, got a condition',
    () => scoreMod(((s: { gt(n: number): never }) => s.gt(1)) as never),
  ],
  ['a condition is not a part of the result', () => scoreMod((s, _b, _h, q, k) => (q.ge(k) ? s : s.mul(2)))],
  [
    'onnxformers.FlexAttend: axis 0 of table0 does not fit the index h; expected 3, got float32[2]',
    () => {
      const g = new GraphBuilder();
      const x = g.input('x', 'float32', ['batch', 3, 'seq', 4]);
      const table = g.input('table', 'float32', [2]);
      return attendOp(x, x, x, { mask: none, scoreMod: scoreMod((s, _b, h) => s.mul(lookup(table, h))) });
    },
  ],
  [
    'scoreMod: axis 0 of table0 does not fit the index h; expected 3, got float32[2]',
    () => {
      const g = new GraphBuilder();
      const x = g.input('x', 'float32', ['batch', 3, 'seq', 4]);
      const table = g.input('table', 'float32', [2]);
      return attendOp(x, x, x, { mask: none, scoreMod: scoreMod((s, _b, h) => s.add(lookup(table, h))) });
    },
  ],
])('%s', (message, attempt) => expect(attempt).toThrow(message));
