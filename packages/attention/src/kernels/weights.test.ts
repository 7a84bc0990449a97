import {
  compile,
  createRunner,
  interpret,
  type Machine,
  type Ort,
  type Target,
  type Tensor,
  targets,
  toArray,
  toTensor,
} from '@onnxformers/core';
import { reasons } from '@onnxformers/core/lowering';
import { expectClose, randomParameters } from '@onnxformers/core/testing';
import * as node from 'onnxruntime-node';
import * as web from 'onnxruntime-web';
import { describe, expect, it } from 'vitest';
import { type AttendCase, attendCases, feedsOf, inputsOf, modelOf, tensorsOf } from './attend-cases.test-helper';
import { kernels } from './index';
import { useMultiHeadAttention } from './multi-head-attention';
import { useAttention } from './standard-attention';

web.env.wasm.numThreads = 1;
const runtimes = { cpu: node, wasm: web } as unknown as Readonly<Record<string, Ort>>;

function compiled(c: AttendCase, target: Target, machine: Machine = {}, dtype: 'float32' | 'float16' = 'float32') {
  const model = modelOf(c, { weights: true });
  const weights = Object.entries(randomParameters(model).byName).map(([name, array]) => [name, toTensor(array)] as const);
  const assumptions = ['prefill into empty cache'] as const;
  return compile(model, {
    weights: new Map(weights),
    target,
    machine,
    dtype,
    rules: kernels,
    inputs: inputsOf(c, dtype),
    assumptions,
  });
}
const decisionOf = (model: ReturnType<typeof compiled>) => model.decisions.find((d) => d.op === 'onnxformers.Attend')!;

describe.each([targets.cpu, targets.wasm])('weights on $name', (target) => {
  const chosen = new Map<string, number>();
  it.each(attendCases.map((c) => [c.name, c] as const))('%s', async (_, c) => {
    const model = compiled(c, target);
    const by = decisionOf(model).chosen;
    chosen.set(by, (chosen.get(by) ?? 0) + 1);
    const feeds = feedsOf(c);
    const expected = interpret(model.traced, feeds, { parameters: randomParameters(model.module).of });
    const run = await createRunner(model, runtimes[target.name]!, { session: { graphOptimizationLevel: 'disabled' } });
    const got: Record<string, Tensor> = await run(tensorsOf(feeds));
    // Sixteen roundings of a sum of a dozen products of numbers below 1.
    for (const name of Object.keys(expected))
      expectClose(got[name]!, expected[name]!, { atol: 2e-6, rtol: 2e-6 }, `${c.name}: ${name}`);
    const weights = toArray(got.weights!).data;
    for (const [i, w] of expected.weights!.data.entries()) if (w === 0) expect(weights[i], `a hidden pair of ${c.name}`).toBe(0);
    await run.dispose();
  });
  it('come from the kernel and from the definition', () => {
    expect(chosen.get(useAttention.name)).toBeGreaterThan(10);
    expect(chosen.get('decomposed')).toBeGreaterThan(0);
  });
});

describe.each([
  [targets.cuda, 'float16', { sm: 90, cudnn: '9.14' }],
  [targets.cuda, 'float32', { sm: 80 }],
  [targets.webgpu, 'float32', {}],
  [targets.portable(18), 'float32', {}],
] as const)('weights for $name in %s', (target, dtype, machine) => {
  it.each(attendCases.map((c) => [c.name, c] as const))('%s are the definition', (_, c) => {
    expect(decisionOf(compiled(c, target, machine, dtype)).chosen).toBe('decomposed');
  });
});

describe('what weights cost', () => {
  const encoder = attendCases[0]!;
  const type = 'float32[batch, 2, seq, seq]';
  it('is explained: the memory, and each kernel that would have run', () => {
    const { notes, refused } = decisionOf(compiled(encoder, targets.webgpu));
    expect(notes).toEqual([reasons.weightsReturned({ type })]);
    expect(refused).toContainEqual({
      rule: useMultiHeadAttention.name,
      reason: reasons.lacksResult({ result: 'weights', type }),
    });
    expect(decisionOf(compiled(encoder, targets.cpu)).notes).toContainEqual(reasons.weightsReturned({ type }));
  });
  it('omits kernels that could never run', () => {
    const lacking = (c: AttendCase) =>
      decisionOf(compiled(c, targets.webgpu))
        .refused.filter(({ reason }) => reasons.lacksResult.is(reason))
        .map(({ rule }) => rule);
    const softcap = attendCases.find(({ name }) => name === 'causal, softcap')!;
    expect(lacking(softcap)).not.toContain(useMultiHeadAttention.name);
    expect(lacking(encoder)).not.toContain('Attend(packed) → PackedMultiHeadAttention');
  });
});
