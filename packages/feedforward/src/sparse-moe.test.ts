import { auxiliaryLoss, ConfigError, module, type NDArray, namesOf, type SequenceContext, type Value } from '@onnxformers/core';
import { expectClose, randomArray, runBlock, traceBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { glu } from './glu';
import { mapRow } from './plain.test-helper';
import { sparseMoe } from './sparse-moe';

const [batch, seq, dim, hidden] = [3, 5, 7, 11];
type Options = Omit<Parameters<typeof sparseMoe>[0], 'dim' | 'shared'>;
type Weights = Readonly<Record<string, NDArray>>;
const x = randomArray('x', [batch, seq, dim]);
const rows = Array.from({ length: batch * seq }, (_, t) => Array.from(x.data.subarray(t * dim, (t + 1) * dim)));
const sigmoid = (v: number) => 1 / (1 + Math.exp(-v));
const sum = (xs: readonly number[]) => xs.reduce((a, b) => a + b, 0);
function erf(v: number): number {
  // Its power series, which converges for the small numbers here.
  let [term, total] = [v, v];
  for (let n = 1; n < 60; n++) {
    term *= (-v * v) / n;
    total += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * total;
}
const activations: Readonly<Record<string, (v: number) => number>> = {
  silu: (v) => v * sigmoid(v),
  quick_gelu: (v) => v * sigmoid(1.702 * v),
  gelu: (v) => (v / 2) * (1 + erf(v / Math.SQRT2)),
  gelu_tanh: (v) => (v / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3))),
  relu: (v) => Math.max(v, 0),
  squared_relu: (v) => Math.max(v, 0) ** 2,
};
const largest = (xs: readonly number[], count: number): number[] =>
  xs
    .map((v, i) => [v, i] as const)
    .sort((a, b) => b[0] - a[0])
    .slice(0, count)
    .map(([, i]) => i);

/** Scores of all experts, and the weights of those that are chosen, for one row. */
function routed(row: number[], p: Weights, o: Options) {
  const { experts, topK = 2, scores = 'softmax', groups = 1, topGroups = groups, normalize = true, scale = 1 } = o;
  const logits = mapRow(row, p['router.weight']!, p['router.bias']);
  const powers = logits.map((l) => Math.exp(l));
  const all = scores === 'softmax' ? powers.map((v) => v / sum(powers)) : logits.map(sigmoid);
  const order = all.map((s, e) => s + (p['router.correction']?.data[e] ?? 0));
  const size = experts / groups;
  const ofGroup = Array.from({ length: groups }, (_, g) => order.slice(g * size, (g + 1) * size));
  const best = largest(
    ofGroup.map((group) => sum(largest(group, 2).map((i) => group[i]!))),
    topGroups,
  );
  const chosen = largest(
    order.map((v, e) => (best.includes(Math.floor(e / size)) ? v : Number.NEGATIVE_INFINITY)),
    topK,
  );
  const total = normalize ? sum(chosen.map((e) => all[e]!)) : 1;
  return { all, chosen: chosen.map((e) => [e, (scale * all[e]!) / total] as const) };
}

function expertOf(row: number[], e: number, p: Weights, o: Options): number[] {
  const { gated = true, activation = 'silu', limit = Number.POSITIVE_INFINITY, upOffset = 0 } = o;
  const map = (name: string, v: number[]) => mapRow(v, p[`experts.${e}.${name}.weight`]!, p[`experts.${e}.${name}.bias`]);
  const f = activations[activation]!;
  const up = map('up_proj', row);
  if (!gated) return map('down_proj', up.map(f));
  const gate = map('gate_proj', row);
  const raised = up.map((v) => Math.min(Math.max(v, -limit), limit) + upOffset);
  return map(
    'down_proj',
    gate.map((v, i) => f(Math.min(v, limit)) * raised[i]!),
  );
}

function plain(p: Weights, o: Options): NDArray {
  const data = rows.flatMap((row) => {
    const results = routed(row, p, o).chosen.map(([e, w]) => expertOf(row, e, p, o).map((v) => w * v));
    return Array.from({ length: dim }, (_, c) => sum(results.map((r) => r[c]!)));
  });
  return { ...x, data: Float64Array.from(data) };
}

