// Packed calls in front of caches: prompts of different lengths in one call, then tokens of each sequence, are what each sequence is alone.
import { local, multiHead } from '@onnxformers/attention';
import {
  type AnyModule,
  and,
  type CompileOptions,
  causal,
  compile,
  createRunner,
  embedding,
  FeedError,
  interpret,
  linear,
  module,
  type NDArray,
  namesOf,
  type Ort,
  type Parameter,
  pastOf,
  type SequenceContext,
  type Target,
  targets,
  toArray,
  toTensor,
  type Value,
  withContext,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { computeDerived, expectClose, randomParameters } from '@onnxformers/core/testing';
import { mlp } from '@onnxformers/feedforward';
import { alibi, rotary } from '@onnxformers/positional';
import * as node from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';

const [vocab, dim, capacity] = [29, 24, 17];
const inputs = { ids: ['int64', ['tokens']], lengths: ['int64', ['batch']] } as const;

const attentions: Readonly<Record<string, object>> = {
  rotary: { rotaryEmbedding: rotary({ dim: 8 }) },
  alibi: { attentionBias: alibi({}) },
  window: { attention: local({ window: 3 }) },
};

function decoder(attention: object): AnyModule {
  const embed = embedding(vocab, dim);
  const layers = [0, 1].map(() => {
    const mixer = multiHead({ dim, heads: 6, kvHeads: 3, headDim: 8, ...attention });
    const feedforward = mlp({ dim, hidden: 31 });
    return module({ mixer, feedforward }, (x: Value, ctx: SequenceContext) => {
      const h = ops.add(x, mixer(x, ctx));
      return ops.add(h, feedforward(h, ctx));
    });
  });
  const head = linear(dim, vocab);
  return module({ embed, layers, head }, (given: Record<string, Value>, ctx: SequenceContext) => {
    const seen = withContext(ctx, { mask: and(ctx.mask, causal) });
    return { logits: head(layers.reduce((x, layer) => layer(x, seen), embed(given.ids!))) };
  });
}

const int64 = (values: readonly number[]): NDArray => ({
  dtype: 'int64',
  dims: [values.length],
  data: Float64Array.from(values),
});
const rowsOf = ({ dtype, dims: [, width], data }: NDArray, from: number, to: number): NDArray => ({
  dtype,
  dims: [to - from, width!],
  data: data.slice(from * width!, to * width!),
});

// The tokens that each call adds to each sequence: prompts, single tokens, several to some and none to another.
const calls: readonly (readonly number[])[] = [
  [5, 1, 3],
  [1, 1, 1],
  [2, 4, 0],
  [1, 1, 1],
];
const batch = calls[0]!.length;
const tokenOf = (sequence: number, i: number): number => (7 * i * i + 11 * sequence + 3 * i + 2) % vocab;
const tokensOf = (sequence: number, from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_, i) => tokenOf(sequence, from + i));

// Small enough that layers without norms keep numbers of size 1.
function parametersOf(m: AnyModule) {
  const entries = Object.entries(randomParameters(m).byName);
  const byName = Object.fromEntries(entries.map(([name, x]) => [name, { ...x, data: x.data.map((v) => v / 4) }]));
  const { nameOf } = namesOf(m);
  return {
    weights: new Map(Object.entries(byName).map(([name, x]) => [name, toTensor(x)] as const)),
    of: (p: Parameter): NDArray => byName[nameOf.get(p)!]!,
  };
}

/** Runs the calls; `run` computes one. Compares the logits of each new token with those of its sequence alone. */
async function checkCalls(
  m: AnyModule,
  run: (feeds: Readonly<Record<string, NDArray>>, first: boolean) => Promise<NDArray>,
  tolerance: number,
  steps: readonly (readonly number[])[] = calls,
): Promise<void> {
  const plain = compile(m, { target: targets.portable(), inputs: { ids: ['int64', ['batch', 'seq']] } }).traced;
  const parameters = parametersOf(m).of;
  const past = new Array<number>(batch).fill(0);
  for (const [n, lengths] of steps.entries()) {
    const ids = lengths.flatMap((count, b) => tokensOf(b, past[b]!, past[b]! + count));
    const feeds = { ids: int64(ids), lengths: int64(lengths), ...(n && { past_lengths: int64(past) }) };
    const logits = await run(feeds, n === 0);
    expect(logits.dims).toEqual([ids.length, vocab]);
    let at = 0;
    lengths.forEach((count, b) => {
      const all = tokensOf(b, 0, past[b]! + count);
      if (count) {
        const { logits: alone } = interpret(plain, { ids: { ...int64(all), dims: [1, all.length] } }, { parameters });
        const expected = rowsOf({ ...alone!, dims: alone!.dims.slice(1) }, past[b]!, past[b]! + count);
        expectClose(rowsOf(logits, at, at + count), expected, { atol: tolerance, rtol: tolerance }, `call ${n}, sequence ${b}`);
      }
      at += count;
      past[b]! += count;
    });
  }
}

