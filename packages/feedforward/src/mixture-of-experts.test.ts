import { auxiliaryLoss, ConfigError, module, type NDArray, namesOf, type SequenceContext, type Value } from '@onnxformers/core';
import { expectClose, randomArray, runBlock, traceBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { squaredRelu } from './activations/squared-relu';
import { mixtureOfExperts } from './mixture-of-experts';
import { mapRow } from './plain.test-helper';

const squared = (v: number) => Math.max(v, 0) ** 2;
const [batch, seq, dim, hidden] = [3, 5, 7, 11];

type Weights = Readonly<Record<string, NDArray>>;

/** The output of one expert for a row. */
const processed = (row: readonly number[], i: number, p: Weights): number[] =>
  mapRow(
    mapRow(row, p[`experts.${i}.up.weight`]!, p[`experts.${i}.up.bias`]).map(squared),
    p[`experts.${i}.down.weight`]!,
    p[`experts.${i}.down.bias`],
  );

function softmax(logits: readonly number[]): number[] {
  const powers = logits.map((x) => Math.exp(x - Math.max(...logits)));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((x) => x / sum);
}
const largest = (xs: readonly number[]): number => xs.indexOf(Math.max(...xs));

interface Plain {
  readonly experts: number;
  readonly count: number;
  readonly limit?: number;
  readonly noise?: NDArray;
  readonly real?: (b: number, s: number) => boolean;
}

/** Tokens in the order of positions: routing, slots and weighted sums in plain loops. */
function plain(x: NDArray, p: Weights, { experts, count, limit, noise, real = () => true }: Plain) {
  const tokens = Array.from({ length: batch * seq }, (_, t) => ({ b: t % batch, s: Math.floor(t / batch) }));
  const routed = tokens
    .filter(({ b, s }) => real(b, s))
    .map(({ b, s }) => {
      const at = (b * seq + s) * dim;
      const row = Array.from(x.data.subarray(at, at + dim));
      const logits = mapRow(row, p['router.weight']!, undefined);
      const gumbel = (i: number) => (noise ? -Math.log(-Math.log(noise.data[(b * seq + s) * experts + i]!)) : 0);
      const first = largest(logits);
      const second = largest(logits.map((l, i) => (i === first ? Number.NEGATIVE_INFINITY : l + gumbel(i))));
      return { b, s, row, gates: softmax(logits), chosen: [first, second].slice(0, count) };
    });
  const used = new Array(experts).fill(0);
  const kept = Array.from({ length: count }, (_, k) => routed.map(({ chosen }) => used[chosen[k]!]++ < (limit ?? Infinity)));
  const data = new Float64Array(batch * seq * dim);
  routed.forEach(({ b, s, row, gates, chosen }, t) => {
    const weights = chosen.map((i, k) => (kept[k]![t] ? gates[i]! : 0));
    const sum =
      count === 1
        ? 1
        : Math.max(
            weights.reduce((a, c) => a + c),
            2 ** -23,
          );
    chosen.forEach((i, k) => {
      processed(row, i, p).forEach((v, c) => {
        data[(b * seq + s) * dim + c]! += (weights[k]! / sum) * v;
      });
    });
  });
  const mean = (f: (t: (typeof routed)[number]) => number) => routed.reduce((sum, t) => sum + f(t), 0) / routed.length;
  const terms = Array.from({ length: experts }, (_, i) => mean((t) => t.gates[i]!) * mean((t) => Number(t.chosen[0] === i)));
  const y: NDArray = { dtype: 'float32', dims: [batch, seq, dim], data };
  return { y, loss: terms.reduce((a, c) => a + c) / experts, dropped: kept.flat().filter((k) => !k).length };
}

const block = (o: Omit<Parameters<typeof mixtureOfExperts>[0], 'dim'>) =>
  mixtureOfExperts({ dim, hidden, activation: squaredRelu({}), ...o });
/** The block with its auxiliary loss as a second output. */
function withLoss(inner: ReturnType<typeof mixtureOfExperts>) {
  return module({ inner }, ({ x }: Readonly<Record<string, Value>>, ctx: SequenceContext) => {
    const y = inner(x!, ctx);
    return { y, loss: auxiliaryLoss(ctx)! };
  });
}
const own = (p: Weights): Weights => Object.fromEntries(Object.entries(p).map(([name, v]) => [name.replace(/^inner\./, ''), v]));

describe('mixture_of_experts', () => {
  const x = randomArray('x', [batch, seq, dim]);

  it.each([
    { gate: 'top_1', count: 1, experts: 3 },
    { gate: 'top_2', count: 2, experts: 5 },
  ] as const)('without a limit: $gate agrees with plain loops, and its auxiliary loss', ({ gate, count, experts }) => {
    const { outputs, parameters } = runBlock(withLoss(block({ gate, experts })), { x });
    const expected = plain(x, own(parameters), { experts, count });
    expectClose(outputs.y!, expected.y);
    expect(outputs.loss!.data[0]).toBeCloseTo(expected.loss, 12);
  });

  it.each([
    { gate: 'top_1', count: 1, experts: 3, capacity: 0.5, limit: 3 },
    { gate: 'top_2', count: 2, experts: 5, capacity: 1, limit: 3 },
    { gate: 'top_2', count: 2, experts: 2, capacity: 1.25, limit: 10 },
  ] as const)('drops what is beyond the capacity: %o', ({ gate, count, experts, capacity, limit }) => {
    const { outputs, parameters } = runBlock(block({ gate, experts, capacity }), { x });
    const expected = plain(x, parameters, { experts, count, limit });
    expectClose(outputs.y!, expected.y);
    expect(expected.dropped).toBeGreaterThan(0);
  });

  it('gives padding no slot, and computes the capacity without it', () => {
    const lengths: NDArray = { dtype: 'int64', dims: [batch], data: Float64Array.of(2, 5, 1) };
    const { outputs, parameters } = runBlock(withLoss(block({ experts: 3, capacity: 1 })), { x, lengths });
    const real = (b: number, s: number) => s < lengths.data[b]!;
    const expected = plain(x, own(parameters), { experts: 3, count: 2, limit: Math.ceil(8 / 3), real });
    expect(expected.dropped).toBeGreaterThan(0);
    const kept = (y: NDArray) => Array.from(y.data).filter((_, i) => real(Math.floor(i / dim / seq), Math.floor(i / dim) % seq));
    expect(kept(outputs.y!).map((v) => v.toFixed(9))).toEqual(kept(expected.y).map((v) => v.toFixed(9)));
    expect(outputs.loss!.data[0]).toBeCloseTo(expected.loss, 12);
  });

  it('samples the second expert in training, and with compat always', () => {
    const noise = randomArray('noise', [batch, seq, 5]);
    const uniform = { ...noise, data: noise.data.map((v) => Math.min(Math.max(Math.abs(v) % 1, 1e-3), 0.999)) };
    const expectedFor = (p: Weights) => plain(x, p, { experts: 5, count: 2, noise: uniform }).y;
    const train = runBlock(block({ experts: 5 }), { x }, { training: true, draws: { gumbel: uniform } });
    expectClose(train.outputs.y!, expectedFor(train.parameters));
    const always = runBlock(block({ experts: 5, compat: 'xformers' }), { x }, { draws: { gumbel: uniform } });
    expectClose(always.outputs.y!, expectedFor(always.parameters));
    const never = plain(x, train.parameters, { experts: 5, count: 2 }).y;
    expect(Array.from(never.data)).not.toEqual(Array.from(expectedFor(train.parameters).data));
    const silent = traceBlock(block({ experts: 5, noise: false }), { x: ['float32', [2, 3, dim]] }, { training: true });
    expect(silent.inputs).toHaveLength(1);
  });

  it('round_robin gives the tokens of each position to the experts in turn', () => {
    const { outputs, parameters } = runBlock(block({ experts: 2, gate: 'round_robin' }), { x });
    const data = new Float64Array(batch * seq * dim);
    for (let b = 0; b < batch; b++)
      for (let s = 0; s < seq; s++) {
        const at = (b * seq + s) * dim;
        data.set(processed(Array.from(x.data.subarray(at, at + dim)), (s * batch + b) % 2, parameters), at);
      }
    expectClose(outputs.y!, { ...x, data });
  });

  it('names its parameters by expert', () => {
    const names = [...namesOf(block({ experts: 2 })).parameters].map(([name, p]) => `${name} ${p.dims}`);
    expect(names).toEqual([
      'router.weight 2,7',
      'experts.0.up.weight 11,7',
      'experts.0.up.bias 11',
      'experts.0.down.weight 7,11',
      'experts.0.down.bias 7',
      'experts.1.up.weight 11,7',
      'experts.1.up.bias 11',
      'experts.1.down.weight 7,11',
      'experts.1.down.bias 7',
    ]);
  });

  it.each([
    [{ experts: 1 }, /top_2 chooses two different experts/],
    [{ experts: 3, gate: 'round_robin', capacity: 2 }, /same number of tokens/],
    [{ experts: 3, capacity: Math.PI }, /multiple of 1\/1000/],
  ] as const)('refuses %o', (o, message) => {
    expect(() => block(o)).toThrow(ConfigError);
    expect(() => block(o)).toThrow(message);
  });

  it.each([
    { experts: 3, capacity: 1 },
    { experts: 3, gate: 'round_robin' },
  ] as const)('refuses a packed batch: %o', (o) => {
    const inputs = { x: ['float32', ['tokens', dim]], lengths: ['int64', ['batch']] } as const;
    expect(() => traceBlock(block(o), inputs, { layout: 'packed' })).toThrow(/packed|documents/);
    expect(traceBlock(block({ experts: 3 }), inputs, { layout: 'packed' }).outputs[0]!.value.dims).toEqual(['tokens', dim]);
  });
});
