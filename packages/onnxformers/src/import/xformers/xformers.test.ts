import { compile, createRunner, lazyTensor, module, namesOf, type Ort, targets, tensor, type Value } from '@onnxformers/core';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { inputsOf, zoo } from '../../index';
import { built, compat, decoder, encoder, heads, mlp, model } from './configs.test-helper';
import { fromXFormers, fromXFormersMask, fromXFormersWeights, type XFormersConfig, type XFormersOptions } from './index';

interface StackShape {
  readonly stack: { readonly layers: readonly Record<string, unknown>[]; readonly norm?: object };
}
const stackOf = (config: object): StackShape['stack'] => (config as StackShape).stack;
const sides = (config: object) =>
  config as { readonly encoder: StackShape & { name: string }; readonly decoder: StackShape & { name: string } };
describe('configs of the original', () => {
  it('become the block of their kind', () => {
    const kinds = [
      { name: 'linformer', seq_len: 16 },
      { name: 'fourier_mix', dropout: 0 },
      { ...mlp, dim_model: 4 },
      { name: 'vocab', dim_model: 4, seq_len: 3, vocab_size: 5 },
      { name: 'sine', dim_model: 4 },
      { ...heads(), dim_model: 4 },
      { dim: 4, num_heads: 2 },
      { in_features: 4 },
      { activation: null },
      encoder(),
      model(encoder()),
    ].map((config) => fromXFormers(config));
    expect(kinds.map(({ kind, config }) => [kind, config.name])).toEqual([
      ['attention', 'linformer'],
      ['mixer', 'fourier_mix'],
      ['feedforward', 'mlp'],
      ['embedding', 'vocab'],
      ['position', 'sine'],
      ['mixer', 'multi_head'],
      ['mixer', 'multi_head'],
      ['feedforward', 'glu'],
      ['activation', 'identity'],
      ['model', 'encoder'],
      ['model', 'encoder'],
    ]);
  });

  it('use the defaults of the original if an option is null or missing', () => {
    expect(fromXFormers({ name: 'linformer', seq_len: 19, k: null }).config).toMatchObject({ seqLen: 19, k: 4 });
    expect(fromXFormers({ name: 'nystrom', num_heads: 3 }).config).toMatchObject({ landmarks: 64, iterations: 6, heads: 3 });
    expect(fromXFormers({ name: 'local' }).config).toMatchObject({ window: 5, causal: false });
  });

  it('drop an option of another mechanism, as the original does, but no unknown one', () => {
    expect(fromXFormers({ name: 'scaled_dot_product', num_rules: 2 }).config).toEqual({
      name: 'scaled_dot_product',
      causal: false,
      dropout: 0,
    });
    expect(() => fromXFormers({ name: 'local', windowsize: 5 })).toThrow(
      'local: unknown option "windowsize"; got 5. Did you mean "window_size"?',
    );
  });

  it('keep a causal window of its size and one more', () => {
    expect(fromXFormers({ name: 'local', window_size: 3, causal: true }).config).toMatchObject({ window: 4, causal: true });
    expect(fromXFormers({ name: 'local', window_size: 3 }).config).toMatchObject({ window: 3, causal: false });
  });

  it('build heads with widths and biases of their own', () => {
    const mixer = built({
      dim_model: 12,
      num_heads: 3,
      attention: { name: 'scaled_dot_product' },
      dim_key: 6,
      dim_value: 15,
      bias: [true, false, true, false],
    });
    const dims = Object.fromEntries([...namesOf(mixer).parameters].map(([name, p]) => [name, p.dims]));
    expect(dims).toEqual({
      'q_proj.weight': [6, 12],
      'q_proj.bias': [6],
      'k_proj.weight': [6, 12],
      'v_proj.weight': [15, 12],
      'v_proj.bias': [15],
      'o_proj.weight': [12, 15],
    });
  });

  it('are built by the registry', () => {
    const configs = [
      encoder({ multi_head_config: { ...heads(), use_rotary_embeddings: true } }),
      decoder(),
      model(encoder({ num_layers: 2 }), decoder({ num_layers: 3 })),
      encoder({ multi_head_config: heads({ name: 'fourier_mix' }) }),
    ];
    for (const config of configs) expect(built(config).kind).toBe('model');
  });

  it('turn what fourier_mix transforms, which has no queries and keys', () => {
    const turned = { ...heads({ name: 'fourier_mix' }), dim_model: 12, use_rotary_embeddings: true };
    expect(fromXFormers(turned).config).toMatchObject({ name: 'fourier_mix', dim: 12, heads: 2, rotaryEmbedding: 'rotary' });
    expect(built(turned).children.rotary_emb).toBeDefined();
  });

  it('decode if positions do not depend on later ones', () => {
    const cross = (name: string) => decoder({ multi_head_config_cross: heads({ name }) });
    expect(fromXFormers(cross('scaled_dot_product')).config.name).toBe('decoder');
    expect(fromXFormers(cross('fourier_mix')).config.name).toBe('encoder');
    expect(fromXFormers(cross('nystrom')).config.name).toBe('encoder');
    const crossOf = (options?: XFormersOptions) => stackOf(fromXFormers(cross('fourier_mix'), options).config).layers[0]!.cross;
    expect(crossOf()).not.toHaveProperty('compat');
    expect(crossOf(compat)).toMatchObject({ compat: 'xformers' });
  });

  it('invert landmarks in float64 if the original inverts them exactly', () => {
    const exact = { name: 'nystrom', num_heads: 2, use_razavi_pinverse: false };
    expect(fromXFormers(exact).config).toMatchObject({ pseudoInverse: 'converged', float64: true });
    expect(fromXFormers({ ...exact, use_razavi_pinverse: true }).config).not.toHaveProperty('float64');
  });

  it('return the scheme of initial values', () => {
    expect(fromXFormers({ ...model(encoder()), weight_init: 'moco' }).scheme).toBe('moco');
    expect(fromXFormers(model(encoder())).scheme).toBe('vit');
    expect(fromXFormers(encoder())).not.toHaveProperty('scheme');
  });
});

