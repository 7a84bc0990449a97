// Interfaces that later steps stand on: the same blocks uncached, with caches as inputs and outputs, and with a whole generation in one Loop.
import { multiHead } from '@onnxformers/attention';
import {
  and,
  type CompileOptions,
  causal,
  compile,
  createRunner,
  embedding,
  generate,
  initialize,
  linear,
  module,
  type Ort,
  pastOf,
  type Runner,
  type SequenceContext,
  type Target,
  targets,
  tensor,
  type Value,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { mlp } from '@onnxformers/feedforward';
import { rotary } from '@onnxformers/positional';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { away, best, expectLogitsOfWhole, ids, int64, prompt, row, vocab } from './logits.test-helper';

const [dim, batch] = [24, 2];
const strict = { session: { graphOptimizationLevel: 'disabled' } } as const;

// Two layers with shared key heads and rotation; with `cross`, each attends to a memory too.
function decoder(cross: boolean) {
  const embed = embedding(vocab, dim, { init: { kind: 'normal', std: 1 } });
  const layers = [0, 1].map(() => {
    const mixer = multiHead({ dim, heads: 6, kvHeads: 3, headDim: 16, rotaryEmbedding: rotary({ dim: 16 }) });
    const memory = cross ? multiHead({ dim, heads: 3, cross: true }) : undefined;
    const feedforward = mlp({ dim, hidden: 31 });
    return module({ mixer, memory, feedforward }, (x: Value, ctx: SequenceContext) => {
      const h = ops.add(x, mixer(x, ctx));
      const m = memory ? ops.add(h, memory(h, ctx)) : h;
      return ops.add(m, feedforward(m, ctx));
    });
  });
  const head = linear(dim, vocab);
  const logits = (ids: Value, ctx: SequenceContext): Value => {
    const seen = { ...ctx, mask: and(ctx.mask, causal) };
    return head(layers.reduce((x, layer) => layer(x, seen), embed(ids)));
  };
  const children = { embed, layers, head };
  return {
    logits,
    children,
    model: module(children, (inputs: Record<string, Value>, ctx: SequenceContext) => ({ logits: logits(inputs.ids!, ctx) })),
  };
}

const inputs = { ids: ['int64', ['batch', 'seq']] } as const;

for (const target of [targets.portable(18), targets.portable(23), targets.cpu] satisfies Target[]) {
  describe(target.name, () => {
    const runner = (m: Parameters<typeof compile>[0], o: Partial<CompileOptions> = {}): Promise<Runner> =>
      createRunner(compile(m, { target, inputs, weights: initialize(m, { seed: 11 }), ...o }), ort as unknown as Ort, strict);

    it('a growing cache computes the logits of the whole sequence, token by token', async () => {
      const { model } = decoder(false);
      const cached = await runner(model, { state: 'io', assumptions: ['prefill into empty cache'] });
      await expectLogitsOfWhole(cached, await runner(model));
    });

    it('a cache of fixed capacity computes the same after prompts of different lengths', async () => {
      const { model } = decoder(false);
      const plain = await runner(model);
      const cached = await runner(model, { state: { io: 11 }, assumptions: ['prefill into empty cache'] });
      const lengths = [5, 3];
      let outputs = await cached({ ids: ids(prompt) });
      const so_far = prompt.map((r, b) => r.slice(0, lengths[b]));
      let pastLengths = [0, 0];
      for (let step = 0; step < 4; step++) {
        const next: number[] = [];
        for (let b = 0; b < batch; b++) {
          const alone = (await plain({ ids: ids([so_far[b]!]) })).logits!;
          const at = step === 0 ? lengths[b]! - 1 : 0;
          const expected = row(alone, 0, so_far[b]!.length - 1);
          expect(away(row(outputs.logits!, b, at), expected)).toBeLessThan(2e-5);
          next.push(best(expected));
        }
        pastLengths = so_far.map((r) => r.length);
        next.forEach((token, b) => so_far[b]!.push(token));
        outputs = await cached({
          ids: ids(next.map((token) => [token])),
          past_lengths: int64(...pastLengths),
          ...pastOf(outputs),
        });
      }
    });

    it('keys of a memory are made in the first call only', async () => {
      const { model } = decoder(true);
      const memoryInputs = {
        ...inputs,
        memory: ['float32', ['batch', 'memory_seq', dim]],
        memory_lengths: ['int64', ['batch']],
      } as const;
      const memory = tensor(
        'float32',
        [batch, 7, dim],
        Float32Array.from({ length: batch * 7 * dim }, (_, i) => Math.sin(i * i)),
      );
      const memory_lengths = int64(7, 4);
      const whole = (await (await runner(model, { inputs: memoryInputs }))({ ids: ids(prompt), memory, memory_lengths })).logits!;
      const cached = await runner(model, { inputs: memoryInputs, state: 'io', assumptions: ['prefill into empty cache'] });
      let outputs = await cached({ ids: ids(prompt.map((r) => r.slice(0, 3))), memory, memory_lengths });
      const gone = tensor('float32', [batch, 0, dim], []);
      for (let i = 2; ; i++) {
        for (let b = 0; b < batch; b++)
          expect(away(row(outputs.logits!, b, outputs.logits!.dims[1]! - 1), row(whole, b, i))).toBeLessThan(2e-5);
        if (i === 4) break;
        outputs = await cached({ ids: ids(prompt.map((r) => [r[i + 1]!])), memory: gone, memory_lengths, ...pastOf(outputs) });
      }
    });

    it('a whole greedy generation in one run returns the tokens of the model without a cache', async () => {
      const { model, logits, children } = decoder(false);
      const plain = await runner(model);
      const [steps, lengths] = [6, [5, 3]];
      const expected: number[][] = [];
      for (let b = 0; b < batch; b++) {
        const text = prompt[b]!.slice(0, lengths[b]);
        for (let i = 0; i < steps; i++) text.push(best(row((await plain({ ids: ids([text]) })).logits!, 0, text.length - 1)));
        expected.push(text.slice(lengths[b]));
      }
      const generator = module(children, (given: Record<string, Value>) => ({
        tokens: generate(given.ids!.graph.root, {
          prompt: given.ids!,
          lengths: given.lengths!,
          steps,
          capacity: 13,
          step: logits,
        }),
      }));
      const run = await runner(generator, {
        inputs: { ...inputs, lengths: ['int64', ['batch']] },
        assumptions: ['prefill into empty cache'],
      });
      const { tokens } = await run({ ids: ids(prompt), lengths: int64(...lengths) });
      expect(tokens!.dims).toEqual([batch, steps]);
      expect([...(tokens!.data as BigInt64Array)].map(Number)).toEqual(expected.flat());
    });

    it('a generation ends early once every sequence has given the end', async () => {
      const { model, logits, children } = decoder(false);
      const plain = await runner(model);
      const text = [...prompt[0]!];
      for (let i = 0; i < 6; i++) text.push(best(row((await plain({ ids: ids([text]) })).logits!, 0, text.length - 1)));
      const generated = text.slice(5);
      const endId = generated[2]!;
      const until = generated.slice(0, generated.indexOf(endId) + 1);
      const generator = module(children, (given: Record<string, Value>) => ({
        tokens: generate(given.ids!.graph.root, { prompt: given.ids!, steps: 6, capacity: 13, endId, step: logits }),
      }));
      const { tokens } = await (await runner(generator))({ ids: ids([prompt[0]!]) });
      expect([...(tokens!.data as BigInt64Array)].map(Number)).toEqual(until);
    });
  });
}
