import { describe, expect, it } from 'vitest';
import {
  type CompileOptions,
  compile,
  explain,
  type Model,
  module,
  ops,
  printExplanation,
  targets,
  type Value,
  zoo,
} from './index';

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

const situations = [
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
] as const satisfies readonly (readonly [string, ReturnType<typeof encoder>, Partial<CompileOptions>])[];

describe('explain', () => {
  it.each(situations)('%s', (_, module, options) => {
    expect(printExplanation(explained(module, options))).toMatchSnapshot();
  });

  it('prints the providers as JSON', () => {
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
  it('explains only one part', () => {
    const about = explain(compile(encoder(), { target: targets.cpu, inputs: rows }), { path: 'stack.layers.1' });
    expect(about.blocks.map((b) => b.place)).toEqual([
      'stack.layers.1.norm1',
      'stack.layers.1.mixer.attention',
      'stack.layers.1.mixer.o_proj',
      'stack.layers.1.norm2',
      'stack.layers.1.feedforward.activation',
    ]);
  });

  it.each(situations)('reads no text: %s', (_, module, options) => {
    const model = compile(module, { target: targets.cuda, inputs: rows, ...options });
    const reworded = <R extends { readonly text: string }>(reason: R): R => ({ ...reason, text: 'something else' });
    const { target } = model;
    const other: Model = {
      ...model,
      decisions: model.decisions.map((d) => ({
        ...d,
        notes: d.notes.map(reworded),
        refused: d.refused.map((r) => ({ ...r, reason: reworded(r.reason) })),
      })),
      target: {
        ...target,
        ...(target.forecast && {
          forecast: (...args) => target.forecast!(...args).map((f) => ({ ...f, ...(f.note && { note: reworded(f.note) }) })),
        }),
      },
    };
    const hintsOf = ({ blocks }: ReturnType<typeof explain>) => blocks.map((b) => [b.place, b.ops.map((o) => o.hints)]);
    expect(hintsOf(explain(other))).toEqual(hintsOf(explain(model)));
  });
  it('uses each hint at least once', () => {
    const given = situations.flatMap(([, module, options]) =>
      explained(module, options).blocks.flatMap((b) => b.ops.flatMap((o) => o.hints.map((h) => h.code))),
    );
    expect([...new Set(given)].sort()).toEqual([
      'alignedLength',
      'assume',
      'equalLengths',
      'halfPrecision',
      'installCudnn',
      'lengthsInstead',
      'packedSparesTensor',
    ]);
  });

  it.each([
    ['odd heads', { headDim: 12 }, { dtype: 'float16', machine: { sm: 90, cudnn: '9.14' } }, ['headDim']],
    ['bfloat16 on a GPU that has none', {}, { dtype: 'bfloat16', machine: { sm: 75, cudnn: '9.14' } }, ['float16Instead']],
    [
      'a number of positions for which a bias has no fast kernel',
      {},
      {
        dtype: 'float16',
        machine: { sm: 80, cudnn: '9.14' },
        inputs: { x: ['float32', ['batch', 511, dim]], attention_bias: ['float32', [1, 1, 511, 511]] },
      },
      ['noBias', 'alignedLength'],
    ],
    [
      'odd heads of a causal attention with shared keys',
      { headDim: 12, kvHeads: 2, attention: { name: 'scaled_dot_product', causal: true, softcap: 3 } },
      { target: targets.webgpu },
      ['withoutFeature'],
    ],
    [
      'lengths without a cuDNN that attends',
      {},
      { dtype: 'float16', machine: { sm: 75, cudnn: 'none' }, inputs: { ...rows, lengths: ['int64', ['batch']] } },
      ['installCudnn', 'packedSparesTensor', 'alignedLength'],
    ],
    [
      'a dense mask',
      {},
      { target: targets.cpu, inputs: { ...rows, pairs: ['bool', [1, 1, 'seq', 'seq'], 'denseMask'] } },
      ['structureInstead'],
    ],
    [
      'a packed batch, which does not need the advice to pack it',
      { attention: { name: 'scaled_dot_product', causal: true } },
      {
        dtype: 'bfloat16',
        machine: { sm: 80, cudnn: '9.14' },
        layout: 'packed',
        inputs: { x: ['float32', ['tokens', dim]], lengths: ['int64', ['batch']] },
      },
      [],
    ],
    [
      'a packed batch with a bias for pairs of tokens',
      {},
      {
        target: targets.cpu,
        layout: 'packed',
        inputs: {
          x: ['float32', ['tokens', dim]],
          lengths: ['int64', ['batch']],
          attention_bias: ['float32', [1, 1, 'tokens', 'tokens']],
        },
      },
      ['paddedInstead'],
    ],
    [
      'the same on a target whose kernels take no lengths',
      {},
      {
        target: targets.webgpu,
        layout: 'packed',
        inputs: {
          x: ['float32', ['tokens', dim]],
          lengths: ['int64', ['batch']],
          attention_bias: ['float32', [1, 1, 'tokens', 'tokens']],
        },
      },
      ['equalLengths'],
    ],
  ] as const)('advises on %s', (_, mixer, options, codes) => {
    const { blocks } = explained(encoder(mixer), options as never);
    const hints = blocks.flatMap((b) => b.ops.flatMap((o) => o.hints));
    expect([...new Set(hints.map((h) => h.code))]).toEqual(codes);
  });

  it('foretells the kernel of an op of the user, and says why it is slow', () => {
    const attention = ops.onnxOp({
      key: 'com.microsoft.MultiHeadAttention',
      attributes: { num_heads: 'int' },
      infer: ([q]) => [q!],
    });
    const model = module({}, ({ q, keep }: Readonly<Record<string, Value>>) => ({
      y: attention([q, q, q, undefined, keep], { num_heads: 2 })[0]!,
    }));
    const inputs = { q: ['float16', ['batch', 'seq', 128]], keep: ['int32', ['batch', 'seq'], 'data'] } as const;
    const machine = { sm: 90, cudnn: '9.14' };
    const { blocks } = explain(compile(model, { target: targets.cuda, machine, dtype: 'float16', inputs }));
    expect(blocks.flatMap((b) => b.ops)).toMatchObject([
      {
        op: 'MultiHeadAttention',
        chosen: 'kept',
        runs: [{ kernel: 'MATH', note: { code: 'keysMask', data: { dims: 'batch, seq' } } }],
        hints: [{ code: 'lengthsForMask' }],
      },
    ]);
    // Its operands have no names here, which other targets must not need either.
    for (const target of [targets.cpu, targets.wasm, targets.webgpu])
      expect(
        compile(model, { target, inputs: { ...inputs, q: ['float32', ['batch', 'seq', 128]] } }).graph.nodes.map((n) => n.op.key),
      ).toContain('com.microsoft.MultiHeadAttention');
  });

  it('accepts every place that it prints as a path', () => {
    for (const [, module, options] of situations) {
      const model = compile(module, { target: targets.cuda, inputs: rows, ...options });
      for (const { place, paths } of explain(model).blocks) {
        const told = explain(model, { path: place }).blocks;
        expect(told.flatMap((b) => b.paths).sort()).toEqual([...paths].sort());
      }
    }
    const model = compile(encoder(), { target: targets.cpu, inputs: rows });
    const at = (path: string) => explain(model, { path }).blocks.flatMap((b) => b.paths);
    expect(at('stack.layers.0-1')).toEqual(at('stack.layers.0, 1'));
    expect(at('stack.layers.0–2')).toEqual(at('stack.layers'));
    expect(at('model')).toEqual(at(''));
  });

  it('suggests parts that the model has', () => {
    const model = compile(encoder(), { target: targets.cpu, inputs: rows });
    const parts = [...new Set(model.traced.nodes.map((n) => n.scope.split('.')[0]).filter(Boolean))];
    expect(() => explain(model, { path: 'xyz' })).toThrow(`Its parts: ${parts.join(', ')}`);
    expect(() => explain(model, { path: 'stack.layers.1.mixr' })).toThrow('Did you mean "stack.layers.1.mixer"?');
    expect(() => explain(model, { path: 'stack.layers.3' })).toThrow('the model has no module of this path');
  });
});
