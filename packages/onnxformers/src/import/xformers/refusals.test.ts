// What the original refuses, as it recorded itself: each of these situations is refused here too, accepted for a reason, or not here yet.
import { readFileSync } from 'node:fs';
import {
  type CompileOptions,
  ConfigError,
  compile,
  createRunner,
  FeedError,
  initialize,
  type Ort,
  ShapeError,
  slidingWindow,
  targets,
  tensor,
} from '@onnxformers/core';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { bigBirdLayout, fixedLayout, layoutOf, swinWindows, variableLayout, zoo } from '../../index';
import { fromXFormers, fromXFormersHierarchy, type XFormersConfig, type XFormersOptions } from './index';

interface Situation {
  readonly id: string;
  readonly what: string;
  readonly raises: string | null;
}
const situations = (
  JSON.parse(readFileSync(new URL('../../../fixtures/xformers/tables.json', import.meta.url), 'utf8')) as { errors: Situation[] }
).errors;

const mlp = { name: 'MLP', activation: 'relu', hidden_layer_multiplier: 2, dropout: 0 };
const sdp = { name: 'scaled_dot_product', dropout: 0 };
const heads = (attention: object = sdp, more: object = {}) => ({ dim_model: 16, num_heads: 4, attention, ...more });
const block = (more: object = {}) => ({
  block_type: 'encoder',
  dim_model: 16,
  multi_head_config: heads(),
  feedforward_config: mlp,
  ...more,
});
const stacks = (...stack_configs: object[]) => ({ stack_configs });
const decoder = {
  block_type: 'decoder',
  dim_model: 16,
  multi_head_config_masked: heads(),
  multi_head_config_cross: heads(),
  feedforward_config: mlp,
};
const attentions: Record<string, object> = {
  linformer: { name: 'linformer', seq_len: 8, dropout: 0 },
  local: { name: 'local', window_size: 3 },
  nystrom: { name: 'nystrom', num_landmarks: 3, dropout: 0 },
  fourier_mix: { name: 'fourier_mix', dropout: 0 },
  lambda: { name: 'lambda', seq_len: 8, dim_head: 4, dropout: 0 },
  pooling: { name: 'pooling' },
  visual: { name: 'visual' },
  orthoformer: { name: 'orthoformer', num_landmarks: 3, dropout: 0 },
  favor: { name: 'favor', dim_features: 6, dropout: 0 },
  random: { name: 'random', r: 0.6, dropout: 0 },
  global: { name: 'global', attention_query_mask: [[true], [false], [false]], dropout: 0 },
  scaled_dot_product: sdp,
};

const stage = {
  embedding: 16,
  attention_mechanism: 'scaled_dot_product',
  patch_size: 3,
  stride: 2,
  padding: 1,
  seq_len: 64,
  feedforward: 'MLP',
};

const translate = (config: XFormersConfig, options?: XFormersOptions) => () => fromXFormers(config, options);
const build = (config: XFormersConfig, options?: XFormersOptions) => {
  const { kind, config: ours } = fromXFormers(config, options);
  return zoo.parse(kind, ours);
};
const compiled = (
  config: XFormersConfig,
  inputs: CompileOptions['inputs'],
  change: (ours: object) => object = (ours) => ours,
) => {
  const { kind, config: ours } = fromXFormers(config);
  return compile(zoo.parse(kind, change(ours)), { target: targets.cpu, inputs });
};
const x = (seq: number) => ['float32', [2, seq, 16]] as const;
const withMask = (name: string) => () => compiled(heads(attentions[name]), { x: x(8), attention_mask: ['bool', [1, 1, 8, 8]] });
const crossed = (attention: object, seq: number, rows: number) => () =>
  compiled(heads(attention), { x: x(seq), memory: x(rows) }, (ours) => ({ ...ours, cross: true }));

const across = (name: string) => translate({ ...decoder, multi_head_config_cross: heads(attentions[name]) });

