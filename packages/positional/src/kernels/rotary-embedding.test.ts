import {
  compile,
  createRunner,
  type DType,
  interpret,
  module,
  type Ort,
  type Target,
  targets,
  toTensor,
  type Value,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { expectClose, randomArray } from '@onnxformers/core/testing';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { kernels, useMicrosoftRotaryEmbedding, useRowsOfRotaryEmbedding } from './rotary-embedding';

const [batch, heads, seq, headDim] = [3, 5, 7, 8];
const turned: readonly (readonly [name: string, ops.RotaryOptions, width: number])[] = [
  ['halves', {}, 8],
  ['pairs', { interleaved: true }, 8],
  ['some channels', { rotaryDim: 6 }, 6],
  ['pairs of some channels', { rotaryDim: 4, interleaved: true }, 4],
];

interface Form {
  readonly rank: 3 | 4;
  readonly positions: boolean;
}
const forms: readonly Form[] = [
  { rank: 4, positions: false },
  { rank: 4, positions: true },
  { rank: 3, positions: false },
  { rank: 3, positions: true },
];

const modelOf = (form: Form, o: ops.RotaryOptions) =>
  module({}, ({ x, cos, sin, positions }: Readonly<Record<string, Value>>) => ({
    y: ops.rotaryEmbedding(x!, cos!, sin!, positions, { ...o, ...(form.rank === 3 && { heads }) }),
  }));

function feedsOf({ rank, positions }: Form, width: number) {
  const tables = positions ? [11, width / 2] : [batch, seq, width / 2];
  const x = randomArray('x', rank === 4 ? [batch, heads, seq, headDim] : [batch, seq, heads * headDim]);
  const feeds = { x, cos: randomArray('cos', tables), sin: randomArray('sin', tables) };
  if (!positions) return feeds;
  const places = Float64Array.from({ length: batch * seq }, (_, i) => (5 * i) % 11);
  return { ...feeds, positions: { dtype: 'int64', dims: [batch, seq], data: places } as const };
}

function inputsOf({ rank, positions }: Form, width: number): Record<string, readonly [DType, readonly (string | number)[]]> {
  const table = positions ? (['places', width / 2] as const) : (['batch', 'seq', width / 2] as const);
  const x = rank === 4 ? ['batch', heads, 'seq', headDim] : ['batch', 'seq', heads * headDim];
  return {
    x: ['float32', x],
    cos: ['float32', table],
    sin: ['float32', table],
    ...(positions && { positions: ['int64', ['batch', 'seq']] as const }),
  };
}

describe.each(turned)('%s', (_, options, width) => {
  it.each(forms)('both kernels compute what the op means, for %o', async (form) => {
    const feeds = feedsOf(form, width);
    for (const rule of form.rank === 4 ? kernels : [useMicrosoftRotaryEmbedding]) {
      // A target without the standard's kernel, where the other one is wanted.
      const target: Target = rule === useMicrosoftRotaryEmbedding ? { ...targets.cpu, opset: 21 } : targets.cpu;
      const model = compile(modelOf(form, options), { target, inputs: inputsOf(form, width), weights: new Map(), rules: [rule] });
      const keys = model.graph.nodes.map((n) => n.op.key).filter((k) => k.includes('Rotary'));
      expect(keys).toEqual([rule === useMicrosoftRotaryEmbedding ? 'com.microsoft.RotaryEmbedding' : 'RotaryEmbedding']);
      const run = await createRunner(model, ort as unknown as Ort, { session: { graphOptimizationLevel: 'disabled' } });
      const { y } = await run(Object.fromEntries(Object.entries(feeds).map(([name, array]) => [name, toTensor(array)])));
      const { y: expected } = interpret(model.traced, feeds);
      expectClose(y!, expected!, { atol: 4e-7, rtol: 4e-7 }, rule.name);
      expectClose(interpret(model.graph, feeds, { prefer: 'decompose' }).y!, expected!, {}, 'the definition');
    }
  });
});

describe('choice', () => {
  const chosen = (target: Target, form: Form = { rank: 4, positions: false }) =>
    compile(modelOf(form, {}), { target, inputs: inputsOf(form, 8), rules: kernels }).decisions.find(
      (d) => d.op === 'RotaryEmbedding',
    );
  it('rows of the standard, where its opset is there', () => {
    for (const target of [targets.cpu, targets.wasm, targets.cuda, targets.portable(23)])
      expect(chosen(target)!.chosen).toBe(useRowsOfRotaryEmbedding.name);
  });
  it('the kernel of com.microsoft on WebGPU, whose opset is lower', () => {
    expect(chosen(targets.webgpu)!.chosen).toBe(useMicrosoftRotaryEmbedding.name);
  });
  it('rows stay as they are', () => {
    for (const target of [targets.cpu, targets.wasm, targets.cuda])
      expect(chosen(target, { rank: 3, positions: true })!.refused.map((r) => r.reason.text)).toEqual([
        'RotaryEmbedding itself is cheaper here',
      ]);
  });
  it('primitives below opset 23', () => {
    expect(chosen(targets.portable(21))!.chosen).toBe('decomposed');
  });
});
