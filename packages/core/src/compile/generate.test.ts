// Randomness in a generation: dropout in every step, off, from inputs, or from a seed.
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { interpret } from '../interpret/interpret';
import type { Value } from '../ir/graph';
import { dropout } from '../layers/dropout';
import { module } from '../module/module';
import { expand } from '../ops/movement';
import { values } from '../parameter/init';
import { Parameter } from '../parameter/parameter';
import { completeFeeds } from '../runtime/models.test-helper';
import { createRunner } from '../runtime/runner';
import { limitIndices } from '../sequence/limits';
import { cpu } from '../targets/cpu';
import { portable } from '../targets/portable';
import { tensor, toArray } from '../tensor/convert';
import type { NDArray, Tensor } from '../tensor/tensor';
import { compile, type Model } from './compile';
import type { CompileOptions } from './compile-options';
import { generate } from './generate';

const [batch, seq, vocab, steps, rate] = [2, 3, 23, 11, 0.5];
/** Different for each id, and of one sign: a token that is dropped cannot be the best. */
const scores = Array.from({ length: vocab }, (_, id) => 1 + ((7 * id) % vocab));
const best = (kept: (id: number) => boolean): number =>
  scores.reduce((most, s, id) => (kept(id) && (most < 0 || s > scores[most]!) ? id : most), -1);

/** Every step gives the same scores, of which dropout leaves some. */
const weight = new Parameter([vocab], values(tensor('float32', [vocab], scores)));
const model = module({ weight }, ({ prompt }: Record<string, Value>) => ({
  tokens: generate(prompt!.graph.root, {
    prompt: prompt!,
    steps,
    capacity: seq + steps,
    step: (ids) => dropout(expand(ids.graph.root.param(weight), [...ids.dims, vocab]), rate),
  }),
}));
const prompt = tensor('int64', [batch, seq], [1, 2, 3, 4, 5, 6]);
const compiled = (o: Partial<CompileOptions> = {}): Model =>
  compile(model, {
    target: cpu,
    inputs: { prompt: ['int64', ['batch', 'seq']] },
    weights: new Map([['weight', tensor('float32', [vocab], scores)]]),
    ...o,
  });
const rowsOf = ({ data, dims }: NDArray): number[][] =>
  Array.from({ length: dims[0]! }, (_, b) => [...data].slice(b * dims[1]!, (b + 1) * dims[1]!));

/** The tokens of so many runs of one session. */
async function tokensOf(m: Model, feeds: Readonly<Record<string, Tensor>> = {}, runs = 1): Promise<number[][][]> {
  const run = await createRunner(m, ort, { session: { graphOptimizationLevel: 'disabled' } });
  const all: number[][][] = [];
  for (let i = 0; i < runs; i++) all.push(rowsOf(toArray((await run({ prompt, ...feeds })).tokens!)));
  await run.dispose();
  return all;
}

describe.each([cpu, portable(18)])('dropout in a generation on $name', (target) => {
  it('is the identity without training', async () => {
    const plain = compiled({ target, draws: { seed: 1 } });
    expect(plain.signature.inputs.map((p) => p.name)).toEqual(['prompt']);
    const always = best(() => true);
    expect(await tokensOf(plain)).toEqual([Array.from({ length: batch }, () => Array(steps).fill(always))]);
  });

  it('has its own draw in each step, if draws are inputs', async () => {
    const training = compiled({ target, training: true });
    const draws = training.signature.inputs.filter((p) => p.draw);
    expect(draws.map((p) => [p.name, p.dims])).toEqual([
      ['dropout', ['batch', 'seq', vocab]],
      ['dropout@2', [steps - 1, 'batch', 1, vocab]],
    ]);
    const noise = (dims: readonly number[], salt: number): Tensor => {
      const count = dims.reduce((a, b) => a * b, 1);
      return tensor(
        'float32',
        dims,
        Array.from({ length: count }, (_, i) => (Math.sin(salt + i * i) + 1) / 2),
      );
    };
    const [first, others] = [noise([batch, seq, vocab], 1), noise([steps - 1, batch, 1, vocab], 2)];
    const [tokens] = await tokensOf(training, { dropout: first, 'dropout@2': others });
    const expected = Array.from({ length: batch }, (_, b) => [
      best((id) => Number(first.data[(b * seq + seq - 1) * vocab + id]) >= rate),
      ...Array.from({ length: steps - 1 }, (_, t) => best((id) => Number(others.data[(t * batch + b) * vocab + id]) >= rate)),
    ]);
    expect(tokens).toEqual(expected);
  });

  it('is made anew by a seed in each step and run, and again the same in the next session', async () => {
    const seeded = compiled({ target, training: true, draws: { seed: 5 } });
    const [first, second] = (await tokensOf(seeded, {}, 2)) as [number[][], number[][]];
    for (const row of [...first, ...second]) expect(new Set(row.slice(1)).size).toBeGreaterThan(1);
    expect(second).not.toEqual(first);
    expect(first[0]).not.toEqual(first[1]);
    expect(await tokensOf(seeded, {}, 2)).toEqual([first, second]);
    const feeds = { prompt: toArray(prompt), run: toArray(tensor('int64', [], [1])) };
    const { tokens } = interpret(seeded.traced, feeds, { parameters: () => toArray(tensor('float32', [vocab], scores)) });
    expect(rowsOf(tokens!)).toEqual(second);
    const [other] = await tokensOf(compiled({ target, training: true, draws: { seed: 6 } }));
    expect(other).not.toEqual(first);
  });
});