describe('where the original is at odds with itself', () => {
  const norms = (config: XFormersConfig, options?: XFormersOptions) => {
    const { encoder: e, decoder: d } = sides(fromXFormers(config, options).config);
    return [e.stack.norm !== undefined, d.stack.norm !== undefined];
  };

  it('every pre-norm stack ends with a norm; compat: only a last stack of one layer', () => {
    const two = model(encoder({ num_layers: 2 }));
    expect(stackOf(fromXFormers(two).config).norm).toEqual({ name: 'layer_norm', eps: 1e-5 });
    expect(stackOf(fromXFormers(two, compat).config).norm).toBeUndefined();
    expect(stackOf(fromXFormers(model(encoder()), compat).config).norm).toBeDefined();
    expect(stackOf(fromXFormers(model(encoder({ residual_norm_style: 'post' }))).config).norm).toBeUndefined();
    expect(norms(model(encoder(), decoder()))).toEqual([true, true]);
    expect(norms(model(encoder(), decoder()), compat)).toEqual([false, true]);
    expect(norms(model(encoder(), decoder({ num_layers: 2 })), compat)).toEqual([false, false]);
  });

  it('without normalisation a decoder does not end with a norm; compat: it does', () => {
    const plain = decoder({ normalization: 'skip' });
    expect(stackOf(fromXFormers(plain).config).norm).toEqual({ name: 'identity' });
    expect(stackOf(fromXFormers(plain, compat).config).norm).toEqual({ name: 'layer_norm', eps: 1e-5 });
    expect(stackOf(fromXFormers(encoder({ normalization: 'skip' }), compat).config).norm).toEqual({ name: 'identity' });
  });

  it('DeepNorm counts encoder and decoder; compat: the own stack', () => {
    const deep = { residual_norm_style: 'deepnorm' };
    const config = model(encoder({ ...deep, num_layers: 4 }), decoder({ ...deep, num_layers: 3 }));
    const alphas = (options?: XFormersOptions) => {
      const { encoder: e, decoder: d } = sides(fromXFormers(config, options).config);
      return [e, d].map(
        ({ stack }) => (zoo.parse('layer', { ...stack.layers[0], dim: 8 }).about.config as { alpha: number }).alpha,
      );
    };
    // Wang et al. 2022, table 1: encoder 0.81 (N⁴ M)^(1/16), decoder (3 M)^(1/4)
    expect(alphas()[0]).toBeCloseTo(0.81 * (4 ** 4 * 3) ** (1 / 16), 12);
    expect(alphas()[1]).toBeCloseTo(9 ** (1 / 4), 12);
    expect(alphas(compat)[0]).toBeCloseTo(8 ** (1 / 4), 12);
    expect(alphas(compat)[1]).toBeCloseTo(6 ** (1 / 4), 12);
  });

  it('causality that a mechanism has not is refused; compat: dropped, or done as the original does', () => {
    for (const config of [
      { name: 'linformer', seq_len: 8, causal: true },
      { name: 'fourier_mix', causal: true },
    ])
      expect(() => fromXFormers(config)).toThrow(/causal: the mechanism cannot be causal/);
    expect(fromXFormers({ name: 'linformer', seq_len: 8, causal: true }, compat).config).not.toHaveProperty('causal');
    const nystrom = { name: 'nystrom', num_heads: 2, causal: true };
    expect(() => built(nystrom)).toThrow(/causal/);
    expect(built(nystrom, compat).kind).toBe('attention');
  });

  it('a decoder without an encoder reads a memory; compat: is refused', () => {
    const { config } = fromXFormers(model(decoder({ num_layers: 2 })));
    expect(config.name).toBe('decoder');
    const module = zoo.parse('model', config);
    const compiled = compile(module, {
      target: targets.cpu,
      inputs: { x: ['float32', ['batch', 'seq', 8]], memory: ['float32', ['batch', 'rows', 8]] },
    });
    expect(compiled.signature.inputs.map(({ name }) => name).sort()).toEqual(['memory', 'x']);
    expect(() => fromXFormers(model(decoder()), compat)).toThrow('model: the model has a decoder and no encoder');
  });

  it('norms have the epsilon of the kernel that computed them', () => {
    const eps = (config: XFormersConfig, options?: XFormersOptions) =>
      (stackOf(fromXFormers(config, options).config).norm as { eps: number }).eps;
    expect(eps(encoder())).toBe(1e-5);
    expect(eps(encoder(), { triton: true })).toBe(1e-6);
    expect(eps(encoder({ use_triton: false }), { triton: true })).toBe(1e-5);
    const fused = encoder({ feedforward_config: { ...mlp, name: 'FusedMLP' } });
    expect(eps(fused)).toBe(1e-6);
    expect(eps(fused, { triton: false })).toBe(1e-5);
    expect(eps(model(encoder({ num_layers: 1 }), fused))).toBe(1e-6);
  });

  it("a decoder's last norm is the config's; compat: the fused one where there is one", () => {
    const eps = (config: XFormersConfig, options?: XFormersOptions) => {
      const { norm, layers } = stackOf(fromXFormers(config, options).config);
      return [norm, layers[0]!.norm].map((n) => (n as { eps: number }).eps);
    };
    const without = decoder({ use_triton: false });
    expect(eps(without, { triton: true })).toEqual([1e-5, 1e-5]);
    expect(eps(without, { ...compat, triton: true })).toEqual([1e-6, 1e-5]);
    expect(eps(without, compat)).toEqual([1e-5, 1e-5]);
    expect(eps(decoder(), { ...compat, triton: true })).toEqual([1e-6, 1e-6]);
  });

  it('a window keeps all of its pairs; compat: of few pairs a multiple of four', () => {
    const local = { name: 'local', window_size: 3, causal: true };
    expect(fromXFormers(local).config).toEqual({ name: 'local', window: 4, causal: true, dropout: 0 });
    const kept = { name: 'local', window: 3, causal: true, dropout: 0, compat: 'xformers', forceSparsity: false };
    expect(fromXFormers(local, compat).config).toEqual(kept);
    expect(fromXFormers({ ...local, force_sparsity: true }, compat).config).toEqual({ ...kept, forceSparsity: true });
  });
});