describe('sparse_moe', () => {
  it.each<Options>([
    { experts: 3 },
    { experts: 5, topK: 3, normalize: false },
    { experts: 5, topK: 5, scale: 0.5 },
    { experts: 5, topK: 2, scores: 'sigmoid' },
    { experts: 6, topK: 2, scores: 'sigmoid', correctionBias: true, scale: 2.5 },
    { experts: 6, topK: 3, scores: 'sigmoid', correctionBias: true, groups: 3, topGroups: 2, normalize: false },
    { experts: 5, topK: 2, groups: 5, topGroups: 3 },
    { experts: 21, topK: 2, groups: 7, topGroups: 1 },
    { experts: 10, topK: 3, scores: 'sigmoid', groups: 5, topGroups: 2 },
    { experts: 5, routerBias: true, bias: true, activation: 'quick_gelu', limit: 0.5, upOffset: 1 },
    { experts: 3, topK: 1, activation: 'gelu_tanh', bias: true },
    { experts: 3, gated: false, activation: 'gelu', bias: true },
    { experts: 3, gated: false, activation: 'relu' },
    { experts: 3, gated: false, activation: 'squared_relu' },
  ])('agrees with plain loops: %o', (o) => {
    const { outputs, parameters } = runBlock(sparseMoe({ dim, hidden, ...o }), { x });
    // Numbers of the config are rounded to float32.
    expectClose(outputs.y!, plain(parameters, o), { rtol: 1e-6, atol: 1e-6 });
  });

  it.each([false, true])('adds a feed-forward that all tokens use; with a gate: %s', (sharedGate) => {
    const o = { experts: 3, hidden };
    const { outputs, parameters: p } = runBlock(sparseMoe({ dim, ...o, shared: glu({ dim, hidden: 3 }), sharedGate }), { x });
    const routedPart = plain(p, o);
    const data = rows.flatMap((row, t) => {
      const map = (name: string, v: number[]) => mapRow(v, p[`shared.${name}.weight`]!, p[`shared.${name}.bias`]);
      const up = map('up_proj', row);
      const result = map(
        'down_proj',
        map('gate_proj', row).map((v, i) => activations.silu!(v) * up[i]!),
      );
      const gate = sharedGate ? sigmoid(mapRow(row, p['shared_gate.weight']!, undefined)[0]!) : 1;
      return result.map((v, c) => routedPart.data[t * dim + c]! + gate * v);
    });
    expectClose(outputs.y!, { ...x, data: Float64Array.from(data) });
  });

  it('has an auxiliary loss of the tokens that are not padding', () => {
    const o: Options = { experts: 5, topK: 2, scores: 'sigmoid' };
    const inner = sparseMoe({ dim, hidden, ...o });
    const withLoss = module({ inner }, (inputs: Readonly<Record<string, Value>>, ctx: SequenceContext) => {
      const y = inner(inputs.x!, ctx);
      return { y, loss: auxiliaryLoss(ctx)! };
    });
    const lengths: NDArray = { dtype: 'int64', dims: [batch], data: Float64Array.of(2, 5, 1) };
    const { outputs, parameters } = runBlock(withLoss, { x, lengths });
    const p = Object.fromEntries(Object.entries(parameters).map(([name, v]) => [name.replace(/^inner\./, ''), v]));
    const real = rows.filter((_, t) => t % seq < lengths.data[Math.floor(t / seq)]!).map((row) => routed(row, p, o));
    const terms = Array.from({ length: 5 }, (_, e) => {
      const share = sum(real.map(({ chosen }) => Number(chosen.some(([i]) => i === e)))) / real.length;
      return share * (sum(real.map(({ all }) => all[e]! / sum(all))) / real.length);
    });
    expect(outputs.loss!.data[0]).toBeCloseTo(5 * sum(terms), 10);
  });

  it('takes packed rows, and any rank', () => {
    const packed = traceBlock(
      sparseMoe({ dim, experts: 3 }),
      { x: ['float32', ['tokens', dim]], lengths: ['int64', ['batch']] },
      { layout: 'packed' },
    );
    expect(packed.outputs[0]!.value.dims).toEqual(['tokens', dim]);
  });

  it('names its parameters by expert', () => {
    const names = [...namesOf(sparseMoe({ dim, hidden, experts: 2, correctionBias: true })).parameters].map(
      ([name, p]) => `${name} ${p.dims}`,
    );
    expect(names).toEqual([
      'router.weight 2,7',
      'router.correction 2',
      'experts.0.gate_proj.weight 11,7',
      'experts.0.up_proj.weight 11,7',
      'experts.0.down_proj.weight 7,11',
      'experts.1.gate_proj.weight 11,7',
      'experts.1.up_proj.weight 11,7',
      'experts.1.down_proj.weight 7,11',
    ]);
  });

  it.each<[Options, RegExp]>([
    [{ experts: 3, topK: 4 }, /topK: a token cannot use more experts than there are in its groups; expected at most 3, got 4/],
    [{ experts: 6, groups: 4 }, /groups: .* expected a divisor of 6, got 4/],
    [{ experts: 6, groups: 3, topGroups: 4 }, /topGroups: .* expected at most 3, got 4/],
    [{ experts: 6, groups: 3, topGroups: 1, topK: 3 }, /topK: .* expected at most 2, got 3/],
    [{ experts: 3, sharedGate: true }, /sharedGate: there is no shared feed-forward/],
    [{ experts: 3, gated: false, upOffset: 1 }, /upOffset: only gated experts/],
    [{ experts: 3, gated: false, limit: 7 }, /limit: only gated experts/],
  ])('refuses %o', (o, message) => {
    expect(() => sparseMoe({ dim, ...o })).toThrow(ConfigError);
    expect(() => sparseMoe({ dim, ...o })).toThrow(message);
  });
});
