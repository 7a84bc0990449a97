import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { compile } from '../compile/compile';
import type { CompileOptions } from '../compile/compile-options';
import { explain } from '../explain/explain';
import { interpret } from '../interpret/interpret';
import type { Value } from '../ir/graph';
import { linear } from '../layers/linear';
import { module } from '../module/module';
import { createRunner } from '../runtime/runner';
import { portable } from '../targets/portable';
import { tensor, toArray, toTensor } from '../tensor/convert';
import type { Tensor } from '../tensor/tensor';
import { expectClose } from '../testing/close';
import { randomParameters } from '../testing/run-block';
import { attend, crossAttentionKeyValues, type SequenceContext, updateCache } from './context';
import { splitHeads } from './layout';
import { finitePadding } from './padding';

type Inputs = Readonly<Record<string, Value>>;
const channels = 6;
const heads = (x: Value, ctx: SequenceContext): Value => splitHeads(x, 2, ctx.layout);

/** Attention of x to itself, and to a memory where there is one. */
const layers = () => {
  const own = [linear(channels, channels), linear(channels, channels), linear(channels, channels)] as const;
  const cross = [linear(channels, channels), linear(channels, channels)] as const;
  return module({ own, cross }, (inputs: Inputs, ctx: SequenceContext) => {
    const x = Object.values(inputs)[0]!;
    const [q, k, v] = own.map((map) => heads(map(x), ctx)) as [Value, Value, Value];
    const y = attend(q, ...updateCache(ctx, k, v));
    if (!ctx.memory) return { y };
    const attended = crossAttentionKeyValues(ctx, ({ hiddenStates }) => [
      heads(cross[0](hiddenStates), ctx),
      heads(cross[1](hiddenStates), ctx),
    ]);
    return { y, z: attend(q, ...attended) };
  });
};
const direct = () => module({}, ({ q, k, v }: Inputs, ctx: SequenceContext) => ({ y: attend(q!, k!, v!, ctx) }));

const [batch, seq, memorySeq] = [2, 5, 3];
const count = (dims: readonly number[]): number => dims.reduce((a, b) => a * b, 1);
const numbers = (dims: readonly number[], rate: number): number[] =>
  Array.from({ length: count(dims) }, (_, i) => Math.sin(rate * (i + 1)));
/** Numbers, and instead of those in padded positions one other. */
function padded(
  dims: readonly number[],
  axis: number,
  real: (b: number, i: number) => boolean,
  other: number,
  rate = 0.7,
): Tensor {
  const inner = count(dims.slice(axis + 1));
  const data = numbers(dims, rate).map((n, at) =>
    real(Math.floor(at / count(dims.slice(1))), Math.floor(at / inner) % dims[axis]!) ? n : other,
  );
  return tensor('float32', dims, data);
}

const lengths = [5, 2];
const right = (b: number, i: number): boolean => i < lengths[b]!;
const left = (b: number, i: number): boolean => i >= seq - lengths[b]!;
const ofMemory = (b: number, i: number): boolean => i < [3, 1][b]!;
const flags = (real: (b: number, i: number) => boolean, n: number): number[] =>
  Array.from({ length: batch * n }, (_, at) => Number(real(Math.floor(at / n), at % n)));
const int64 = (...list: number[]): Tensor => tensor('int64', [list.length], list);
const maskOf = (real: typeof right): Tensor => tensor('bool', [batch, seq], flags(real, seq));
const lowest = (real: typeof right): Tensor =>
  tensor(
    'float32',
    [batch, seq],
    flags(real, seq).map((n) => (n ? 0 : Number.NEGATIVE_INFINITY)),
  );

interface Case {
  readonly name: string;
  readonly module: ReturnType<typeof layers> | ReturnType<typeof direct>;
  readonly inputs: CompileOptions['inputs'];
  readonly feeds: (other: number) => Readonly<Record<string, Tensor>>;
  readonly state?: CompileOptions['state'];
}

