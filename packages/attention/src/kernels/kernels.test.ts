import {
  compile,
  createRunner,
  interpret,
  type Machine,
  type Ort,
  type Rule,
  type Target,
  targets,
  toTensor,
} from '@onnxformers/core';
import { expectClose, randomParameters } from '@onnxformers/core/testing';
import * as node from 'onnxruntime-node';
import * as web from 'onnxruntime-web';
import { describe, expect, it } from 'vitest';
import { type AttendCase, attendCases, feedsOf, inputsOf, modelOf, tensorsOf } from './attend-cases.test-helper';
import { kernels } from './index';
import { usePagedAttention } from './paged-attention';

const strict = { session: { graphOptimizationLevel: 'disabled' } } as const;
web.env.wasm.numThreads = 1;
const runtimes = { cpu: node, wasm: web } as unknown as Readonly<Record<string, Ort>>;

function compiled(c: AttendCase, target: Target, rules: readonly Rule[] = kernels, machine: Machine = {}) {
  const model = modelOf(c);
  const weights = Object.entries(randomParameters(model).byName).map(([name, array]) => [name, toTensor(array)] as const);
  return compile(model, { weights: new Map(weights), target, machine, rules, inputs: inputsOf(c), promises: ['whole prompts'] });
}
const choiceOf = (c: AttendCase, target: Target, rules?: readonly Rule[]) =>
  compiled(c, target, rules).decisions.find((d) => d.op === 'onnxformers.Attend')!;

// Sixteen roundings of a sum of a dozen products of numbers below 1.
const tolerance = { atol: 2e-6, rtol: 2e-6 };

async function expectParity(c: AttendCase, target: Target, rules?: readonly Rule[]): Promise<void> {
  const model = compiled(c, target, rules);
  const feeds = feedsOf(c);
  const expected = interpret(model.traced, feeds, { parameters: randomParameters(model.module).of });
  const run = await createRunner(model, runtimes[target.name]!, strict);
  const got = await run(tensorsOf(feeds));
  for (const name of Object.keys(expected)) expectClose(got[name]!, expected[name]!, tolerance, `${c.name}: ${name}`);
  await run.dispose();
}

describe.each([targets.cpu, targets.wasm])('$name', (target) => {
  it.each(attendCases.map((c) => [c.name, c] as const))('%s', async (_, c) => {
    await expectParity(c, target);
  });
});

// Pools of blocks have a kernel on GPUs only; what its rule makes is compared in the interpreter, with whole models.
const here = kernels.filter((rule) => rule !== usePagedAttention);
describe.each(here.map((rule) => [rule.name, rule] as const))('%s', (_, rule) => {
  it('computes what Attend means wherever it applies', async () => {
    const fitting = attendCases.filter((c) => choiceOf(c, targets.cpu, [rule]).chosen === rule.name);
    for (const c of fitting) await expectParity(c, targets.cpu, [rule]);
    expect(fitting.length).toBeGreaterThan(0);
  });
});
