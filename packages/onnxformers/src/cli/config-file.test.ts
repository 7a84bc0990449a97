// Config files, and the inputs that a config tells.
import { join } from 'node:path';
import { compile, targets } from '@onnxformers/core';
import { describe, expect, it } from 'vitest';
import { zoo } from '../index';
import { inputsOf } from '../inputs';
import { dir, here, lm, parsed, write } from './cli.test-helper';

describe('config files', () => {
  it('may contain the kind and the inputs', async () => {
    await write('attention.json', {
      kind: 'attention',
      config: { name: 'scaled_dot_product' },
      inputs: Object.fromEntries(['q', 'k', 'v'].map((name) => [name, ['float32', ['batch', 4, 'seq', 8]]])),
    });
    const { json } = await parsed('build', 'attention.json', '--seed', '0', '--out', 'attention');
    expect(json.outputs).toEqual([{ name: 'y', dtype: 'float32', dims: ['batch', 4, 'seq', 8] }]);
  });

  it.each([
    ['{', 'c.json: not JSON; got '],
    ['', 'c.json: the file is empty; expected a config in JSON\n'],
    ['a\nb', 'c.json: not JSON; got Unexpected token \'a\', "a b" is not valid JSON\n'],
    [[1], 'c.json: not a config; expected an object with the name of a block, got [1]'],
    ['null', 'c.json: not a config; expected an object with the name of a block, got null'],
    [
      { config: lm, input: {} },
      'ConfigError: input: unknown key "input" in the config file; got an object with no keys. Did you mean "inputs"?',
    ],
    [
      { config: lm, inputs: { ids: ['int46', ['batch']] } },
      'ConfigError: inputs.ids: unknown dtype; expected one of float64, float32',
    ],
    [{ config: lm, inputs: { ids: 'int64' } }, 'ConfigError: inputs.ids: not an input; expected a dtype and dims, such as'],
    [{ config: lm, kind: 'modell' }, 'ConfigError: kind: unknown kind; expected one of '],
    [
      { name: 'causal_ml' },
      'ConfigError: model.name: no model block is called "causal_ml"; got "causal_ml". Did you mean "causal_lm"?',
    ],
    [{ name: 'scaled_dot_product' }, 'ConfigError: inputs: the config does not determine the sizes of the inputs'],
    [{ name: 'identity' }, 'ConfigError: kind: several blocks are called "identity"; expected a kind: activation or norm'],
    [
      { config: lm, assumptions: ['prefill in empty cache'] },
      'ConfigError: assumptions: wrong value; expected a list of "prefill into empty cache", "no empty sequences", "finite padding", got ["prefill in empty cache"]',
    ],
    [{ config: lm, layout: 'dense' }, 'ConfigError: layout: wrong value; expected "padded" or "packed", got "dense"'],
  ])('%j', async (config, message) => {
    await write('c.json', config);
    const { code, err } = await here('build', join(dir, 'c.json'), '--seed', '0', '--out', join(dir, 'c'));
    expect([code, err]).toEqual([1, expect.stringContaining(message)]);
  });
});

describe('inputs of a config', () => {
  const layer = {
    name: 'pre_norm',
    dim: 12,
    norm: 'layer_norm',
    mixer: { name: 'multi_head', heads: 3 },
    feedforward: 'mlp',
  } as const;
  const stack = { name: 'stack', dim: 12, depth: 1, layers: layer } as const;
  const cross = { ...layer, cross: { name: 'multi_head', heads: 3, cross: true, memoryDim: 20 } } as const;
  it.each([
    ['with an embedding', zoo.build('model', lm), { ids: ['int64', ['batch', 'seq']] }],
    ['without one', zoo.build('model', { name: 'encoder', dim: 12, stack }), { x: ['float32', ['batch', 'seq', 12]] }],
    [
      'that attends to a memory',
      zoo.build('model', { name: 'decoder', dim: 12, stack: { ...stack, layers: cross } }),
      { x: ['float32', ['batch', 'seq', 12]], memory: ['float32', ['batch', 'memory_seq', 20]] },
    ],
    [
      'of two sequences',
      zoo.build('model', {
        name: 'encoder_decoder',
        dim: 12,
        encoder: { name: 'encoder', embedding: { name: 'token', vocabSize: 5 }, stack },
        decoder: { name: 'decoder', stack },
      }),
      { ids: ['int64', ['batch', 'seq']], decoder_x: ['float32', ['batch', 'decoder_seq', 12]] },
    ],
    [
      'whose layers make their memory themselves',
      zoo.build('model', {
        name: 'encoder',
        dim: 12,
        stack: { ...stack, layers: { name: 'input_masked', layer: { ...cross, cross: { ...cross.cross, memoryDim: 12 } } } },
      }),
      { x: ['float32', ['batch', 'seq', 12]] },
    ],
    ['that is one layer', zoo.build('layer', layer), { x: ['float32', ['batch', 'seq', 12]] }],
    [
      'of rows narrower than the model',
      zoo.build('model', { name: 'encoder', dim: 12, embeddingDim: 5, stack }),
      { x: ['float32', ['batch', 'seq', 5]] },
    ],
    [
      'that turns queries and keys',
      zoo.build('rotaryEmbedding', { name: 'rotary', dim: 8 }),
      { q: ['float32', ['batch', 'heads', 'seq', 8]], k: ['float32', ['batch', 'kv_heads', 'seq', 8]] },
    ],
    ['that is an activation', zoo.build('activation', 'gelu'), { x: ['float32', ['batch', 'seq', 'dim']] }],
  ])('%s', (_, module, inputs) => {
    expect(inputsOf(module as never)).toEqual(inputs);
    compile(module as never, { target: targets.portable(), inputs: inputsOf(module as never) });
  });
});
