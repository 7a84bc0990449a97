// What each target makes of each attention: the table of recommendations, row by row.
import {
  none as allPairs,
  causal,
  compile,
  type Dim,
  type DType,
  type KernelLimits,
  type Machine,
  type ModelDType,
  targets,
} from '@onnxformers/core';
import { describe, expect, it } from 'vitest';
import { type AttendCase, attendCases, inputsOf, modelOf } from './attend-cases.test-helper';
import { GroupQueryAttention } from './group-query-attention';
import { kernels } from './index';

const [mha, gqa, attention] = ['MultiHeadAttention', 'GroupQueryAttention', 'Attention'];
const [onHeads, onHeadsOverMask] = ['Attention on heads', 'Attention on heads over a mask'];
const [overBias, repeated, repeatedOverBias, overMask, nullSink, turning, turningNullSink] = [
  'MultiHeadAttention over a bias',
  'MultiHeadAttention on repeated heads',
  'MultiHeadAttention on repeated heads over a bias',
  'Attention over a mask',
  'GroupQueryAttention with idle sinks',
  'GroupQueryAttention with the rotation',
  'GroupQueryAttention with the rotation and idle sinks',
];
const none = 'decomposed';
const paged = 'PagedAttention';
const words: Readonly<Record<string, string>> = {
  'Attend → MultiHeadAttention': mha!,
  "Attend → MultiHeadAttention with the projections' biases": mha!,
  'Attend → MultiHeadAttention with the mask in its bias': overBias!,
  "Attend → MultiHeadAttention with the projections' biases, with the mask in its bias": overBias!,
  'Attend → MultiHeadAttention on repeated key heads': repeated!,
  'Attend → MultiHeadAttention on repeated key heads, with the mask in its bias': repeatedOverBias!,
  'Attend → GroupQueryAttention': gqa!,
  'Attend → GroupQueryAttention with a null sink': nullSink!,
  'Attend → GroupQueryAttention with rotary embedding': turning!,
  'Attend → GroupQueryAttention with rotary embedding and a null sink': turningNullSink!,
  'Attend → Attention': attention!,
  'Attend → Attention with the mask as a tensor': overMask!,
  'Attend → Attention on heads': onHeads!,
  'Attend → Attention on heads, with the mask as a tensor': onHeadsOverMask!,
  'Attend → by the number of queries MultiHeadAttention for many': mha!,
  'Attend → blocks': 'blocks',
  'Attend(window) → PagedAttention': paged,
  decomposed: none,
};
/** Blocks or, for few keys, another kernel; and what the attention of the blocks, which are its sequences, becomes. */
const blocksOr = (other: string | undefined, ofBlocks: string | undefined) => `blocks or ${other} or ${ofBlocks}`;
const [biasBlocks, maskBlocks] = [blocksOr(overBias, overBias), blocksOr(overBias, overMask)];

function chosen(
  name: string | AttendCase,
  target: keyof Omit<typeof targets, 'portable'>,
  dtype: ModelDType = 'float32',
  machine: Machine = {},
): string {
  const c = typeof name === 'string' ? attendCases.find((each) => each.name === name)! : name;
  const outside: DType = dtype === 'bfloat16' ? 'float32' : dtype;
  const model = compile(modelOf(c), {
    target: targets[target],
    machine,
    dtype,
    rules: kernels,
    inputs: inputsOf(c, outside),
    assumptions: ['prefill into empty cache'],
  });
  // With blocks, what runs for few keys follows. With chunks of queries, it is what runs for few scores.
  const all = model.decisions.filter((d) => d.op === 'onnxformers.Attend');
  const attends = all[0]!.chosen === 'Attend → chunks of queries' ? all.filter((d) => d.where?.includes('<=')) : all;
  return attends.map(({ chosen, variant }) => words[[chosen, variant].filter(Boolean).join(' ')]).join(' or ');
}

