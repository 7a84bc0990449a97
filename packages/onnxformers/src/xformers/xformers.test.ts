import {
  ConfigError,
  compile,
  createRunner,
  initialize,
  module,
  namesOf,
  type Ort,
  type Tensor,
  targets,
  tensor,
  type Value,
  WeightError,
  type WeightSource,
} from '@onnxformers/core';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { zoo } from '../index';
import {
  fromXFormers,
  fromXFormersMask,
  fromXFormersWeights,
  noCounterpart,
  type XFormersConfig,
  type XFormersOptions,
} from './index';

const mlp = { name: 'MLP', activation: 'gelu', hidden_layer_multiplier: 2, dropout: 0 };
const heads = (attention: object = { name: 'scaled_dot_product' }) => ({ num_heads: 2, attention });
const encoder = (more: object = {}) => ({
  block_type: 'encoder',
  dim_model: 8,
  residual_norm_style: 'pre',
  multi_head_config: heads(),
  feedforward_config: mlp,
  ...more,
});
const decoder = (more: object = {}) => ({
  block_type: 'decoder',
  dim_model: 8,
  residual_norm_style: 'pre',
  multi_head_config_masked: heads({ name: 'scaled_dot_product', causal: true }),
  multi_head_config_cross: heads(),
  feedforward_config: { ...mlp, activation: 'relu' },
  ...more,
});
const model = (...stack_configs: object[]) => ({ stack_configs });
const compat: XFormersOptions = { compat: 'xformers' };

interface StackShape {
  readonly stack: { readonly layers: readonly Record<string, unknown>[]; readonly norm?: object };
}
const stackOf = (config: object): StackShape['stack'] => (config as StackShape).stack;
const sides = (config: object) =>
  config as { readonly encoder: StackShape & { name: string }; readonly decoder: StackShape & { name: string } };