/** What is refused, how to bring it about, and with which error. */
const refused: Readonly<Record<string, readonly [() => unknown, new (...args: never[]) => Error, RegExp]>> = {
  heads_not_dividing: [
    translate(heads(sdp, { num_heads: 3 })),
    ConfigError,
    /num_heads: the number of channels is not a multiple of the number of heads; expected a divisor of dim_model = 16, got 3/,
  ],
  causal_cross: [crossed({ ...sdp, causal: true }, 5, 8), ConfigError, /positions of queries and of a memory/],
  same_kq_local: [crossed(attentions.local!, 5, 8), ConfigError, /positions of queries and of a memory/],
  same_kq_lambda: [crossed(attentions.lambda!, 5, 8), ConfigError, /expected self attention without .*, got a memory/],
  ...Object.fromEntries(
    ['pooling', 'visual'].flatMap((name) => [
      [`same_kq_${name}`, [across(name), ConfigError, /multi_head_config_cross\.attention: the mechanism reads one sequence/]],
      [`att_mask_${name}`, [withMask(name), ConfigError, new RegExp(`${name} does not support the mask: dense`)]],
    ]),
  ),
  att_mask_favor: [withMask('favor'), ConfigError, /favor does not support the mask: dense/],
  favor_no_dims: [translate({ name: 'favor' }), ConfigError, /favor: missing; expected dim_features or dim_head, got neither/],
  favor_odd: [
    () => build(heads({ ...attentions.favor, dim_features: 7 })),
    ConfigError,
    /features: the map regularized makes two features of each direction; expected an even number, got 7/,
  ],
  comp_value_dim: [
    () => build(heads({ name: 'compositional', num_rules: 3 })),
    ConfigError,
    /rules: does not divide dimAttention; expected a divisor of dimAttention = 16, got 3/,
  ],
  att_mask_lambda: [withMask('lambda'), ConfigError, /lambda does not support the mask: dense/],
  pooling_not_square: [
    () => compiled(heads(attentions.pooling), { x: x(8) }),
    ShapeError,
    /the rows and columns of the positions are not known/,
  ],
  pooling_stride2: [translate({ name: 'pooling', stride: 2 }), ConfigError, /pooling\.stride: .*; expected 1, got 2/],
  same_kq_random: [crossed(attentions.random!, 5, 8), ConfigError, /positions of queries and of a memory/],
  same_kq_global: [crossed(attentions.global!, 5, 8), ConfigError, /positions of queries and of a memory/],
  global_mask_dtype: [
    translate({ name: 'global', attention_query_mask: [[1], [0]], dropout: 0 }),
    ConfigError,
    /attention_query_mask: wrong value; expected true or false for each position, \[n\] or \[n, 1\]/,
  ],
  att_mask_linformer: [withMask('linformer'), ConfigError, /linformer does not support the mask: dense/],
  att_mask_nystrom: [withMask('nystrom'), ConfigError, /nystrom does not support the mask: dense/],
  att_mask_fourier_mix: [withMask('fourier_mix'), ConfigError, /fourier_mix does not support the mask: dense/],
  local_even_window: [
    translate({ name: 'local', window_size: 4 }),
    ConfigError,
    /local.window_size: .*; expected an odd number, or causal: true, got 4/,
  ],
  linformer_longer: [() => compiled(heads({ ...attentions.linformer, seq_len: 4 }), { x: x(8) }), ShapeError, /8/],
  nystrom_kp_shape: [() => compiled(heads(attentions.nystrom), { x: x(8), attention_mask: ['bool', [2, 5]] }), ShapeError, /5|8/],
  nystrom_even_conv: [
    () => build(heads({ ...attentions.nystrom, conv_kernel_size: 4 })),
    ConfigError,
    /convolution: the convolution has an even width, so it has no centre; expected an odd number, got 4/,
  ],
  conv_not_square: [
    () => compiled({ ...mlp, name: 'Conv2DFeedforward', dim_model: 16 }, { x: x(8) }),
    ShapeError,
    /conv2d_feedforward.grid: the rows and columns of the positions are not known; expected .* a square number of positions, got 8 positions/,
  ],
  simplicial_L: [
    () => build(block({ simplicial_embeddings: { L: 3 } })),
    ConfigError,
    /stack.norm.groups: the channels cannot be divided into groups of equal size; expected a divisor of dim = 16, got 3/,
  ],
  rev_deepnorm: [
    translate(stacks(block({ reversible: true, residual_norm_style: 'deepnorm' }))),
    ConfigError,
    /reversible layers have no residual connections to scale; expected residual_norm_style pre or post, got deepnorm/,
  ],
  rev_tied: [
    translate({ ...stacks(block({ reversible: true }), decoder), tie_embedding_weights: true }),
    ConfigError,
    /tie_embedding_weights: a reversible encoder has an embedding of its own/,
  ],
  rev_mixed: [
    translate(stacks(block({ reversible: true }), block())),
    ConfigError,
    /some encoder stacks only are reversible; .* got encoder true, encoder false/,
  ],
  rev_decoder: [
    translate(stacks(block(), { ...decoder, reversible: true })),
    ConfigError,
    /a decoder cannot be reversible; .* got encoder false, decoder true/,
  ],
  swin_div: [() => swinWindows([7, 8], { window: 4 }), ShapeError, /the window does not divide height and width; .* got 4/],
  swin_shift: [() => swinWindows([8, 8], { window: 4, shift: 4 }), ShapeError, /an integer from 0 to 3, got 4/],
  layout_div: [
    () => layoutOf(tensor('bool', [20, 20], new Array(400).fill(1)), 16),
    ShapeError,
    /multiples of 16, got \[20, 20\]/,
  ],
  layout_seq: [() => fixedLayout({ seqLen: 100, heads: 1 }), ShapeError, /a multiple of blockSize = 16, got 100/],
  fixed_global: [
    () => fixedLayout({ seqLen: 128, heads: 1, globalBlocks: 3 }),
    ShapeError,
    /a multiple of globalBlocks = 3, got 4/,
  ],
  fixed_dir: [() => fixedLayout({ seqLen: 128, heads: 1, direction: 'both' as never }), ShapeError, /direction: not a direction/],
  fixed_horizontal: [
    () => fixedLayout({ seqLen: 128, heads: 1, horizontalGlobal: true, direction: 'unidirectional' }),
    ShapeError,
    /horizontalGlobal: global blocks would attend to later ones/,
  ],
  fixed_patterns: [() => fixedLayout({ seqLen: 128, heads: 2, globalPatterns: 2 }), ShapeError, /1, or perHead: true, got 2/],
  variable_ends: [
    () => variableLayout({ seqLen: 128, heads: 1, globalIndices: [0, 3], globalEnds: [1] }),
    ShapeError,
    /globalEnds: another number of ends than of starts; expected 2 ends, got 1/,
  ],
  unknown_attention: [translate(heads({ name: 'nope' })), ConfigError, /attention.name: no such attention; got "nope"/],
  unknown_feedforward: [
    translate(block({ feedforward_config: { ...mlp, name: 'nope' } })),
    ConfigError,
    /feedforward_config.name: no such feedforward; got "nope"/,
  ],
  mlp_no_multiplier: [
    translate({ name: 'MLP', dim_model: 8, dropout: 0, activation: 'relu' }),
    ConfigError,
    /MLP.hidden_layer_multiplier: missing; expected a number, got nothing/,
  ],
  bad_activation: [
    translate({ ...mlp, dim_model: 8, activation: 'tanh' }),
    ConfigError,
    /MLP.activation: wrong value; expected one of "relu", .*, got "tanh"/,
  ],
  decoder_only: [translate(stacks(decoder), { compat: 'xformers' }), ConfigError, /the model has a decoder and no encoder/],
  deepnorm_mixed: [
    translate(stacks(block({ residual_norm_style: 'deepnorm' }), block({ residual_norm_style: 'pre' }))),
    ConfigError,
    /deepnorm in some stacks only/,
  ],
  micro_vit_two_layers_cls: [
    translate(stacks(block({ num_layers: 2, patch_embedding_config: { in_channels: 3, kernel_size: 2, stride: 2 } })), {
      compat: 'xformers',
    }),
    ConfigError,
    /patch_embedding_config: the original embeds patches in every layer, and fails in the second; expected num_layers 1, got 2/,
  ],
  bad_style: [
    translate(block({ residual_norm_style: 'sandwich' })),
    ConfigError,
    /residual_norm_style: wrong value; expected one of "pre", "post", "deepnorm", got "sandwich"/,
  ],
  block_type_mismatch: [translate(block({ block_type: 'decoder' })), ConfigError, /decoder.multi_head_config_masked: missing/],
  unknown_field: [translate(block({ foo: 1 })), ConfigError, /encoder: unknown option "foo"; got 1/],
  vocab_longer: [() => runVocab(6), FeedError, /at most 5, by vocab\.seqLen, got 6/],
};

