import { describe, expect, it } from 'vitest';
import { type CompileOptions, compile, explain, printExplanation, targets, zoo } from './index';

const dim = 32;
const encoder = (mixer: object = {}) =>
  zoo.build('model', {
    name: 'encoder',
    dim,
    stack: {
      name: 'stack',
      depth: 3,
      norm: 'layer_norm',
      layers: {
        name: 'pre_norm',
        mixer: { name: 'multi_head', heads: 4, ...mixer },
        feedforward: { name: 'mlp', activation: 'gelu' },
      },
    },
  } as never);
const rows = { x: ['float32', ['batch', 'seq', dim]] } as const;
const explained = (module: ReturnType<typeof encoder>, o: Partial<CompileOptions>) =>
  explain(compile(module, { target: targets.cuda, inputs: rows, ...o }));

describe('explain', () => {
  it.each([
    ['an encoder for a GPU of unknown kind', encoder(), { dtype: 'float16' }],
    [
      'lengths on Ampere',
      encoder(),
      { dtype: 'float16', machine: { sm: 80, cudnn: '9.14' }, inputs: { ...rows, lengths: ['int64', ['batch']] } },
    ],
    ['an attention mask in float32', encoder(), { inputs: { ...rows, attention_mask: ['int64', ['batch', 'seq']] } }],
    ['no cuDNN', encoder({ rotaryEmbedding: 'rotary' }), { dtype: 'bfloat16', machine: { sm: 90, cudnn: 'none' } }],
    ['bfloat16 on the CPU', encoder(), { target: targets.cpu, dtype: 'bfloat16' }],
    [
      'a cache without assumptions',
      encoder({ attention: { name: 'scaled_dot_product', causal: true } }),
      { target: targets.wasm, state: 'io' },
    ],
    [
      'rotation and lengths on WebGPU',
      encoder({ rotaryEmbedding: 'rotary' }),
      { target: targets.webgpu, dtype: 'float16', inputs: { ...rows, lengths: ['int64', ['batch']] } },
    ],
    ['no kernels at all', encoder(), { target: targets.portable(18) }],
  ] as const satisfies readonly (readonly [string, ReturnType<typeof encoder>, Partial<CompileOptions>])[])(
    '%s',
    (_, module, options) => {
      expect(printExplanation(explained(module, options))).toMatchSnapshot();
    },
  );

  it('tells as data what runs where', () => {
    const { blocks, assumed } = explained(encoder(), { dtype: 'float16', machine: { sm: 90, cudnn: '9.14' } });
    expect(assumed).toEqual([]);
    const attention = blocks.find((b) => b.block === 'scaled_dot_product')!;
    expect(attention.paths).toEqual([0, 1, 2].map((i) => `stack.layers.${i}.mixer.attention`));
    expect(attention.ops).toHaveLength(1);
    expect(attention.ops[0]).toMatchObject({
      op: 'Attend',
      kernels: ['MultiHeadAttention'],
      runs: [{ on: [], kernel: 'CUDNN_FLASH_ATTENTION' }],
    });
  });
  it('tells of one part alone', () => {
    const about = explain(compile(encoder(), { target: targets.cpu, inputs: rows }), { path: 'stack.layers.1' });
    expect(about.blocks.map((b) => b.place)).toEqual([
      'stack.layers.1.norm1',
      'stack.layers.1.mixer.attention',
      'stack.layers.1.norm2',
      'stack.layers.1.feedforward.activation',
    ]);
  });
});