// name, cpu, wasm, webgpu (float32 all), cuda in float16 on Hopper, on Ampere, in bfloat16 on Ampere, in float32.
const table = [
  ['encoder', mha, mha, mha, mha, mha, attention, mha],
  ['encoder, lengths', mha, mha, overBias, mha, overBias, overBias, overBias],
  ['encoder, keys', onHeadsOverMask, overBias, overBias, overBias, overMask, overMask, overMask],
  ['encoder, bias', mha, mha, mha, mha, mha, mha, mha],
  ['encoder, tensor and bias', overBias, overBias, overBias, overBias, overBias, overBias, overBias],
  ['encoder, grouped', attention, attention, repeated, repeated, attention, attention, repeated],
  ['encoder, grouped, lengths', overMask, overMask, repeatedOverBias, repeated, overMask, overMask, repeatedOverBias],
  ['encoder, projected', mha, mha, mha, mha, mha, attention, mha],
  // A step of a decoder has few queries.
  ['cross', `${mha} or ${onHeads}`, mha, mha, mha, mha, attention, mha],
  ['causal', gqa, mha, mha, mha, mha, attention, mha],
  ['causal, lengths', mha, mha, overBias, mha, overBias, overBias, overBias],
  ['causal, projected', gqa, mha, mha, mha, mha, attention, mha],
  ['causal, grouped', gqa, nullSink, gqa, repeated, attention, attention, repeated],
  ['causal, odd heads', mha, mha, mha, mha, mha, mha, mha],
  ['causal, bias', mha, mha, mha, mha, mha, mha, mha],
  ['causal, grouped, lengths', overMask, overMask, repeatedOverBias, repeated, overMask, overMask, repeatedOverBias],
  ['encoder, window', maskBlocks, biasBlocks, biasBlocks, biasBlocks, biasBlocks, maskBlocks, maskBlocks],
  [
    'causal, window',
    blocksOr(gqa, overMask),
    blocksOr(nullSink, overBias),
    blocksOr(gqa, overBias),
    paged,
    paged,
    paged,
    maskBlocks,
  ],
  ['causal, softcap', gqa, gqa, none, attention, attention, attention, attention],
  ['causal, sinks', gqa, gqa, gqa, gqa, gqa, gqa, none],
  ['cache', gqa, nullSink, gqa, gqa, gqa, gqa, overMask],
  ['cache, one query', gqa, gqa, gqa, gqa, gqa, gqa, attention],
  ['fixed cache', gqa, nullSink, gqa, gqa, gqa, gqa, overMask],
  ['fixed cache, one query', gqa, gqa, gqa, gqa, gqa, gqa, overBias],
  ['turned', turning, mha, mha, mha, mha, attention, mha],
  // On wasm the rotation is shared with the branch that attends in chunks.
  ['turned, grouped', turning, nullSink, gqa, repeated, attention, attention, repeated],
  ['turned, cache', gqa, nullSink, gqa, gqa, gqa, gqa, overMask],
  ['turned, fixed cache', turning, turningNullSink, gqa, turning, turning, turning, overMask],
  ['turned, fixed cache, one query', turning, turning, gqa, turning, turning, turning, overMask],
] as const;

describe.each(table)('%s', (name, cpu, wasm, webgpu, hopper, ampere, ampereInBfloat16, inFloat32) => {
  it.each([
    ['cpu', cpu, 'float32', {}],
    ['wasm', wasm, 'float32', {}],
    ['webgpu', webgpu, 'float32', {}],
    ['cuda', hopper, 'float16', { sm: 90, cudnn: '9.14' }],
    ['cuda', ampere, 'float16', { sm: 80 }],
    ['cuda', ampereInBfloat16, 'bfloat16', { sm: 80 }],
    ['cuda', inFloat32, 'float32', {}],
  ] as const)('on %s: %s (%s, %o)', (target, expected, dtype, machine) => {
    expect(chosen(name, target, dtype, machine)).toBe(expected);
  });
});

describe('a rotation stays outside of GroupQueryAttention', () => {
  it.each([
    ['turned by an input', 'positions', {}],
    ['turned, few channels', 'sizeLimit', { size: 'head_dim with rotary', got: 8, limit: 'a multiple of 16', multipleOf: 16 }],
    ['turned, cache', 'growingTables', {}],
  ])('%s', (name, code, data) => {
    const c = attendCases.find((each) => each.name === name)!;
    const { decisions } = compile(modelOf(c), {
      target: targets.cpu,
      rules: kernels,
      inputs: inputsOf(c),
      assumptions: ['prefill into empty cache'],
    });
    const attend = decisions.find((d) => d.op === 'onnxformers.Attend')!;
    expect(attend.chosen).toBe('Attend → GroupQueryAttention');
    expect(attend.refused).toContainEqual({
      rule: 'Attend → GroupQueryAttention',
      variant: 'with rotary embedding',
      reason: { code, data, text: expect.any(String) },
    });
  });
});