describe('masks of the original', () => {
  // Which mask each head of each sequence gets, as the number in its only element.
  async function spread(count: number, options: XFormersOptions): Promise<readonly number[]> {
    const [batch, heads] = [2, 3];
    const pick = module({}, ({ att_mask }: Readonly<Record<string, Value>>) => {
      const { bias } = fromXFormersMask(att_mask!, { batch, heads, seq: 1, kvSeq: 1, ...options });
      return { y: bias! };
    });
    const feed = tensor(
      'float32',
      [count, 1, 1],
      Array.from({ length: count }, (_, i) => i),
    );
    const run = await createRunner(
      compile(pick, { target: targets.portable(), inputs: { att_mask: ['float32', feed.dims] }, weights: new Map() }),
      ort as unknown as Ort,
    );
    const { y } = await run({ att_mask: feed });
    await run.dispose();
    return Array.from({ length: batch * heads }, (_, i) => Number(y!.data[y!.data.length === 1 ? 0 : i]));
  }

  it('one for each sequence apply to all of its heads; compat: are tiled in turn', async () => {
    expect(await spread(2, {})).toEqual([0, 0, 0, 1, 1, 1]);
    expect(await spread(2, compat)).toEqual([0, 1, 0, 1, 0, 1]);
    expect(await spread(6, {})).toEqual([0, 1, 2, 3, 4, 5]);
    expect(await spread(1, {})).toEqual([0, 0, 0, 0, 0, 0]);
    await expect(spread(4, {})).rejects.toThrow(
      'att_mask: the number of masks does not divide batch · heads; expected 1 mask, or a divisor of batch · heads = 6, got 4 masks',
    );
  });
});