async function runVocab(seq: number): Promise<unknown> {
  const embedding = build({ name: 'vocab', dim_model: 4, seq_len: 5, vocab_size: 7 });
  const model = compile(embedding, {
    target: targets.cpu,
    inputs: { ids: ['int64', ['batch', 'seq']] },
    weights: initialize(embedding, { seed: 1 }),
  });
  return (await createRunner(model, ort as unknown as Ort))({ ids: tensor('int64', [1, seq], new Array(seq).fill(1)) });
}

/** What the original refuses and this library does, with a situation that must go through. */
const accepted: Readonly<Record<string, readonly [why: string, () => unknown]>> = {
  same_kq_linformer: ['only keys and values are mixed', crossed(attentions.linformer!, 5, 8)],
  att_mask_orthoformer: [
    'ignored, as the original does',
    () =>
      compile(build(heads(attentions.orthoformer), { compat: 'xformers' }), {
        target: targets.cpu,
        inputs: { x: ['float32', [2, 'seq', 16]], attention_mask: ['bool', [1, 1, 'seq', 'seq']] },
      }),
  ],
  att_mask_compositional: [
    'not refused there either',
    () => compiled(heads({ name: 'compositional', num_rules: 2 }), { x: x(8), attention_mask: ['bool', [1, 1, 8, 8]] }),
  ],
  lambda_seq1: ['not refused there either', () => compiled(heads(attentions.lambda), { x: x(1) })],
  att_mask_local: ['both masks hold', withMask('local')],
  att_mask_global: ['both masks hold', withMask('global')],
  random_mask_object: ['both masks hold', withMask('random')],
  random_r1: ['all pairs are a pattern', () => compiled(heads({ ...attentions.random, r: 1 }), { x: x(8) })],
  random_longer: ['the pattern goes on', () => compiled(heads(attentions.random), { x: x(16) })],
  global_mask_shape: [
    'a list has a flag for each position',
    () => compiled(heads({ ...attentions.global, attention_query_mask: [true, false, false] }), { x: x(8) }),
  ],
  att_mask_scaled_dot_product: ['not refused there either', withMask('scaled_dot_product')],
  key_padding_sdp: [
    'every softmax attention knows padding',
    () => compiled(heads(), { x: x(8), attention_mask: ['bool', [2, 8]] }),
  ],
  local_user_mask_dense: [
    'both masks hold',
    () => compiled(heads({ name: 'local', window_size: 5 }), { x: x(8), attention_mask: ['bool', [1, 1, 8, 8]] }),
  ],
  rotary_q_longer: [
    'rows of each side are counted by themselves',
    () => compiled(heads(sdp, { use_rotary_embeddings: true }), { x: x(8), memory: x(5) }, (ours) => ({ ...ours, cross: true })),
  ],
  local_1d_even: ['a window states its two sides', () => slidingWindow({ left: 2, right: 1 })],
  bigbird_uni_random: [
    'a row with fewer blocks before it has all of them',
    () => bigBirdLayout({ seqLen: 128, heads: 1, randomBlocks: 2, direction: 'unidirectional' }),
  ],
  hier_enum_style: ['the default style is pre', () => build({ stack_configs: fromXFormersHierarchy([stage]) })],
  hier_needs_dropout: [
    'what an attention needs follows from the stage',
    () => build({ stack_configs: fromXFormersHierarchy([{ ...stage, attention_mechanism: 'linformer' }]) }),
  ],
  dim_value: ['the output projection takes the width of the values', () => compiled(heads(sdp, { dim_value: 8 }), { x: x(8) })],
  learnable_shorter: ['the first rows serve', () => compiled({ name: 'learnable', dim_model: 16, seq_len: 10 }, { x: x(8) })],
};