const x = ['float32', ['batch', 'seq', channels]] as const;
const perBatch = ['int64', ['batch']] as const;
const qkv = ['float32', ['batch', 2, 'seq', 3]] as const;
const headDims = [batch, 2, seq, 3];
const rows = (real: typeof right) => (other: number) => padded([batch, seq, channels], 1, real, other);
const cases: readonly Case[] = [
  {
    name: 'lengths',
    module: layers(),
    inputs: { x, lengths: perBatch },
    feeds: (other) => ({ x: rows(right)(other), lengths: int64(...lengths) }),
  },
  {
    name: 'lengths, for an input of another name',
    module: layers(),
    inputs: { hidden_states: x, lengths: perBatch },
    feeds: (other) => ({ hidden_states: rows(right)(other), lengths: int64(...lengths) }),
  },
  {
    name: 'an attention_mask, on the left',
    module: layers(),
    inputs: { x, attention_mask: ['bool', ['batch', 'seq']] },
    feeds: (other) => ({ x: rows(left)(other), attention_mask: maskOf(left) }),
  },
  {
    name: 'an additive mask',
    module: layers(),
    inputs: { x, added: ['float32', ['batch', 'seq'], 'additiveMask'] },
    feeds: (other) => ({ x: rows(left)(other), added: lowest(left) }),
  },
  {
    name: 'an attention_mask over a growing cache',
    module: layers(),
    inputs: { x, attention_mask: ['bool', ['batch', 'past + seq']] },
    state: 'io',
    feeds: (other) => ({ x: rows(left)(other), attention_mask: maskOf(left) }),
  },
  {
    name: 'an attention_mask over a cache of fixed capacity',
    module: layers(),
    inputs: { x, attention_mask: ['bool', ['batch', 7]] },
    state: { io: 7 },
    feeds: (other) => ({
      x: rows(left)(other),
      attention_mask: tensor(
        'bool',
        [batch, 7],
        flags((b, i) => i >= seq || left(b, i), 7),
      ),
    }),
  },
  {
    name: 'lengths and memory_lengths',
    module: layers(),
    inputs: { x, lengths: perBatch, memory: ['float32', ['batch', 'memory_seq', channels]], memory_lengths: perBatch },
    feeds: (other) => ({
      x: rows(right)(other),
      lengths: int64(...lengths),
      memory: padded([batch, memorySeq, channels], 1, ofMemory, other),
      memory_lengths: int64(3, 1),
    }),
  },
  {
    name: 'memory_mask alone',
    module: layers(),
    inputs: { x, memory: ['float32', ['batch', 'memory_seq', channels]], memory_mask: ['bool', ['batch', 'memory_seq']] },
    feeds: (other) => ({
      x: rows(() => true)(other),
      memory: padded([batch, memorySeq, channels], 1, ofMemory, other),
      memory_mask: tensor('bool', [batch, memorySeq], flags(ofMemory, memorySeq)),
    }),
  },
  {
    name: 'lengths, for keys and values of heads',
    module: direct(),
    inputs: { q: qkv, k: qkv, v: qkv, lengths: perBatch },
    feeds: (other) => ({
      q: padded(headDims, 2, () => true, 0, 0.3),
      k: padded(headDims, 2, right, other, 0.5),
      v: padded(headDims, 2, right, other, 0.9),
      lengths: int64(...lengths),
    }),
  },
];

describe('a mask of keys', () => {
  it('says nothing about queries, whatever the sizes are called', () => {
    const [q, k, v] = [1, 2, 3].map((rate) => padded([1, 1, 3, 1], 2, () => true, 0, rate));
    const feeds = { q, k, v, attention_mask: tensor('bool', [1, 3], [1, 1, 0]) };
    const results = ['seq', 'memory_seq'].map((keys) => {
      const kv = ['float32', ['batch', 1, keys, 1]] as const;
      const inputs = { q: ['float32', ['batch', 1, 'seq', 1]], k: kv, v: kv, attention_mask: ['bool', ['batch', keys]] } as const;
      const { traced } = compile(direct(), { target: portable(21), inputs });
      return interpret(traced, Object.fromEntries(Object.entries(feeds).map(([name, t]) => [name, toArray(t!)]))).y!;
    });
    expect(results[0]!.data).toEqual(results[1]!.data);
    expect(new Set(results[0]!.data).size).toBe(3);
  });
});

