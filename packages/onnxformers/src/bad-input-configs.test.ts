// What people get wrong in a config and in what they compile it for: each a clear error of one of the seven classes.
import { describe, it } from 'vitest';
import { build, compiled, fails, type Json, layer, lm, type Parts } from './bad-input.test-helper';
import { ConfigError, LoweringError, module, ops, preNorm, ShapeError, targets, type Value, zoo } from './index';

describe('configs', () => {
  const mixer = 'stack.layers.mixer';
  it.each<[string, unknown, Parts]>([
    [
      'an unknown option',
      lm({ heds: 3 }, mixer),
      {
        path: 'causal_lm.stack.layers[0].mixer (multi_head)',
        problem: 'unknown field "heds"',
        got: '"heds"',
        hint: /^Did you mean "heads"\? Fields: dim, heads, kvHeads, /,
      },
    ],
    [
      'the name of an option in another library',
      lm({ num_attention_heads: 3 }, mixer),
      { problem: 'unknown field "num_attention_heads"', hint: /^Did you mean "heads"\? Fields: dim, heads, kvHeads, / },
    ],
    [
      'the same in camel case',
      lm({ hiddenSize: 32 }),
      { path: 'causal_lm', problem: 'unknown field "hiddenSize"', hint: /^Did you mean "dim"\? Fields: / },
    ],
    [
      'the name of an option in another library, which another block has',
      lm({ num_attention_heads: 3 }),
      { path: 'causal_lm', hint: /^Here it is called "heads", a field of other blocks\. Fields: dim, / },
    ],
    [
      'a wrong value',
      lm({ heads: 'x' }, mixer),
      {
        path: 'causal_lm.stack.layers[0].mixer (multi_head).heads',
        problem: 'wrong value',
        expected: 'an integer >= 1',
        got: '"x"',
        hint: 'This option: query heads',
      },
    ],
    [
      'NaN',
      lm({ dim: Number.NaN }),
      { path: 'causal_lm.dim', problem: 'wrong value', expected: 'an integer >= 1', got: 'NaN', hint: 'This option: channels' },
    ],
    [
      'Infinity',
      lm({ dim: Number.POSITIVE_INFINITY }),
      {
        path: 'causal_lm.dim',
        problem: 'wrong value',
        expected: 'an integer >= 1',
        got: 'Infinity',
        hint: 'This option: channels',
      },
    ],
    ['half a head', lm({ heads: 1.5 }, mixer), { expected: 'an integer >= 1', got: '1.5' }],
    ['a number beyond all integers', lm({ dim: 2 ** 53 }), { path: 'causal_lm.dim', got: '9007199254740992' }],
    [
      'fewer than no layers',
      lm({ depth: -1 }, 'stack'),
      { path: 'causal_lm.stack (stack).depth', expected: /^an integer (>= 0|from 0)/, got: '-1' },
    ],
    [
      'more layers than can be made',
      lm({ depth: 1e9 }, 'stack'),
      { path: 'causal_lm.stack (stack).depth', expected: 'an integer from 0 to 10000', got: '1000000000' },
    ],
    [
      'an unknown name',
      lm({ name: 'multi_hed' }, mixer),
      {
        path: 'causal_lm.stack.layers[0].mixer.name',
        problem: 'no mixer block is called "multi_hed"',
        got: '"multi_hed"',
        hint: /^Did you mean "multi_head"\? Registered: multi_head/,
      },
    ],
    [
      'a block of another kind',
      lm({ feedforward: 'multi_head' }, 'stack.layers'),
      { path: 'causal_lm.stack.layers[0].feedforward.name', hint: /^"multi_head" is a mixer\. Registered: mlp/ },
    ],
    [
      'a number in a slot',
      lm({ stack: 3 }),
      { path: 'causal_lm.stack', problem: 'not a config', expected: 'a stack config with a name', got: '3' },
    ],
    ['a slot without a name', lm({ stack: { depth: 2 } }), { path: 'causal_lm.stack', got: 'an object with depth' }],
    [
      'a missing field',
      lm({ vocabSize: undefined }),
      {
        path: 'causal_lm.vocabSize',
        problem: 'missing',
        expected: 'an integer >= 1',
        got: 'nothing',
        hint: /^Set vocabSize here or in an enclosing block/,
      },
    ],
    [
      'a missing block',
      lm({ stack: undefined }),
      {
        path: 'causal_lm.stack',
        problem: 'missing',
        expected: 'a stack',
        got: 'nothing',
        hint: 'Set it to a name or a config (the layers)',
      },
    ],
    [
      'heads that do not divide the channels',
      lm({ heads: 5 }, mixer),
      {
        path: 'causal_lm.stack.layers[0].mixer (multi_head).heads',
        problem: 'the number of channels is not a multiple of the number of heads',
        expected: 'a divisor of dim = 12',
        got: '5',
        hint: 'Or set headDim',
      },
    ],
    [
      'key heads that do not divide the heads',
      lm({ kvHeads: 2 }, mixer),
      { path: 'causal_lm.stack.layers[0].mixer.kvHeads', expected: 'a divisor of heads = 3', got: '2' },
    ],
    [
      'a list of too few layers',
      lm({ layers: [layer] }, 'stack'),
      {
        path: 'causal_lm.stack.layers[1]',
        problem: 'no config for layer 1',
        expected: 'a list of at least 2',
        got: 'a list of 1',
      },
    ],
    [
      'a list of too many layers',
      lm({ layers: [layer, layer, layer] }, 'stack'),
      {
        path: 'causal_lm.stack.layers[2]',
        problem: 'a config for a layer that does not exist',
        expected: 'a list of 2',
        got: 'a list of 3',
      },
    ],
    [
      'a norm for a missing sub-layer',
      lm({ norm: ['rms_norm', 'rms_norm', 'layer_norm'] }, 'stack.layers'),
      { path: 'causal_lm.stack.layers[0].norm[2]', problem: 'a config for a layer that does not exist', expected: 'a list of 2' },
    ],
    ['no config', 3, { path: 'model', problem: 'not a config', expected: 'an object with the name of a model', got: '3' }],
  ])('%s', (_, config, parts) => fails(() => build(config), ConfigError, parts));

  it('an unknown kind', () =>
    fails(() => build(lm(), 'modle'), ConfigError, {
      path: 'kind',
      problem: 'no block of the kind "modle" is registered',
      got: '"modle"',
      hint: /^Did you mean "model"\? Kinds: attention, /,
    }));

  it('circular slots', async () => {
    const self: Json = { name: 'encoder', dim: 3 };
    self.stack = { name: 'stack', depth: 1, layers: self };
    const hint = 'A config is a tree; write the inner part as a separate object';
    await fails(() => build(self), ConfigError, { path: 'encoder.stack.layers', problem: 'the config contains itself', hint });
    let deep: Json = lm();
    for (let i = 0; i < 5000; i++) deep = { name: 'encoder_decoder', dim: 3, encoder: deep };
    await fails(() => build(deep), ConfigError, {
      path: /^encoder_decoder(\.encoder)+\.enco…$/,
      problem: 'more than 100 blocks inside each other',
    });
    // The same part in two places is not a circle.
    const norm = { name: 'layer_norm' };
    build(lm({ norm, embeddingNorm: norm }, 'stack') && lm({ embeddingNorm: norm }));
  });

  it('one module for several layers, or of another kind', async () => {
    const one = zoo.build('layer', { ...layer, dim: 12 } as never);
    const stack = (layers: unknown) => () => zoo.build('stack', { name: 'stack', dim: 12, depth: 2, layers } as never);
    await fails(stack(one), ConfigError, {
      path: 'stack.layers[1]',
      problem: 'one module was given for several layers',
      got: 'a layer module "pre_norm"',
    });
    const norm = zoo.build('norm', { name: 'layer_norm', dim: 12 });
    await fails(
      stack(() => norm),
      ConfigError,
      { path: 'stack.layers[0]', problem: 'a module of another kind', expected: 'a layer', got: 'a norm module "layer_norm"' },
    );
    await fails(() => preNorm({ dim: 12, mixer: 'multi_head', norm: 'layer_norm' } as never), ConfigError, {
      path: 'pre_norm.mixer',
      problem: '"multi_head" cannot be looked up, because the block was called without a registry',
      hint: 'Build the config with a registry, or pass a module: multi_head({ … })',
    });
  });
});

