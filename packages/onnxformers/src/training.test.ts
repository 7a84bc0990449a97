// Training as a user writes it: loss, gradients and Adam in one graph, parameters and moments in as inputs and out as outputs.
import { readFileSync } from 'node:fs';
import {
  compile,
  createRunner,
  grad,
  initialize,
  module,
  namesOf,
  type Ort,
  type SequenceContext,
  type Tensor,
  targets,
  tensor,
  toArray,
  type Value,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { expectClose } from '@onnxformers/core/testing';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { zoo } from './index';

type Inputs = Readonly<Record<string, Value>>;
type State = Readonly<Record<string, Tensor>>;
const [beta1, beta2, eps] = [0.9, 0.99, 1e-8];
const [batch, seq] = [5, 23];

const lm = zoo.build('model', {
  name: 'causal_lm',
  dim: 24,
  vocabSize: 128,
  embedding: 'token',
  stack: {
    name: 'stack',
    depth: 2,
    layers: {
      name: 'pre_norm',
      mixer: { name: 'multi_head', heads: 3, rotaryEmbedding: 'rotary' },
      feedforward: { name: 'glu', hidden: 29 },
    },
    norm: 'rms_norm',
  },
});
const parameters = [...namesOf(lm).parameters];

function lossAndGradients(given: Inputs, ctx: SequenceContext) {
  const { logits } = lm.forward(given, ctx);
  const picked = ops.gatherElements(ops.logSoftmax(logits!), ops.unsqueeze(given.labels!, [2]), 2);
  const loss = ops.neg(ops.reduceMean(picked, [0, 1, 2], { keepDims: false }));
  const weights = parameters.map(([, p]) => loss.graph.root.storedParam(p));
  return { loss, weights, gradients: grad(loss, weights) };
}

const inputs = { ids: ['int64', ['batch', 'seq']], labels: ['int64', ['batch', 'seq']] } as const;
const step = module(lm.children, (given: Inputs, ctx: SequenceContext): Record<string, Value> => {
  const { loss, weights, gradients } = lossAndGradients(given, ctx);
  const next = parameters.flatMap(([name], i) => {
    const dw = gradients[i]!;
    const m = ops.add(ops.mul(given[`m.${name}`]!, beta1), ops.mul(dw, 1 - beta1));
    const v = ops.add(ops.mul(given[`v.${name}`]!, beta2), ops.mul(ops.mul(dw, dw), 1 - beta2));
    const w = ops.sub(weights[i]!, ops.mul(given.rate!, ops.div(m, ops.add(ops.sqrt(v), eps))));
    return Object.entries({ [name]: w, [`m.${name}`]: m, [`v.${name}`]: v });
  });
  return { loss, ...Object.fromEntries(next.map(([name, value]) => [`next.${name}`, value])) };
});
const gradientsOnly = module(lm.children, (given: Inputs, ctx: SequenceContext) => {
  const { loss, gradients } = lossAndGradients(given, ctx);
  return { loss, ...Object.fromEntries(parameters.map(([name], i) => [`gradient.${name}`, gradients[i]!])) };
});
const moments = parameters.flatMap(([name, { dims }]) =>
  ['m', 'v'].map((which) => [`${which}.${name}`, ['float32', dims]] as const),
);
const compiled = compile(step, {
  target: targets.cpu,
  inputs: { ...inputs, rate: ['float32', []], ...Object.fromEntries(moments) },
  parameters: () => 'input',
});

const text = [...readFileSync(new URL('../../../LICENSE', import.meta.url))].filter((byte) => byte < 128);
const windows = (t: number, shift: 0 | 1): Tensor => {
  const from = Array.from({ length: batch }, (_, row) => (row * 131 + t * 17) % (text.length - seq - 1));
  return tensor(
    'int64',
    [batch, seq],
    from.flatMap((at) => text.slice(at + shift, at + shift + seq)),
  );
};
const feedsOf = (t: number) => ({ ids: windows(t, 0), labels: windows(t, 1) });
const rateOf = (t: number): number => (4e-3 * Math.sqrt(1 - beta2 ** t)) / (1 - beta1 ** t);

async function firstState(): Promise<State> {
  const state: Record<string, Tensor> = {};
  for (const [name, lazy] of initialize(lm, { seed: 3 })) {
    state[name] = await lazy.load();
    for (const which of ['m', 'v'])
      state[`${which}.${name}`] = tensor('float32', lazy.dims, Array(state[name].data.length).fill(0));
  }
  return state;
}

/** Adam in plain numbers. */
function plainStep(state: State, gradients: State, t: number): Record<string, number[]> {
  const next: Record<string, number[]> = {};
  for (const [name] of parameters) {
    const [w, m, v, dw] = [state[name], state[`m.${name}`], state[`v.${name}`], gradients[`gradient.${name}`]].map(
      (x) => toArray(x!).data,
    );
    const first = Array.from(m!, (x, i) => beta1 * x + (1 - beta1) * dw![i]!);
    const second = Array.from(v!, (x, i) => beta2 * x + (1 - beta2) * dw![i]! ** 2);
    next[name] = Array.from(w!, (x, i) => x - (rateOf(t) * first[i]!) / (Math.sqrt(second[i]!) + eps));
    next[`m.${name}`] = first;
    next[`v.${name}`] = second;
  }
  return next;
}

describe('training a language model on text', () => {
  it('takes the steps of Adam, and the loss falls to what the trained model has', async () => {
    const run = await createRunner(compiled, ort as unknown as Ort);
    const gradientRun = await createRunner(
      compile(gradientsOnly, { target: targets.cpu, inputs, parameters: () => 'input' }),
      ort as unknown as Ort,
    );
    let state = await firstState();
    const losses: number[] = [];
    for (let t = 1; t <= 160; t++) {
      const { loss, ...outputs } = await run({ ...feedsOf(t), rate: tensor('float32', [], [rateOf(t)]), ...state });
      losses.push(Number(loss!.data[0]));
      const next = Object.fromEntries(Object.entries(outputs).map(([name, value]) => [name.slice('next.'.length), value]));
      if (t % 53 === 1) {
        const weights = Object.fromEntries(parameters.map(([name]) => [name, state[name]!]));
        const expected = plainStep(state, await gradientRun({ ...feedsOf(t), ...weights }), t);
        for (const [name, value] of Object.entries(next))
          expectClose(
            toArray(value),
            { dtype: 'float32', dims: value.dims, data: Float64Array.from(expected[name]!) },
            { rtol: 1e-4, atol: 1e-6 },
            `${name}, step ${t}`,
          );
      }
      state = next;
    }
    await Promise.all([run.dispose(), gradientRun.dispose()]);
    expect(losses[0]).toBeGreaterThan(Math.log(128) - 1);
    expect(losses.at(-1)).toBeLessThan(losses[0]! / 2);

    const trained = compile(lm, {
      target: targets.cpu,
      inputs: { ids: inputs.ids },
      weights: new Map(parameters.map(([name]) => [name, state[name]!])),
    });
    const ready = await createRunner(trained, ort as unknown as Ort);
    const { logits } = await ready({ ids: windows(160, 0) });
    await ready.dispose();
    const [rows, labels] = [toArray(logits!).data, toArray(windows(160, 1)).data];
    const surprise = labels.reduce((sum, label, i) => {
      const row = rows.slice(i * 128, (i + 1) * 128);
      return sum - row[label]! + Math.log(row.reduce((total, x) => total + Math.exp(x), 0));
    }, 0);
    // The same windows once more, one step later.
    expect(surprise / labels.length).toBeLessThan(losses.at(-1)!);
  });

  it('outputs and inputs cannot have the names of parameters', () => {
    const named = (name: string) =>
      module(lm.children, (given: Inputs, ctx: SequenceContext) => ({ [name]: lossAndGradients(given, ctx).loss }));
    for (const parameters of [undefined, () => 'input' as const])
      expect(() => compile(named('head.weight'), { target: targets.cpu, inputs, ...(parameters && { parameters }) })).toThrow(
        'outputs.head.weight: an output has the name of an input or a parameter. Rename it: next.head.weight',
      );
    expect(() => compile(named('labels'), { target: targets.cpu, inputs })).toThrow('outputs.labels: an output has the name');
    expect(() =>
      compile(named('loss'), { target: targets.cpu, inputs: { ...inputs, 'head.weight': ['float32', [128, 24]] } }),
    ).toThrow('inputs.head.weight: an input has the name of a parameter. Rename the input');
  });
});