const patches = { in_channels: 3, kernel_size: 5, stride: 2, padding: 1 };

describe('patch embeddings', () => {
  const learnable = { name: 'learnable', seq_len: 7, add_class_token: true };
  const patch = { name: 'patch', inChannels: 3, kernelSize: 5, stride: 2, padding: 1, dim: 8 };

  it('are the embedding of a model, before its positions', () => {
    const config = model(encoder({ patch_embedding_config: patches, position_encoding_config: learnable }));
    const ours = fromXFormers(config).config;
    expect(ours).toMatchObject({ embedding: patch, position: { name: 'learnable', classToken: true } });
    expect(inputsOf(zoo.parse('model', ours))).toEqual({ pixels: ['float32', ['batch', 3, 'height', 'width']] });
  });
  it('are made once, although a checkpoint of several layers contains one for each', () => {
    const config = model(encoder({ num_layers: 2, patch_embedding_config: patches }));
    const encoders = zoo.parse('model', fromXFormers(config).config);
    expect([...namesOf(encoders).parameters.keys()].filter((name) => name.startsWith('embedding'))).toEqual([
      'embedding.proj.weight',
      'embedding.proj.bias',
    ]);
    const saved = new Map(
      ['0', '1'].map((i) => [`encoders.${i}.patch_emb.1.bias`, lazyTensor(tensor('float32', [8], new Float32Array(8)))]),
    );
    expect([...fromXFormersWeights(saved, config).keys()]).toEqual(['embedding.proj.bias']);
  });
  it('of a later stack are those of its hidden states', () => {
    const later = { patch_embedding_config: { ...patches, in_channels: 8 }, num_layers: 2 };
    const hierarchical = (in_channels: number) =>
      model(encoder({ patch_embedding_config: patches }), {
        ...encoder({ ...later, patch_embedding_config: { ...patches, in_channels } }),
        dim_model: 12,
      });
    const { config } = fromXFormers(hierarchical(8));
    expect(config).toMatchObject({ dim: 8, stack: { outDim: 12 } });
    expect(
      (config.stack as { layers: object[] }).layers.map((layer) => ('kernelSize' in layer ? layer : Object.keys(layer))),
    ).toEqual([
      expect.not.arrayContaining(['dim']),
      { name: 'merge_patches', dim: 8, outDim: 12, kernelSize: 5, stride: 2, padding: 1 },
      expect.arrayContaining(['dim', 'mixer', 'feedforward']),
      expect.arrayContaining(['dim', 'mixer', 'feedforward']),
    ]);
    const saved = new Map(
      ['1', '2'].map((i) => [`encoders.${i}.patch_emb.1.bias`, lazyTensor(tensor('float32', [12], new Float32Array(12)))]),
    );
    expect([...fromXFormersWeights(saved, hierarchical(8)).keys()]).toEqual(['stack.layers.1.proj.bias']);
    expect(() => fromXFormers(hierarchical(7))).toThrow(
      'stack_configs[1].patch_embedding_config.in_channels: differs from dim_model of the stack before it; expected 8, got 7',
    );
  });
  it('can be translated alone', () => {
    expect(fromXFormers({ ...patches, out_channels: 8, pool_type: 'CONV_2D' })).toEqual({ kind: 'embedding', config: patch });
    expect(() => fromXFormers(patches)).toThrow('PatchEmbedding.out_channels: missing');
    expect(() => fromXFormers({ ...patches, out_channels: 8, pool_type: 'MAX' })).toThrow(
      'PatchEmbedding.pool_type: wrong value',
    );
  });
  it('have the width of what follows, and are not embedded again', () => {
    expect(() => fromXFormers(encoder({ patch_embedding_config: { ...patches, out_channels: 7 } }))).toThrow(
      'encoder.patch_embedding_config.out_channels: differs from dim_model of the block; expected 8, got 7',
    );
    const positions = { ...learnable, dim_model: 5 };
    expect(() => fromXFormers(encoder({ patch_embedding_config: patches, position_encoding_config: positions }))).toThrow(
      'out_channels: differs from dim_model of the positions; expected 5, got 8',
    );
    const vocab = { name: 'vocab', seq_len: 7, vocab_size: 11 };
    expect(() => fromXFormers(encoder({ patch_embedding_config: patches, position_encoding_config: vocab }))).toThrow(
      'encoder.position_encoding_config: the encoding embeds ids, but patches are vectors; expected learnable, sine, or none, got vocab',
    );
  });
});

