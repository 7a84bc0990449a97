// Feeds and devices that are wrong: each a clear error of one of the seven classes.
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { build, compiled, fails, lm } from './bad-input.test-helper';
import { compile, createRunner, FeedError, initialize, linformer, multiHead, RunError, targets, tensor } from './index';

describe('running', () => {
  const m = build(lm());
  const model = compiled(m, { weights: initialize(m, { seed: 1 }) });

  it('feeds of the wrong dtype', async () => {
    const run = await createRunner(model, ort);
    await fails(() => run({ ids: tensor('int32', [1, 2], [1, 2]) }), FeedError, {
      path: 'feed "ids"',
      problem: 'wrong dtype',
      expected: 'int64[batch, seq]',
      got: 'int32[1, 2]',
      hint: "castTensor(feed, 'int64') converts it",
    });
    await fails(() => run({ ids: tensor('int64', [2], [1, 2]) }), FeedError, {
      path: 'feed "ids"',
      problem: 'wrong number of dims',
      expected: 'int64[batch, seq]',
      got: 'int64[2]',
    });
    await fails(() => run({ ids: [1, 2] as never }), FeedError, {
      path: 'feed "ids"',
      problem: 'not a tensor',
      expected: 'a tensor int64[batch, seq]',
      got: '[1, 2]',
      hint: 'Make one with tensor(dtype, dims, values)',
    });
    await fails(() => run({}), FeedError, {
      path: 'feed "ids"',
      problem: 'missing',
      expected: 'int64[batch, seq]',
      got: 'nothing',
    });
    await fails(() => run({ ids: tensor('int64', [1, 2], [1, 2]), idds: tensor('int64', [1], [1]) }), FeedError, {
      path: 'feed "idds"',
      problem: 'the model has no input of this name',
      got: '"idds"',
      hint: 'Did you mean "ids"? Inputs: ids',
    });
    for (const id of [23, -1])
      await fails(() => run({ ids: tensor('int64', [1, 2], [1, id]) }), FeedError, {
        path: 'feed "ids"',
        problem: 'an index out of range of the table',
        expected: '0 to 22, by causal_lm.embedding.vocabSize',
        got: `${id} at [0, 1]`,
      });
    await run.dispose();
  });

  it('a padding mask with other integers than 0 and 1', async () => {
    const block = multiHead({ dim: 10, heads: 2 });
    const inputs = { x: ['float32', ['batch', 'seq', 10]], attention_mask: ['int64', ['batch', 'seq']] } as const;
    const run = await createRunner(compile(block, { target: targets.cpu, inputs, weights: initialize(block, { seed: 1 }) }), ort);
    const x = tensor('float32', [1, 3, 10], new Float32Array(30));
    for (const wrong of [2, -1])
      await fails(() => run({ x, attention_mask: tensor('int64', [1, 3], [1, wrong, 0]) }), FeedError, {
        path: 'feed "attention_mask"',
        problem: 'neither 0 nor 1 in a padding mask',
        expected: '0 to 1',
        got: `${wrong} at [0, 1]`,
        hint: 'A padding mask has 1 at real positions and 0 at padding',
      });
    await run({ x, attention_mask: tensor('int64', [1, 3], [1, 1, 0]) });
    await run.dispose();
  });

  it('a packed sequence that is too long names the lengths and the field', async () => {
    const block = multiHead({ dim: 10, heads: 2, attention: linformer({ seqLen: 6, k: 3 }) });
    const inputs = { x: ['float32', ['tokens', 10]], lengths: ['int64', ['batch']] } as const;
    const model = compile(block, { target: targets.cpu, inputs, layout: 'packed', weights: initialize(block, { seed: 1 }) });
    const run = await createRunner(model, ort);
    const x = tensor('float32', [10, 10], new Float32Array(100));
    await fails(() => run({ x, lengths: tensor('int64', [2], [3, 7]) }), FeedError, {
      path: 'feed "lengths"',
      problem: 'longer than the model was built for',
      expected: '0 to 6, by linformer.seqLen',
      got: '7 at [1]',
      hint: 'Shorten it, or build the model with a larger seqLen',
    });
    await run({ x, lengths: tensor('int64', [2], [4, 6]) });
    await run.dispose();
  });

  it('no sequences, on which a kernel would end the process, are an empty result', async () => {
    const run = await createRunner(model, ort);
    const { logits } = await run({ ids: tensor('int64', [0, 2], []) });
    expect(logits!.dims).toEqual([0, 2, 23]);
    await run.dispose();
  });

  it('a provider that does not load', () =>
    fails(() => createRunner(model, ort, { device: 'tensorrt', session: { logSeverityLevel: 4 } }), RunError, {
      path: 'runtime',
      problem: 'creating a session on tensorrt failed',
      got: /\S/,
      hint: /^The provider's library, or a library that it needs, was not found: npx onnxformers info says which, and how to install it; device: 'auto' uses the next provider that loads/,
    }));

  it('a provider that the runtime does not know', () =>
    fails(() => createRunner(model, ort, { device: 'wasm' }), RunError, {
      problem: 'creating a session on wasm failed',
      hint: /^onnxruntime-node knows cpu, /,
    }));

  it('a provider whose name is misspelt', () =>
    fails(() => createRunner(model, ort, { device: 'cuad' }), RunError, {
      path: 'runtime',
      problem: 'creating a session on cuad failed',
      got: 'no available backend found. ERR: [cuad] backend not found',
      hint: /^Did you mean "cuda"\? onnxruntime-node knows cpu, /,
    }));
});
