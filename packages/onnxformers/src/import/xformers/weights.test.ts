import {
  compile,
  createRunner,
  initialize,
  namesOf,
  type Ort,
  type Tensor,
  targets,
  tensor,
  WeightError,
  type WeightSource,
} from '@onnxformers/core';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { zoo } from '../../index';
import { built, compat, decoder, encoder, heads, mlp, model } from './configs.test-helper';
import { fromXFormers, fromXFormersWeights, type XFormersConfig, type XFormersOptions } from './index';

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

  it('of a model without the norm that it should have: the norm is missing, but not with compat', () => {
    const config = model(encoder({ num_layers: 2 }));
    const checkpoint = new Map([0, 1].flatMap((i) => sub(`encoders.${i}.`, block(false))));
    const inputs = { x: ['float32', ['batch', 'seq', 8]] } as const;
    const load = (options?: XFormersOptions) =>
      compile(built(config, options), { target: targets.cpu, inputs, weights: fromXFormersWeights(checkpoint, config, options) });
    expect(() => load()).toThrow(WeightError);
    expect(() => load()).toThrow('weight "stack.norm.weight": missing');
    expect(load(compat).weights!.size).toBe(2 * 16);
  });

  it('that are not used here are dropped', () => {
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
      'weight "mlp.7.weight": unknown weight; no block of the config has it. Near it: mlp.0.weight',
    );
  });
});

describe('input masks', () => {
  // A mask of ones changes nothing; one with a 0 takes the row out of keys and values, but leaves it in the softmax.
  it('scale the positions of keys and values', async () => {
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

describe('tied embeddings', () => {
  const vocab = { name: 'vocab', seq_len: 7, vocab_size: 11 };
  const stacks = model(encoder({ position_encoding_config: vocab }), decoder({ position_encoding_config: vocab, num_layers: 2 }));
  const tied = { ...stacks, tie_embedding_weights: true };
  const int64 = (dims: readonly number[], f: (i: number) => number) =>
    tensor(
      'int64',
      dims,
      Array.from({ length: dims.reduce((a, b) => a * b) }, (_, i) => f(i)),
    );
  const feeds = { ids: int64([2, 5], (i) => (3 * i) % 11), decoder_ids: int64([2, 3], (i) => (7 * i + 1) % 11) };
  const inputs = { ids: ['int64', ['batch', 'seq']], decoder_ids: ['int64', ['batch', 'target']] } as const;
  /** A checkpoint of the original by our names of it, so that each name has numbers of its own. */
  function checkpoint(config: XFormersConfig): Map<string, Tensor> {
    const ours = new Map([...fromOurs(built(config))]);
    return new Map([...ours].map(([name, t]) => [original(name), t]));
  }
  const fromOurs = (module: ReturnType<typeof built>) =>
    [...namesOf(module).parameters].map(([name, { dims }], at) => {
      const length = dims.reduce((a, b) => a * b, 1);
      return [
        name,
        tensor(
          'float32',
          dims,
          Array.from({ length }, (_, i) => Math.sin(1 + at + 0.7 * i)),
        ),
      ] as const;
    });
  const places: readonly (readonly [RegExp, string])[] = [
    [/^(en|de)coder\.embedding\./, '$1coders.0.pose_encoding.'],
    [/^encoder\.stack\.norm/, 'encoders.0.wrap_ff.norm'],
    [/^decoder\.stack\.norm/, 'decoders.1.wrap_ff.norm'],
    [/^(en|de)coder\.stack\.layers\./, '$1coders.'],
    [/\.norm1\./, '.wrap_att.layer.norm.'],
    [/\.norm_cross\./, '.wrap_cross.layer.norm.'],
    [/\.norm2\./, '.wrap_ff.layer.norm.'],
    [/\.mixer\.(._proj)/, '.wrap_att.layer.sublayer.in_proj_container.$1'],
    [/\.cross\.(._proj)/, '.wrap_cross.layer.sublayer.in_proj_container.$1'],
    [/in_proj_container\.o_proj/, 'proj'],
    [/\.feedforward\.up/, '.wrap_ff.layer.sublayer.mlp.0'],
    [/\.feedforward\.down/, '.wrap_ff.layer.sublayer.mlp.3'],
  ];
  const original = (name: string): string => places.reduce((n, [from, to]) => n.replace(from, to), name);

  async function run(config: XFormersConfig, weights: WeightSource) {
    const compiled = compile(built(config), {
      target: targets.portable(),
      inputs,
      weights: fromXFormersWeights(weights, config),
    });
    const runner = await createRunner(compiled, ort as unknown as Ort);
    const { hidden_states } = await runner(feeds);
    await runner.dispose();
    return Array.from(hidden_states!.data as Float32Array);
  }
  const tables = ['word_embeddings', 'position_embeddings'];

  it('are one weight under both names', () => {
    const { parameters, aliases } = namesOf(built(tied));
    const own = namesOf(built(stacks)).parameters;
    expect(own.size - parameters.size).toBe(2);
    expect([...aliases]).toEqual(tables.map((t) => [`decoder.embedding.${t}.weight`, `encoder.embedding.${t}.weight`]));
  });

  it('are read from a checkpoint that contains them twice, or once', async () => {
    const apart = checkpoint(stacks);
    for (const t of tables) apart.set(`encoders.0.pose_encoding.${t}.weight`, apart.get(`decoders.0.pose_encoding.${t}.weight`)!);
    const expected = await run(stacks, apart);
    expect(await run(tied, apart)).toEqual(expected);
    const once = new Map([...apart].filter(([name]) => !name.startsWith('encoders.0.pose_encoding.')));
    expect(await run(tied, once)).toEqual(expected);
    await expect(run(stacks, once)).rejects.toThrow(/encoder\.embedding\.word_embeddings\.weight/);
    expect(await run(stacks, checkpoint(stacks))).not.toEqual(expected);
  });

  it("are the decoder's, whatever the encoder's config says", () => {
    const other = model(
      encoder({ position_encoding_config: { name: 'sine' } }),
      decoder({ position_encoding_config: { ...vocab, seq_len: 13 } }),
    );
    const { config } = fromXFormers({ ...other, tie_embedding_weights: true });
    const { encoder: e, decoder: d } = config as { encoder?: { embedding: object }; decoder?: { embedding: object } };
    expect(e!.embedding).toEqual(d!.embedding);
    expect(fromXFormers({ ...model(encoder({ position_encoding_config: vocab })), tie_embedding_weights: true }).config).toEqual(
      fromXFormers(model(encoder({ position_encoding_config: vocab }))).config,
    );
    const sines = model(encoder(), decoder({ position_encoding_config: { name: 'sine' } }));
    expect(fromXFormers({ ...sines, tie_embedding_weights: true }).config).not.toHaveProperty('tiedEmbeddings');
  });

  it('need weights that agree', () => {
    const { config } = fromXFormers(tied);
    const { encoder: e } = config as { encoder?: { embedding: object } };
    const wider = { ...config, encoder: { ...e, embedding: { ...e!.embedding, vocabSize: 13 } } };
    expect(() => zoo.parse('model', wider)).toThrow(
      /tiedEmbeddings: encoder and decoder cannot have tied embeddings; expected an encoder with embedding\.word_embeddings\.weight \[11, 8\].*got .*\[13, 8\]/,
    );
  });
});