const built = (config: XFormersConfig, options?: XFormersOptions) => {
  const { kind, config: ours } = fromXFormers(config, options);
  return zoo.parse(kind, ours);
};

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

  it('take the defaults of the original where an option is null or missing', () => {
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

  it('tell the scheme of first values', () => {
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

  it('a norm stands behind every pre-norm stack; compat: behind a last stack of one layer', () => {
    const two = model(encoder({ num_layers: 2 }));
    expect(stackOf(fromXFormers(two).config).norm).toEqual({ name: 'layer_norm', eps: 1e-5 });
    expect(stackOf(fromXFormers(two, compat).config).norm).toBeUndefined();
    expect(stackOf(fromXFormers(model(encoder()), compat).config).norm).toBeDefined();
    expect(stackOf(fromXFormers(model(encoder({ residual_norm_style: 'post' }))).config).norm).toBeUndefined();
    expect(norms(model(encoder(), decoder()))).toEqual([true, true]);
    expect(norms(model(encoder(), decoder()), compat)).toEqual([false, true]);
    expect(norms(model(encoder(), decoder({ num_layers: 2 })), compat)).toEqual([false, false]);
  });

  it('without normalisation no norm stands behind a decoder; compat: one does', () => {
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
    expect(() => fromXFormers(model(decoder()), compat)).toThrow('model: a decoder has nothing to attend to');
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
});

describe('masks of the original', () => {
  // Which mask each head of each sequence gets, as the number in its only element.
  async function spread(count: number, options: XFormersOptions): Promise<readonly number[]> {
    const [batch, heads] = [2, 3];
    const pick = module({}, ({ mask }: Readonly<Record<string, Value>>) => {
      const { bias } = fromXFormersMask(mask!, { batch, heads, seq: 1, kvSeq: 1, ...options });
      return { y: bias! };
    });
    const feed = tensor(
      'float32',
      [count, 1, 1],
      Array.from({ length: count }, (_, i) => i),
    );
    const run = await createRunner(
      compile(pick, { target: targets.portable(), inputs: { mask: ['float32', feed.dims] }, weights: new Map() }),
      ort as unknown as Ort,
    );
    const { y } = await run({ mask: feed });
    await run.dispose();
    return Array.from({ length: batch * heads }, (_, i) => Number(y!.data[y!.data.length === 1 ? 0 : i]));
  }

  it('one for each sequence hold for all of its heads; compat: are laid out in turn', async () => {
    expect(await spread(2, {})).toEqual([0, 0, 0, 1, 1, 1]);
    expect(await spread(2, compat)).toEqual([0, 1, 0, 1, 0, 1]);
    expect(await spread(6, {})).toEqual([0, 1, 2, 3, 4, 5]);
    expect(await spread(1, {})).toEqual([0, 0, 0, 0, 0, 0]);
    await expect(spread(4, {})).rejects.toThrow(
      'att_mask: the masks cannot be shared out; expected 1 mask, or a divisor of batch · heads = 6, got 4 masks',
    );
  });
});

describe('weights of the original', () => {
  const linear = (name: string, to: number, from: number): readonly (readonly [string, Tensor])[] => [
    [`${name}.weight`, zeros([to, from])],
    [`${name}.bias`, zeros([to])],
  ];
  const zeros = (dims: readonly number[]): Tensor => tensor('float32', dims, new Float64Array(dims.reduce((a, b) => a * b, 1)));
  const named = (source: WeightSource) => [...source.keys()].sort();
  const wanted = (config: XFormersConfig, options?: XFormersOptions) =>
    [...namesOf(built(config, options)).parameters.keys()].sort();
  const sub = (prefix: string, rows: readonly (readonly [string, Tensor])[]) =>
    rows.map(([name, t]) => [prefix + name, t] as const);

  const attention = [
    ...linear('in_proj_container.q_proj', 8, 8),
    ...linear('in_proj_container.k_proj', 8, 8),
    ...linear('in_proj_container.v_proj', 8, 8),
    ...linear('proj', 8, 8),
  ];
  const norm = (name: string) =>
    [
      [`${name}.weight`, zeros([8])],
      [`${name}.bias`, zeros([8])],
    ] as const;
  const feedforward = [...linear('mlp.0', 16, 8), ...linear('mlp.3', 8, 16)];
  const block = (last: boolean) => {
    const ff = last ? 'wrap_ff.sublayer.layer' : 'wrap_ff.layer';
    return [
      ...norm('wrap_att.layer.norm'),
      ...sub('wrap_att.layer.sublayer.', attention),
      ...(last ? norm('wrap_ff.norm') : []),
      ...norm(`${ff}.norm`),
      ...sub(`${ff}.sublayer.`, feedforward),
    ];
  };

  it('carry the names of the module, whatever wraps what', () => {
    expect(named(fromXFormersWeights(new Map(block(true)), encoder()))).toEqual(wanted(encoder()));
    const post = encoder({ residual_norm_style: 'post' });
    const flat = [
      ...norm('wrap_att.norm'),
      ...sub('wrap_att.sublayer.layer.', attention),
      ...norm('wrap_ff.norm'),
      ...sub('wrap_ff.sublayer.layer.', feedforward),
    ];
    expect(named(fromXFormersWeights(new Map(flat), post))).toEqual(wanted(post));
    const masked: XFormersOptions = { inputMasks: true };
    expect(named(fromXFormersWeights(new Map(block(true)), encoder(), masked))).toEqual(wanted(encoder(), masked));
  });

  it('of a model without the norm that it should have: the norm is missing, with compat nothing is', () => {
    const config = model(encoder({ num_layers: 2 }));
    const checkpoint = new Map([0, 1].flatMap((i) => sub(`encoders.${i}.`, block(false))));
    const inputs = { x: ['float32', ['batch', 'seq', 8]] } as const;
    const load = (options?: XFormersOptions) =>
      compile(built(config, options), { target: targets.cpu, inputs, weights: fromXFormersWeights(checkpoint, config, options) });
    expect(() => load()).toThrow(WeightError);
    expect(() => load()).toThrow('weight "stack.norm.weight": missing');
    expect(load(compat).weights!.size).toBe(2 * 16);
  });

  it('that mean nothing here are dropped', () => {
    const dispatcher = { dim_model: 8, ...heads({ name: 'fourier_mix' }) };
    const kept = fromXFormersWeights(new Map([...attention, ['rotary_embeddings.inv_freq', zeros([2])]]), dispatcher);
    expect(named(kept)).toEqual(['o_proj.bias', 'o_proj.weight']);
  });

  it('that the original never saves are 0', () => {
    const fused = { ...mlp, name: 'FusedMLP', dim_model: 8 };
    const saved: WeightSource = new Map([
      ['mlp.0.weight', zeros([16, 8])],
      ['mlp.2.weight', zeros([8, 16])],
    ]);
    const weights = fromXFormersWeights(saved, fused);
    expect(named(weights)).toEqual(wanted(fused));
    expect(weights.get('up.bias')).toEqual(zeros([16]));
    const given = tensor('float32', [16], new Array(16).fill(2));
    expect(fromXFormersWeights(new Map([...saved, ['mlp.1.bias', given]]), fused).get('up.bias')).toBe(given);
    expect(named(fromXFormersWeights(saved, { ...fused, bias: false }))).toEqual(['down.weight', 'up.weight']);
    const whole = encoder({ feedforward_config: { ...mlp, name: 'FusedMLP' } });
    expect(named(fromXFormersWeights(new Map(), whole))).toEqual([
      'stack.layers.0.feedforward.down.bias',
      'stack.layers.0.feedforward.up.bias',
    ]);
  });

  it('of a name that no block has are refused', () => {
    expect(() => fromXFormersWeights(new Map([['mlp.7.weight', zeros([1])]]), { ...mlp, dim_model: 8 })).toThrow(
      'weight "mlp.7.weight": unknown; no block of the config has it. Near it: mlp.0.weight',
    );
  });
});

describe('input masks', () => {
  // A mask of ones changes nothing; one with a 0 takes the row out of keys and values, but leaves it in the softmax.
  it('scale the rows of keys and values', async () => {
    const config = encoder({ residual_norm_style: 'post' });
    const weights = initialize(built(config), { seed: 3 });
    const masked = built(config, { inputMasks: true });
    const renamed: WeightSource = new Map(
      [...weights].map(([name, w]) => [
        name.replace('layers.0.', 'layers.0.layer.').replace('.norm1.', '.norm_cross.').replace('.mixer.', '.cross.'),
        w,
      ]),
    );
    const x = tensor(
      'float32',
      [1, 3, 8],
      Array.from({ length: 24 }, (_, i) => Math.sin(i * i)),
    );
    const inputs = { x: ['float32', [1, 3, 8]], input_mask: ['float32', [1, 3]] } as const;
    const run = async (m: ReturnType<typeof built>, w: WeightSource, mask?: readonly number[]) => {
      const model = compile(m, { target: targets.cpu, inputs: mask ? inputs : { x: inputs.x }, weights: w });
      const runner = await createRunner(model, ort as unknown as Ort);
      const { hidden_states: y } = await runner({ x, ...(mask && { input_mask: tensor('float32', [1, 3], mask) }) });
      await runner.dispose();
      return Array.from(y!.data as Float32Array);
    };
    const plain = await run(built(config), weights);
    const close = (a: readonly number[], b: readonly number[]) => Math.max(...a.map((v, i) => Math.abs(v - b[i]!)));
    expect(close(await run(masked, renamed, [1, 1, 1]), plain)).toBeLessThan(1e-6);
    expect(close(await run(masked, renamed, [1, 1, 0]), plain)).toBeGreaterThan(1e-3);
    expect(close(await run(masked, renamed), plain)).toBeLessThan(1e-6);
  });
});

describe('what is not here', () => {
  it.each([
    [{ name: 'favor', dropout: 0 }, 'favor: has no counterpart here; got the attention "favor"'],
    [
      { ...mlp, name: 'Conv2DFeedforward', dim_model: 4 },
      'Conv2DFeedforward: has no counterpart here; got the feedforward "Conv2DFeedforward"',
    ],
    [
      encoder({ multi_head_config: heads({ name: 'pooling' }) }),
      'encoder.multi_head_config.attention: has no counterpart here; got the attention "pooling"',
    ],
    [encoder({ reversible: true }), 'encoder.reversible: has no counterpart here; got the option "reversible"'],
    [
      encoder({ simplicial_embeddings: { L: 2 } }),
      'encoder.simplicial_embeddings: has no counterpart here; got the option "simplicial_embeddings"',
    ],
    [
      model(encoder({ patch_embedding_config: {} })),
      'model.stack_configs[0].patch_embedding_config: has no counterpart here; got the option "patch_embedding_config"',
    ],
  ])('is said by name: %o', (config, message) => {
    expect(() => fromXFormers(config as XFormersConfig)).toThrow(message);
    expect(() => fromXFormers(config as XFormersConfig)).toThrow(expect.objectContaining({ problem: noCounterpart }));
    expect(() => fromXFormers(config as XFormersConfig)).toThrow(ConfigError);
  });

  it('is no matter where it has no effect in the original either', () => {
    const lost = model(encoder({ num_layers: 2, simplicial_embeddings: { L: 2 } }));
    expect(fromXFormers(lost, compat).kind).toBe('model');
    expect(() => fromXFormers(lost)).toThrow(noCounterpart);
  });
});
