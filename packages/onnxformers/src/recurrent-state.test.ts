// A hybrid of recurrent mixers and latent attention: whole, call by call, and as a generation in one run, in the runtime.
import { gatedDeltaNet, gatedLinearAttention, linearAttention, mamba2, multiHeadLatent, retention } from '@onnxformers/attention';
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
  type Runner,
  type SequenceContext,
  targets,
  type Value,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { rotary } from '@onnxformers/positional';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { best, expectLogitsOfWhole, ids, int64, prompt, row, vocab } from './logits.test-helper';

const dim = 12;

function hybrid() {
  const embed = embedding(vocab, dim, { init: { kind: 'normal', std: 1 } });
  const mixers = [
    gatedDeltaNet({ dim, heads: 4, keyHeads: 2, headDim: 5 }),
    multiHeadLatent({ dim, heads: 3, rank: 5, rotaryEmbedding: rotary({ dim: 2 }) }),
    mamba2({ dim, heads: 3, stateDim: 7 }),
    linearAttention({ dim, heads: 2 }),
    gatedLinearAttention({ dim, heads: 2, gateRank: 3 }),
    retention({ dim, heads: 3, rotaryEmbedding: rotary({ dim: 4 }) }),
  ];
  const head = linear(dim, vocab);
  const logits = (ids: Value, ctx: SequenceContext): Value => {
    const seen = { ...ctx, mask: and(ctx.mask, causal) };
    return head(mixers.reduce((x: Value, mixer) => ops.add(x, mixer(x, seen)), embed(ids)));
  };
  const children = { embed, mixers, head };
  const model = module(children, (inputs: Record<string, Value>, ctx: SequenceContext) => ({ logits: logits(inputs.ids!, ctx) }));
  return { model, children, logits };
}

const lengths = [5, 3];

describe.each([targets.portable(23), targets.cpu])('on $name', (target) => {
  const runner = (m: Parameters<typeof compile>[0], o: Partial<CompileOptions> = {}): Promise<Runner> => {
    const inputs = { ids: ['int64', ['batch', 'seq']], ...(o.inputs as object) } as const;
    return createRunner(compile(m, { target, weights: initialize(m, { seed: 11 }), ...o, inputs }), ort as unknown as Ort);
  };

  it('a growing cache computes the logits of the whole sequence, token by token', async () => {
    const { model } = hybrid();
    const [plain, cached] = [await runner(model), await runner(model, { state: 'io' })];
    await expectLogitsOfWhole(cached, plain);
    await plain.dispose();
    await cached.dispose();
  });

  it('a generation in one run has the tokens of the same steps without a state', async () => {
    const { logits, children, model } = hybrid();
    const steps = 4;
    const whole = module(children, (inputs: Record<string, Value>) => ({
      tokens: generate(inputs.ids!.graph.root, {
        prompt: inputs.ids!,
        lengths: inputs.lengths!,
        steps,
        capacity: 11,
        step: logits,
      }),
    }));
    const [plain, all] = [
      await runner(model),
      await runner(whole, { inputs: { lengths: ['int64', ['batch'], 'data'] } } as never),
    ];
    const { tokens } = await all({ ids: ids(prompt), lengths: int64(...lengths) });
    for (const b of [0, 1]) {
      const read = prompt[b]!.slice(0, lengths[b]);
      for (let i = 0; i < steps; i++) read.push(best(row((await plain({ ids: ids([read]) })).logits!, 0, read.length - 1)));
      expect(Array.from(tokens!.data, Number).slice(b * steps, (b + 1) * steps)).toEqual(read.slice(lengths[b]));
    }
    await plain.dispose();
    await all.dispose();
  });
});
