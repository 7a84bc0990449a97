// Biases by distance are the same whether a sequence comes whole, token by token, padded or packed.
import { randomParameters } from '@onnxformers/core/testing';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import {
  type AnyModule,
  type CompileOptions,
  compile,
  createRunner,
  type Feeds,
  inputsOf,
  interpret,
  pastOf,
  type Tensor,
  targets,
  tensor,
  toArray,
  toTensor,
  zoo,
} from './index';

// swin_relative depends on the cells of a window, not on positions of a sequence.
const biases = zoo.blocks.flatMap((b) => (b.kind === 'attentionBias' && b.blockName !== 'swin_relative' ? [b.blockName] : []));
const configOf = (name: string) => (name === 'disentangled' ? { name, span: 5 } : name);
const model = (name: string): AnyModule =>
  zoo.parse('model', {
    name: 'decoder',
    dim: 12,
    embedding: { name: 'token', vocabSize: 23 },
    stack: {
      name: 'stack',
      depth: 2,
      layers: {
        name: 'pre_norm',
        mixer: { name: 'multi_head', heads: 3, kvHeads: name === 'disentangled' ? 3 : 1, attentionBias: configOf(name) },
        feedforward: 'mlp',
      },
    },
  }) as unknown as AnyModule;
const prompts = [
  [3, 14, 15, 9, 2, 6, 5],
  [8, 1, 20],
];
const ids = (...rows: readonly (readonly number[])[]): Tensor => tensor('int64', [rows.length, rows[0]!.length], rows.flat());
const row = (y: Tensor, b: number, i: number): number[] => {
  const [seq, dim] = y.dims.length === 3 ? y.dims.slice(1) : y.dims;
  return Array.from(y.data as Float32Array).slice((b * seq! + i) * dim!, (b * seq! + i + 1) * dim!);
};
const near = (got: readonly number[], expected: readonly number[]) =>
  got.forEach((x, c) => {
    expect(Math.abs(x - expected[c]!)).toBeLessThan(2e-4);
  });

describe.each(biases)('%s', (name) => {
  const m = model(name);
  const { byName, of } = randomParameters(m);
  const weights = new Map(Object.entries(byName).map(([path, array]) => [path, toTensor(array)]));
  const compiled = (o: Partial<CompileOptions> = {}) => compile(m, { target: targets.cpu, inputs: inputsOf(m), weights, ...o });
  const runner = (o: Partial<CompileOptions> = {}) => createRunner(compiled(o), ort);
  /** Each prompt by itself, from the interpreter. */
  const alone = prompts.map(
    (p) => toTensor(interpret(compiled().traced, { ids: toArray(ids(p)) }, { parameters: of }).hidden_states!) as Tensor,
  );
  const all = (y: Tensor, b: number, place: (i: number) => number, n = b) => {
    prompts[b]!.forEach((_, i) => {
      near(row(y, n, place(i)), row(alone[b]!, 0, i));
    });
  };

  it('runs as the interpreter computes', async () => {
    const run = await runner();
    all((await run({ ids: ids(prompts[0]!) })).hidden_states!, 0, (i) => i);
  });

  it.each(['io', { io: 11 }] as const)('token by token with state %j', async (state) => {
    const run = await runner({ state });
    let kept: Feeds = {};
    for (const [i, token] of prompts[0]!.entries()) {
      const counted = state !== 'io' && i > 0 ? { past_lengths: tensor('int64', [1], [i]) } : {};
      const outputs = await run({ ids: ids([token]), ...kept, ...counted });
      near(row(outputs.hidden_states!, 0, 0), row(alone[0]!, 0, i));
      kept = pastOf(outputs);
    }
  });

  it('with padding on the left, and then a cache', async () => {
    const inputs = { ...inputsOf(m), attention_mask: ['int64', ['batch', 'past + seq']] } as const;
    const run = await runner({ inputs, state: 'io' });
    const width = 6;
    const [first, second] = [prompts[0]!.slice(0, width), [0, 0, 0, ...prompts[1]!]];
    const mask = [1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1];
    const outputs = await run({ ids: ids(first, second), attention_mask: tensor('int64', [2, width], mask) });
    for (let i = 0; i < 3; i++) near(row(outputs.hidden_states!, 1, 3 + i), row(alone[1]!, 0, i));
    const next = await run({
      ids: ids([prompts[0]![width]!], [4]),
      attention_mask: tensor('int64', [2, width + 1], [...mask.slice(0, 6), 1, ...mask.slice(6), 1]),
      ...pastOf(outputs),
    });
    near(row(next.hidden_states!, 0, 0), row(alone[0]!, 0, width));
  });

  it('packed', async () => {
    const inputs = { ids: ['int64', ['tokens']], lengths: ['int64', ['batch']] } as const;
    const run = await runner({ inputs, layout: 'packed' });
    const y = (
      await run({
        ids: tensor('int64', [10], prompts.flat()),
        lengths: tensor(
          'int64',
          [2],
          prompts.map((p) => p.length),
        ),
      })
    ).hidden_states!;
    all(y, 0, (i) => i, 0);
    all(y, 1, (i) => 7 + i, 0);
  });

  it('is in the decision for each attention', () => {
    const decisions = compiled().decisions.filter((d) => d.op === 'onnxformers.Attend');
    expect(new Set(decisions.map((d) => d.path)).size).toBe(2);
    for (const { chosen } of decisions)
      expect(chosen).toMatch(/^Attend → (\w*Attention|chunks of queries|Attend on keys without bias)$/);
  });
});
