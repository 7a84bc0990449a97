// Caches in pools of blocks that stay in the runtime's memory: the same blocks as uncached, stepped from outside and inside a Loop.
import { multiHead } from '@onnxformers/attention';
import {
  and,
  type CompileOptions,
  causal,
  compile,
  embedding,
  type Graph,
  generate,
  initialize,
  interpret,
  linear,
  module,
  type NDArray,
  type Node,
  type SequenceContext,
  serialize,
  targets,
  type Value,
} from '@onnxformers/core';
import { subgraphsOf } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';
import { expectClose, randomParameters } from '@onnxformers/core/testing';
import { mlp } from '@onnxformers/feedforward';
import { rotary } from '@onnxformers/positional';
import { describe, expect, it } from 'vitest';

const [vocab, dim, batch, seq] = [29, 24, 2, 14];
const pool = { blocks: 7, blockSize: 16 };

function decoder() {
  const embed = embedding(vocab, dim);
  const layers = [0, 1].map(() => {
    const mixer = multiHead({ dim, heads: 6, kvHeads: 3, headDim: 8, rotaryEmbedding: rotary({ dim: 8 }) });
    const feedforward = mlp({ dim, hidden: 31 });
    return module({ mixer, feedforward }, (x: Value, ctx: SequenceContext) => {
      const h = ops.add(x, mixer(x, ctx));
      return ops.add(h, feedforward(h, ctx));
    });
  });
  const head = linear(dim, vocab);
  const children = { embed, layers, head };
  const logits = (ids: Value, ctx: SequenceContext): Value => {
    const seen = { ...ctx, mask: and(ctx.mask, causal) };
    return head(layers.reduce((x, layer) => layer(x, seen), embed(ids)));
  };
  return {
    children,
    logits,
    model: module(children, (inputs: Record<string, Value>, ctx: SequenceContext) => ({ logits: logits(inputs.ids!, ctx) })),
  };
}

const { model, logits, children } = decoder();
const parameters = randomParameters(model).of;
const inputs = { ids: ['int64', ['batch', 'seq']] } as const;
const compiled = (m: Parameters<typeof compile>[0], o: Partial<CompileOptions> = {}) =>
  compile(m, { target: targets.cuda, dtype: 'float16', inputs, weights: initialize(m, { seed: 3 }), ...o });
const int = (dtype: 'int64' | 'int32', rows: readonly (readonly number[])[]): NDArray => ({
  dtype,
  dims: [rows.length, rows[0]!.length],
  data: Float64Array.from(rows.flat()),
});
const int64s = (values: readonly number[]): NDArray => ({
  dtype: 'int64',
  dims: [values.length],
  data: Float64Array.from(values),
});

const prompt = Array.from({ length: batch }, (_, b) => Array.from({ length: seq }, (_, i) => (5 * i * i + 11 * b + i) % vocab));
const lastRow = ({ dims, data }: NDArray, b: number): Float64Array => {
  const n = dims[1]!;
  return data.slice((b * n + n - 1) * vocab, (b * n + n) * vocab);
};
const best = (row: Float64Array): number => row.indexOf(row.reduce((a, x) => Math.max(a, x)));
const uncached = compiled(model).traced;
const uncachedRow = (tokens: readonly number[]): Float64Array =>
  lastRow(interpret(uncached, { ids: int('int64', [tokens]) }, { parameters }).logits!, 0);
const close = (a: Float64Array, b: Float64Array, what: string): void =>
  expectClose(
    { dtype: 'float32', dims: [vocab], data: a },
    { dtype: 'float32', dims: [vocab], data: b },
    { atol: 1e-9, rtol: 1e-9 },
    what,
  );
const nodesOf = (graph: Graph): Node[] => graph.nodes.flatMap((n) => [n, ...subgraphsOf(n).flatMap(([, g]) => nodesOf(g))]);
const keysOf = (graph: Graph): string[] => nodesOf(graph).map((n) => n.op.key);

const paged = compiled(model, { state: { paged: pool } });