describe.each(cases)('padding declared by $name', ({ module: m, inputs, feeds, state }) => {
  const parameters = randomParameters(m);
  const weights = new Map(Object.entries(parameters.byName).map(([name, w]) => [name, toTensor(w)]));
  const options = { target: portable(21), inputs, weights, ...(state !== undefined && { state }) };
  const model = compile(m, options);
  const names = Object.keys(inputs).filter((name) => name !== 'added' && inputs[name]![0] === 'float32');
  const padding = names.filter((name) => name !== 'q' && !(name === 'x' && 'memory_mask' in inputs));

  it.each([Number.NaN, Number.POSITIVE_INFINITY, -3e38])('contains %d, and nothing changes', async (other) => {
    const run = await createRunner(model, ort);
    const expected: Readonly<Record<string, Tensor>> = await run(feeds(0));
    const got: Readonly<Record<string, Tensor>> = await run(feeds(other));
    await run.dispose();
    expect(got).toEqual(expected);
    for (const { data } of Object.values(got)) expect((data as Float32Array).every(Number.isFinite)).toBe(true);
    if (state !== undefined) return;
    const exact = interpret(
      model.traced,
      Object.fromEntries(Object.entries(feeds(other)).map(([name, t]) => [name, toArray(t)])),
      { parameters: parameters.of },
    );
    for (const [name, y] of Object.entries(exact)) expectClose(got[name]!, y, { atol: 1e-5, rtol: 1e-5 }, name);
  });

  it('is cleared by the graph, which explain says', () => {
    expect(explain(model).notes.join('\n')).toContain(`padded positions of ${padding.join(', ')} are set to 0`);
  });

  it('is read directly, and checked, if it is assumed to be finite', async () => {
    const assumed = compile(m, { ...options, assumptions: [finitePadding] });
    const wheres = (graph: typeof model.graph) => graph.nodes.filter(({ op }) => op.key === 'Where').length;
    expect(wheres(model.traced) - wheres(assumed.traced)).toBe(padding.length);
    expect(explain(assumed).notes.join('\n')).not.toContain('padded positions');
    const run = await createRunner(assumed, ort);
    const all = await createRunner(model, ort);
    expect(Object.keys(await run(feeds(9)))).toEqual(Object.keys(await all(feeds(9))));
    for (const other of [Number.NaN, Number.NEGATIVE_INFINITY])
      await expect(run(feeds(other))).rejects.toThrow(
        `feed "${padding[0]}": the model was compiled on the assumption 'finite padding'; expected finite numbers in padded positions, got NaN or an infinity in position`,
      );
    await run.dispose();
    await all.dispose();
  });
});