describe('situations that the original refuses', () => {
  it('are all accounted for, each once', () => {
    const known = [...Object.keys(refused), ...Object.keys(accepted)];
    expect(known.sort()).toEqual(situations.map(({ id }) => id).sort());
    expect(situations).toHaveLength(71);
  });

  it.each(Object.entries(refused))('%s', async (id, [bring, kind, message]) => {
    expect(situations.find((s) => s.id === id)!.raises).not.toBeNull();
    const error = await (async () => bring())().then(
      () => undefined,
      (fault: unknown) => fault,
    );
    expect(error).toBeInstanceOf(kind);
    expect((error as Error).message).toMatch(message);
  });

  it.each(Object.entries(accepted).map(([id, [why, bring]]) => [id, why, bring] as const))(
    '%s is accepted: %s',
    (_, __, bring) => {
      expect(bring).not.toThrow();
    },
  );
});

describe('a sequence longer than a linformer', () => {
  it('is refused when its length is known', () => {
    expect(() => compiled(heads({ name: 'linformer', seq_len: 4, dropout: 0 }), { x: x(8) })).toThrow(ShapeError);
  });
  it('is a wrong feed for a model that was compiled for one length', async () => {
    const embedding = build({ name: 'vocab', dim_model: 4, seq_len: 5, vocab_size: 7 });
    const model = compile(embedding, {
      target: targets.cpu,
      inputs: { ids: ['int64', [1, 5]] },
      weights: initialize(embedding, { seed: 1 }),
    });
    const run = await createRunner(model, ort as unknown as Ort);
    await expect(run({ ids: tensor('int64', [1, 6], new Array(6).fill(1)) })).rejects.toThrow(FeedError);
    await run.dispose();
  });
});