describe('caches in pools, stepped from outside', () => {
  // Blocks in no order, the second sequence's behind and before the first's.
  const table = [
    [5, 0],
    [2, 4],
  ];
  it.each([
    ['traced', paged.traced],
    ['lowered', paged.graph],
  ] as const)('%s: the logits are those of the uncached model, over the end of a block', (what, graph) => {
    const states = new Map<string, NDArray>();
    const soFar = prompt.map((row) => [...row]);
    let fresh = prompt as readonly (readonly number[])[];
    for (let pastLengths = 0, step = 0; step < 5; step++) {
      const outputs = interpret(
        graph,
        { ids: int('int64', fresh), past_lengths: int64s([pastLengths, pastLengths]), block_table: int('int32', table) },
        { parameters, states },
      );
      fresh = soFar.map((row, b) => {
        const expected = uncachedRow(row);
        close(lastRow(outputs.logits!, b), expected, `${what}, step ${step}, sequence ${b}`);
        return [best(expected)];
      });
      pastLengths = soFar[0]!.length;
      soFar.forEach((row, b) => row.push(fresh[b]![0]!));
    }
    expect(soFar[0]!.length).toBeGreaterThan(pool.blockSize + 2);
    expect(states.size).toBe(4);
  });

  it('on cuda it is PagedAttention in each layer, and caches are neither inputs nor outputs', () => {
    expect(paged.signature.inputs.map((p) => p.name)).toEqual(['ids', 'past_lengths', 'block_table']);
    expect(paged.signature.outputs.map((p) => p.name)).toEqual(['logits']);
    const keys = keysOf(paged.graph);
    expect(keys.filter((k) => k === 'com.microsoft.PagedAttention')).toHaveLength(2);
    expect(keys.filter((k) => /Attend|Paged(?!Attention)|Scatter|Gather[NE]/.test(k))).toEqual([]);
    const { graph } = serialize(paged);
    const attention = graph.nodes.filter((n) => n.opType === 'PagedAttention');
    for (const node of attention) {
      expect(node.outputs).toHaveLength(1);
      expect(node.inputs).toHaveLength(17);
      const pools = graph.initializers.filter((i) => node.inputs.slice(3, 5).includes(i.name));
      expect(pools.map((i) => [i.dtype, i.dims])).toEqual([
        ['float16', [7, 16, 3, 8]],
        ['float16', [7, 16, 3, 8]],
      ]);
    }
    expect(new Set(attention.flatMap((n) => n.inputs.slice(3, 5))).size).toBe(4);
    // A file holds the zeros in which they begin once.
    const pools = graph.initializers.filter((i) => attention.some((n) => n.inputs.slice(3, 5).includes(i.name)));
    expect([pools.length, new Set(pools.map((i) => i.data)).size]).toEqual([4, 1]);
    // What all layers share is made once.
    expect(new Set(attention.map((n) => n.inputs.slice(5).join())).size).toBe(1);
  });

  it('refuses another target or mask with a reason', () => {
    expect(() => compile(model, { target: targets.cpu, inputs, state: { paged: pool } })).toThrow(
      /PagedAppend of float32 cannot run on cpu/,
    );
    const biased = { ...inputs, attention_bias: ['float16', [1, 1, 'seq', '16*table_blocks']] } as const;
    expect(() => compiled(model, { inputs: biased, state: { paged: pool } })).toThrow(
      /PagedAppend of float16 cannot run on cuda.*PagedAttention: it does not support bias/,
    );
    expect(() => compiled(model, { target: targets.webgpu, state: { paged: pool } })).toThrow(/it requires its pools as outputs/);
    expect(() => compiled(model, { state: { paged: { blocks: 7, blockSize: 24 } } })).toThrow(
      'state.paged.blockSize: not a block size; expected a power of two of at least 16, in positions, got 24',
    );
  });
});

describe('a whole generation in one Loop', () => {
  const steps = 5;
  const lengths = [seq, seq - 3];
  const generator = module(children, (given: Record<string, Value>) => ({
    tokens: generate(given.ids!.graph.root, {
      prompt: given.ids!,
      lengths: given.lengths!,
      steps,
      capacity: 32,
      paged: pool,
      step: logits,
    }),
  }));
  const inLoop = compiled(generator, { inputs: { ...inputs, lengths: ['int64', ['batch']] } });
  const expected = prompt.map((row, b) => {
    const text = row.slice(0, lengths[b]);
    for (let i = 0; i < steps; i++) text.push(best(uncachedRow(text)));
    return text.slice(lengths[b]);
  });

  it('carries no cache: the pools are read from outside of the Loop', () => {
    expect(inLoop.signature.inputs.map((p) => p.name)).toEqual(['ids', 'lengths', 'block_table']);
    const loops = inLoop.graph.nodes.filter((n) => n.op.key === 'Loop');
    expect(loops).toHaveLength(1);
    // The token, and the rows held.
    expect(loops[0]!.attrs.carried).toBe(2);
    const inside = keysOf(subgraphsOf(loops[0]!)[0]![1]);
    expect(inside.filter((k) => k === 'com.microsoft.PagedAttention')).toHaveLength(2);
    expect(keysOf(inLoop.graph).filter((k) => k === 'com.microsoft.PagedAttention')).toHaveLength(4);
  });

  it.each([
    ['traced', inLoop.traced],
    ['lowered', inLoop.graph],
  ] as const)('%s: gives the tokens of the uncached model after prompts of different lengths', (_, graph) => {
    const { tokens } = interpret(
      graph,
      {
        ids: int('int64', prompt),
        lengths: int64s(lengths),
        block_table: int('int32', [
          [6, 1],
          [3, 0],
        ]),
      },
      { parameters },
    );
    expect([...tokens!.data]).toEqual(expected.flat());
  });
});