describe('dims', () => {
  it('that disagree', async () => {
    const m = build(lm({ feedforward: { name: 'mlp', dim: 9 } }, 'stack.layers'));
    await fails(() => compiled(m), ShapeError, {
      path: 'onnxformers.Linear in stack.layers.0.feedforward.up',
      problem: 'the weight requires 9 channels',
      expected: '9 in the last axis of x',
      got: 'float32[batch, seq, 12]',
      hint: /^Operands: x float32\[batch, seq, 12\], weight float32\[36, 9\]/,
    });
  });

  it('of inputs that do not fit', async () => {
    const m = build({ name: 'mlp', dim: 12 }, 'feedforward');
    await fails(() => compiled(m, { inputs: { x: ['float32', ['batch', 'seq', 11]] } }), ShapeError, {
      got: 'float32[batch, seq, 11]',
    });
    await fails(() => compiled(build(lm()), { inputs: { x: ['float32', ['batch', 12]] } }), ConfigError, {
      path: 'inputs',
      problem: 'the model has no input sequence',
      got: 'x',
    });
  });
});

describe('dtypes', () => {
  it('that no runtime supports', () =>
    fails(() => compiled(build({ name: 'mlp', dim: 3 }, 'feedforward'), { inputs: { x: ['bfloat16', ['n', 3]] } }), ConfigError, {
      path: 'inputs.x',
      problem: 'no JavaScript runtime supports bfloat16',
      expected: 'float32',
      got: 'bfloat16',
      hint: 'Declare float32; it is cast inside the graph',
    }));

  it('in which a target does not compute', () =>
    fails(() => compiled(build(lm()), { dtype: 'bfloat16', strictDtype: true }), LoweringError, {
      path: 'cpu',
      problem: 'cpu does not compute in bfloat16',
      expected: /float32/,
      got: 'bfloat16',
      hint: 'Omit strictDtype to store the weights in it and compute in float32',
    }));

  it('for which a target has no kernel', async () => {
    const product = module({}, ({ x }: Record<string, Value>) => ({ y: ops.matmul(x!, x!) }));
    await fails(() => compiled(product, { target: targets.wasm, inputs: { x: ['int16', [3, 3]] } }), LoweringError, {
      path: 'graph',
      problem: 'MatMul of int16 cannot run on wasm: MatMul has no int16 kernel on wasm',
      expected: /^one of .*float32/,
      got: 'operands int16[3, 3], int16[3, 3]',
      hint: /^Choose another target or dtype/,
    });
  });
});