describe('shared key heads without a cache on CUDA', () => {
  const grouped = (seq: Dim, kvSeq: Dim, isCausal: boolean): AttendCase => ({
    name: 'grouped',
    heads: 8,
    seq,
    kvSeq,
    options: () => ({ mask: isCausal ? causal : allPairs }),
  });
  it.each([
    // Repeating them pays off where cuDNN is faster and there are enough queries for it.
    [{ sm: 90, cudnn: '9.14' }, 'seq', 'seq', true, repeated],
    [{ sm: 90, cudnn: '9.14' }, 512, 512, true, repeated],
    [{ sm: 90, cudnn: '9.14' }, 256, 256, true, attention],
    [{ sm: 90, cudnn: '9.14' }, 256, 256, false, repeated],
    [{ sm: 90, cudnn: '9.14' }, 128, 4096, false, attention],
    [{ sm: 90, cudnn: '9.14' }, 1, 4096, false, attention],
    [{ sm: 90, cudnn: '9.14' }, 'seq', 'memory', false, attention],
    [{ sm: 90, cudnn: '9.2' }, 16384, 16384, true, attention],
    [{ sm: 90, cudnn: 'none' }, 16384, 16384, true, attention],
    [{ sm: 89 }, 16384, 16384, true, attention],
    [{ sm: 80 }, 'seq', 'seq', true, attention],
    [{ sm: 120 }, 2048, 2048, true, repeated],
  ] as const)('on %o, %s queries on %s keys, causal: %s', (machine, queries, keys, isCausal, expected) => {
    for (const dtype of ['float16', 'bfloat16'] as const)
      expect(chosen(grouped(queries, keys, isCausal), 'cuda', dtype, machine)).toBe(expected);
  });
});

describe('what a machine lacks', () => {
  it.each(['encoder', 'causal', 'cache', 'fixed cache'])('numbers for a negative scale on CUDA: %s', (name) => {
    const c = attendCases.find((each) => each.name === name)!;
    const scaled = (scale: number): AttendCase => ({ ...c, options: (inputs) => ({ ...c.options(inputs), scale }) });
    for (const machine of [{ sm: 90, cudnn: '9.14' }, { sm: 80 }] as const) {
      expect(chosen(scaled(0.5), 'cuda', 'float16', machine)).toBe(chosen(c, 'cuda', 'float16', machine));
      expect(chosen(scaled(-0.5), 'cuda', 'float16', machine)).toBe(none);
    }
  });
  it('MultiHeadAttention does not run without cuDNN', () => {
    expect(chosen('encoder', 'cuda', 'float16', { cudnn: 'none' })).toBe(attention);
    expect(chosen('causal, odd heads', 'cuda', 'float16', { cudnn: 'none' })).toBe(attention);
  });
  it('a version of cuDNN with wrong attention is not used for lengths', () => {
    expect(chosen('encoder, lengths', 'cuda', 'float16', { sm: 90, cudnn: '9.10.1' })).toBe(overBias);
    expect(chosen('encoder, lengths', 'cuda', 'float16', { sm: 90, cudnn: '9.10.2' })).toBe(mha);
    expect(chosen('encoder, lengths', 'cuda', 'float16', { sm: 90, cudnn: '9.2' })).toBe(overBias);
  });
  it('GroupQueryAttention never runs in float32 on CUDA', () => {
    for (const { name } of attendCases) expect(chosen(name, 'cuda')).not.toContain('GroupQuery');
  });
  it('WebGPU never gets the Attention of the standard', () => {
    for (const { name } of attendCases) expect(chosen(name, 'webgpu')).not.toMatch(/^Attention/);
  });
});

describe('limits are those of the table', () => {
  const lowered = (limits: KernelLimits) => {
    const c = attendCases.find(({ name }) => name === 'causal, grouped')!;
    const plain = targets.cpu.kernels[GroupQueryAttention.key]!;
    const target = { ...targets.cpu, kernels: { [GroupQueryAttention.key]: { ...plain, limits } } };
    const g = { ...target, kernels: { ...targets.portable(21).kernels, ...target.kernels } };
    const { decisions } = compile(modelOf(c), { target: g, rules: kernels, inputs: inputsOf(c) });
    return decisions.find((d) => d.op === 'onnxformers.Attend' && d.chosen !== 'Attend → chunks of queries')!;
  };
  const gqaRule = 'Attend → GroupQueryAttention';
  it('the size of heads', () => {
    expect(lowered({ head_dim: { multipleOf: 8 } }).chosen).toBe(gqaRule);
    const { chosen, refused } = lowered({ head_dim: { multipleOf: 24 } });
    expect(chosen).toBe(none);
    expect(refused.map(({ reason }) => reason.code)).toContain('sizeLimit');
  });
  it('features', () => {
    expect(lowered({ window: 'wrong' }).chosen).toBe(gqaRule);
    expect(lowered({ 'grouped heads': 'wrong' }).chosen).toBe(none);
  });
});