for (const target of [targets.portable(18), targets.portable(23), targets.cpu] satisfies Target[])
  describe(target.name, () => {
    const runner = (m: AnyModule, o: Partial<CompileOptions> = {}) =>
      createRunner(
        compile(m, { target, inputs, layout: 'packed', state: { io: capacity }, weights: parametersOf(m).weights, ...o }),
        node as unknown as Ort,
        { session: { graphOptimizationLevel: 'disabled' } },
      );
    const through = (run: Awaited<ReturnType<typeof runner>>) => {
      let kept = {};
      return async (feeds: Readonly<Record<string, NDArray>>) => {
        const fed = Object.fromEntries(Object.entries(feeds).map(([name, x]) => [name, toTensor(x)]));
        const outputs = await run({ ...fed, ...kept });
        kept = pastOf(outputs);
        return toArray(outputs.logits!);
      };
    };

    it.each(Object.keys(attentions))('%s: every call is what each sequence is alone', async (name) => {
      const m = decoder(attentions[name]!);
      const run = await runner(m);
      await checkCalls(m, through(run), 2e-5);
      await run.dispose();
    });

    it('prompts into empty caches, then one token of each sequence', async () => {
      const m = decoder(attentions.rotary!);
      const run = await runner(m, { assumptions: ['prefill into empty cache'] });
      await checkCalls(m, through(run), 2e-5, calls.slice(0, 2));
      const further = through(run);
      await expect(checkCalls(m, further, 2e-5)).rejects.toThrow('expected one new token for each sequence');
      await run.dispose();
    });

    it('refuses tokens beyond the capacity', async () => {
      const m = decoder(attentions.rotary!);
      const run = await runner(m);
      const prompts = { ids: toTensor(int64(tokensOf(0, 0, 20))), lengths: toTensor(int64([2, 18])) };
      await expect(run(prompts)).rejects.toThrow(FeedError);
      await expect(run(prompts)).rejects.toThrow('the capacity of the cache is too small for the new tokens');
      await run.dispose();
    });
  });

describe('paged', () => {
  const pool = { blocks: 7, blockSize: 16 };
  const table: NDArray = { dtype: 'int32', dims: [batch, 2], data: Float64Array.from([5, 0, 2, 4, 6, 1]) };
  it.each(['traced', 'graph'] as const)('the %s graph for cuda computes what each sequence is alone', async (which) => {
    const m = decoder(attentions.rotary!);
    const model = compile(m, {
      target: targets.cuda,
      dtype: 'float16',
      machine: { sm: 90 },
      inputs,
      layout: 'packed',
      state: { paged: pool },
    });
    const states = new Map<string, NDArray>();
    const parameters = parametersOf(m).of;
    await checkCalls(
      m,
      async (feeds) => {
        const all = { past_lengths: int64([0, 0, 0]), ...feeds, block_table: table };
        const sizes = { batch, tokens: feeds.ids!.dims[0]! };
        const sizeOf = (d: number | string): number => (typeof d === 'number' ? d : sizes[d as 'batch']);
        const derived = model[which].inputs.flatMap(({ dtype, dims, leaf }) =>
          leaf?.kind === 'derived' && !(leaf.name in all)
            ? [
                [
                  leaf.name,
                  computeDerived(leaf.how, [feeds.lengths!], (d) => (d === 'batch + 1' ? batch + 1 : sizeOf(d)), {
                    dtype,
                    dims,
                  })!,
                ],
              ]
            : [],
        );
        const fed = { ...all, ...Object.fromEntries(derived) };
        return { ...interpret(model[which], fed, { parameters, states }).logits!, dtype: 'float32' };
      },
      1e-6,
    );
  });
});

it('refuses a growing cache and a packed memory with a state', () => {
  const m = decoder(attentions.rotary!);
  expect(() => compile(m, { target: targets.cpu, inputs, layout: 'packed', state: 'io' })).toThrow(
    'state: a growing cache appends the same number of tokens to every sequence, so it would keep padding',
  );
  const cross = multiHead({ dim, heads: 3, cross: true });
  const memory = { memory: ['float32', ['memory_tokens', dim]], memory_lengths: ['int64', ['batch']] } as const;
  const x = { x: ['float32', ['tokens', dim]], lengths: ['int64', ['batch']] } as const;
  expect(() =>
    compile(cross, { target: targets.cpu, inputs: { ...x, ...memory }, layout: 'packed', state: { io: capacity } }),
  ).toThrow('state: a state cannot keep the keys of a packed memory');
});