describe('the assumption of finite padding, of caches', () => {
  const perHead = (positions: number) => [batch, 2, positions, 3];
  /** A runner of the model, and the names of its caches. */
  async function assuming(inputs: CompileOptions['inputs'], state: CompileOptions['state']) {
    const m = layers();
    const weights = new Map(Object.entries(randomParameters(m).byName).map(([name, w]) => [name, toTensor(w)]));
    const model = compile(m, { target: portable(21), inputs, weights, state, assumptions: [finitePadding] });
    const run = await createRunner(model, ort);
    const ofRole = (role: string) => model.signature.inputs.filter((p) => p.role === role).map((p) => p.name);
    return { run: run as (feeds: Readonly<Record<string, Tensor>>) => Promise<Readonly<Record<string, Tensor>>>, ofRole };
  }
  const refusal = (name: string, where: string) =>
    `feed "${name}": the model was compiled on the assumption 'finite padding'; expected finite numbers in padded positions, got NaN or an infinity in ${where}`;
  const everywhere = () => true;
  const anew = (tensors: Readonly<Record<string, Tensor>>) =>
    Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, { ...t, data: t.data.slice() as Tensor['data'] }]));

  it.each([
    ['a growing cache', 'io', 3, 3 + seq],
    ['a cache of fixed capacity', { io: 11 }, 11, 11],
  ] as const)('is checked in the padded positions of %s', async (_, state, past, keys) => {
    const { run, ofRole } = await assuming({ x, attention_mask: ['bool', ['batch', state === 'io' ? 'past + seq' : 11]] }, state);
    const names = ofRole('pastKeyValue');
    expect(names).toHaveLength(2);
    // The first of sequence 1 is padding.
    const isReal = (b: number, i: number) => b === 0 || i > 0;
    const feeds = (other: number) => ({
      x: rows(everywhere)(0),
      attention_mask: tensor('bool', [batch, keys], flags(isReal, keys)),
      ...(state !== 'io' && { past_lengths: int64(3, 3) }),
      [names[0]!]: padded(perHead(past), 2, everywhere, 0),
      [names[1]!]: padded(perHead(past), 2, isReal, other),
    });
    for (const other of [Number.NaN, Number.NEGATIVE_INFINITY])
      await expect(run(feeds(other))).rejects.toThrow(refusal(names[1]!, 'position 0 of sequence 1'));
    expect((await run(feeds(7))).y!.dims).toEqual(headDims);
  });

  it('is checked in the padded positions of a cached memory', async () => {
    const { run, ofRole } = await assuming(
      {
        x,
        memory: ['float32', ['batch', 'memory_seq', channels]],
        memory_mask: ['bool', ['batch', 'past_memory + memory_seq']],
      },
      'io',
    );
    const names = ofRole('pastMemory');
    expect(names).toHaveLength(2);
    const own = Object.fromEntries(ofRole('pastKeyValue').map((name) => [name, padded(perHead(1), 2, everywhere, 0)]));
    const feeds = (other: number) => ({
      ...own,
      x: rows(everywhere)(0),
      memory: tensor('float32', [batch, 0, channels], []),
      memory_mask: tensor('bool', [batch, memorySeq], flags(ofMemory, memorySeq)),
      [names[0]!]: padded(perHead(memorySeq), 2, ofMemory, 0),
      [names[1]!]: padded(perHead(memorySeq), 2, ofMemory, other),
    });
    await expect(run(feeds(Number.NaN))).rejects.toThrow(refusal(names[1]!, 'position 1 of sequence 1'));
    expect((await run(feeds(7))).z!.dims).toEqual(headDims);
  });

  it('is not checked again in what a run returned', async () => {
    const { run } = await assuming({ x, attention_mask: ['bool', ['batch', 'past + seq']] }, 'io');
    const { y: _, ...present } = await run({ x: rows(left)(1), attention_mask: maskOf(left) });
    const pasts = Object.fromEntries(Object.entries(present).map(([name, t]) => [name.replace('present', 'past_key_values'), t]));
    const next = (caches: Readonly<Record<string, Tensor>>) => ({
      x: padded([batch, 1, channels], 1, everywhere, 0),
      attention_mask: tensor(
        'bool',
        [batch, seq + 1],
        flags((b, i) => i >= seq || left(b, i), seq + 1),
      ),
      ...caches,
    });
    for (const { data } of Object.values(pasts)) (data as Float32Array)[(2 * 3 + 0) * seq] = Number.NaN; // a padded position of sequence 1
    await run(next(pasts));
    await expect(run(next(anew(pasts)))).rejects.toThrow('got NaN or an infinity in position 0 of sequence 1');
  });
});

describe('padding that nothing declares', () => {
  it('is not cleared', () => {
    const m = layers();
    const model = compile(m, { target: portable(21), inputs: { x, pairs: ['bool', [1, 1, 'seq', 'seq'], 'denseMask'] } });
    expect(explain(model).notes.join('\n')).not.toContain('padded positions');
  });

  it('and of ids there is none to clear', () => {
    const ids = module({}, ({ q, k, v }: Inputs, ctx: SequenceContext) => ({ y: attend(q!, k!, v!, ctx) }));
    const inputs = { q: qkv, k: qkv, v: qkv, ids: ['int64', ['batch', 'seq'], 'data'] } as const;
    expect(explain(compile(ids, { target: portable(21), inputs })).notes.join('\n')).not.toContain('padded positions');
  });
});

it('lengths that only clear padding are not read by the model', () => {
  const m = module({}, ({ x: rows }: Inputs) => ({ y: rows! }));
  expect(() => compile(m, { target: portable(21), inputs: { x, lengths: perBatch } })).toThrow(
    'inputs.lengths: the model does not read this input',
  );
});