describe('prompts', () => {
  const limited = module({ weight }, ({ prompt: ids, lengths }: Record<string, Value>) => ({
    tokens: generate(ids!.graph.root, {
      prompt: ids!,
      lengths: lengths!,
      steps: 4,
      capacity: 6,
      step: (at) => expand(at.graph.root.param(weight), [...at.dims, vocab]),
    }),
  }));
  const { signature } = compile(limited, {
    target: cpu,
    inputs: { prompt: ['int64', ['batch', 'seq']], lengths: ['int64', ['batch']] },
  });
  const feeds = (...lengths: number[]) => ({ prompt, lengths: tensor('int64', [2], lengths) });

  it('have at least one token', () => {
    completeFeeds(signature, feeds(1, 3), 0);
    expect(() => completeFeeds(signature, feeds(2, 0), 0)).toThrow(
      'feed "lengths": the prompt has no tokens; expected 1 or more, got 0 at [1]',
    );
  });
  it('fit into the capacity with the generated tokens, or the error names capacity', () => {
    const long = { prompt: tensor('int64', [1, 5], [1, 2, 3, 4, 5]), lengths: tensor('int64', [1], [4]) };
    expect(() => completeFeeds(signature, long, 0)).toThrow(
      'feed "lengths": the capacity of the caches is too small for the prompt and the new tokens; expected at most 3, by generate.capacity, got 4 at [0]',
    );
    const known = { prompt: ['int64', ['batch', 7]], lengths: ['int64', ['batch']] } as const;
    expect(() => compile(limited, { target: cpu, inputs: known })).toThrow(/at most 6, by generate\.capacity, got 7/);
  });
  it('are refused when the model is compiled, if none fits beside the new tokens', () => {
    const steps = (n: number) => () =>
      compile(
        module({ weight }, ({ prompt: ids }: Record<string, Value>) => ({
          tokens: generate(ids!.graph.root, {
            prompt: ids!,
            steps: n,
            capacity: 6,
            step: (at) => expand(at.graph.root.param(weight), [...at.dims, vocab]),
          }),
        })),
        { target: cpu, inputs: { prompt: ['int64', ['batch', 'seq']] } },
      );
    expect(steps(6)).not.toThrow();
    expect(steps(7)).toThrow(
      /no value of seq is allowed.* at least 1 \(otherwise the prompt has no tokens\), got at most 0 \(by generate\.capacity\)\. Call generate with a larger capacity/,
    );
  });
  it('leave room in a table of positions for what is generated, or its option is named', () => {
    // Positions 0 to 4: a prompt of 3 tokens is followed by positions 3 and 4, and the fourth new token has none.
    const table = (steps: number, useLengths: boolean) =>
      compile(
        module({ weight }, ({ prompt: ids, lengths }: Record<string, Value>) => ({
          tokens: generate(ids!.graph.root, {
            prompt: ids!,
            ...(useLengths && { lengths: lengths! }),
            steps,
            capacity: 97,
            step(at, ctx) {
              limitIndices(ctx.positions, 5, 'model.position.seqLen');
              return expand(at.graph.root.param(weight), [...at.dims, vocab]);
            },
          }),
        })),
        {
          target: cpu,
          inputs: { prompt: ['int64', ['batch', 'seq']], ...(useLengths && { lengths: ['int64', ['batch']] }) },
        },
      ).signature;
    const long = { prompt: tensor('int64', [2, 3], [1, 2, 3, 4, 5, 6]) };
    const lengths = tensor('int64', [2], [2, 3]);
    completeFeeds(table(3, false), long, 0);
    completeFeeds(table(3, true), { ...long, lengths }, 0);
    expect(() => completeFeeds(table(4, false), long, 0)).toThrow(
      /longer than the model was built for; expected at most 5, by model\.position\.seqLen, got 6/,
    );
    expect(() => completeFeeds(table(4, true), { ...long, lengths }, 0)).toThrow(
      'feed "lengths": longer than the model was built for; expected 0 to 2, by model.position.seqLen, got 3 at [1]',
    );
  });
});