describe('reversible encoders', () => {
  it('are a stack on two copies, without a norm after it', () => {
    const { config } = fromXFormers(model(encoder({ num_layers: 2, reversible: true })));
    expect(config).toMatchObject({ name: 'encoder', stack: { name: 'reversible_stack', depth: 2 } });
    expect(config.stack).not.toHaveProperty('norm');
    expect((config.stack as { layers: object[] }).layers[1]).toMatchObject({ name: 'reversible', normPlace: 'before' });
  });
  it.each([{ patch_embedding_config: patches }, { simplicial_embeddings: { L: 2 } }])('are refused with %o', (more) => {
    expect(() => fromXFormers(model(encoder({ reversible: true, ...more })))).toThrow(
      /used without patches, simplicial embeddings/,
    );
  });
});

describe('what is not here', () => {
  it('has no effect in the original where simplicial embeddings follow several layers', () => {
    const lost = model(encoder({ num_layers: 2, simplicial_embeddings: { L: 2 } }));
    expect(fromXFormers(lost, compat).config).not.toHaveProperty('stack.norm');
    expect(fromXFormers(lost)).toMatchObject({ config: { stack: { norm: { name: 'simplicial', groups: 2, temperature: 1 } } } });
  });

  it('uses eight heads for TimmSparseAttention by default', () => {
    expect(fromXFormers({ dim: 24, qkv_bias: true })).toMatchObject({ kind: 'mixer', config: { heads: 8, fused: true } });
  });
});
