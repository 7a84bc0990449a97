// Attention mechanisms of the original.
import { randomDirections } from '@onnxformers/attention';
import { ConfigError, describe } from '@onnxformers/core';
import { type Options, optionsOf, unknownName } from '../options';
import { plain, renamed, type Translated } from '../translated';
import type { XFormersConfig, XFormersOptions } from './options';

/** Options that the dispatcher adds: the width of the model and the number of heads. */
export interface Heads {
  readonly dim: number;
  readonly heads: number;
}

/** Translates one mechanism: from its options to a config of ours and the names of its weights. */
type Mechanism = (o: Options, options: XFormersOptions, dispatcher: Heads | undefined) => Translated;

const dropout = (o: Options) => ({ dropout: o.num('dropout', { default: 0 }) });

/** Mechanisms without a causal option in the original's config; it ignores the option, and the model then attends to later positions. */
function refuseCausal(o: Options, { compat }: XFormersOptions): void {
  if (!o.bool('causal', false) || compat) return;
  const hint = "compat: 'xformers' ignores causal, as the original does; the model then attends to later positions";
  throw new ConfigError({
    path: `${o.path}.causal`,
    problem: 'the mechanism cannot be causal',
    expected: 'false',
    got: 'true',
    hint,
  });
}

function refuseModule(o: Options, name: string): void {
  if (o.any(name) === undefined) return;
  throw new ConfigError({ path: `${o.path}.${name}`, problem: 'a config cannot contain a module', expected: 'no such option' });
}

/** A flag for each position: a list, a column [n, 1] as nested lists, or one of them as `{ __tensor__: … }`. */
function flagsOf(o: Options, name: string): { readonly flags: readonly boolean[]; readonly path: string } {
  const given = o.any(name);
  const path = `${o.path}.${name}`;
  const rows = isTensor(given) ? given.__tensor__ : given;
  const flags: readonly unknown[] | undefined = Array.isArray(rows) ? rows.flat() : undefined;
  const isColumn = Array.isArray(rows) && rows.length === flags?.length && flags.every((x) => typeof x === 'boolean');
  if (isColumn) return { flags: flags as readonly boolean[], path };
  const problem = given === undefined ? 'missing' : 'wrong value';
  throw new ConfigError({ path, problem, expected: 'true or false for each position, [n] or [n, 1]', got: describe(given) });
}
/** A causal option that the original loses when its dispatcher builds the mechanism from a config. */
function causalOf(o: Options, { compat }: XFormersOptions, dispatcher: Heads | undefined): boolean {
  const asked = o.bool('causal', false);
  return compat && dispatcher ? false : asked;
}

/** The layout of one head or of several: nested lists of 0 and 1, or of false and true, also as `{ __tensor__: … }`. */
function layoutOf(o: Options, name: string): readonly (readonly (readonly number[])[])[] {
  const given = o.any(name);
  const lists = isTensor(given) ? given.__tensor__ : given;
  const depth = (x: unknown): number => (Array.isArray(x) ? 1 + depth(x[0]) : 0);
  const numbers = (x: unknown): unknown => (Array.isArray(x) ? x.map(numbers) : typeof x === 'boolean' ? Number(x) : x);
  if (depth(lists) === 2) return [numbers(lists)] as never;
  if (depth(lists) === 3) return numbers(lists) as never;
  const problem = given === undefined ? 'missing' : 'wrong value';
  const expected = '0 or 1 for each block, [rows][columns] or [heads][rows][columns]';
  throw new ConfigError({ path: `${o.path}.${name}`, problem, expected, got: describe(given) });
}
const isTensor = (x: unknown): x is { readonly __tensor__: unknown } => typeof x === 'object' && x !== null && '__tensor__' in x;

const ourMaps = { sm_orf: 'orthogonal', sm_hyp: 'hyperbolic', sm_reg: 'regularized' } as const;

/** The map that a config names. The original ignores the option of this name. */
function namedMap(o: Options, compat: XFormersOptions['compat']): keyof typeof ourMaps {
  const named = o.word('feature_map', ['sm_orf', 'sm_hyp', 'sm_reg'], 'sm_reg');
  return compat ? 'sm_reg' : named;
}

const usualFeatures = (headDim: number): number => 2 * Math.floor(Math.ceil(headDim * (1 + Math.log2(headDim))) / 2);

const mechanisms: Readonly<Record<string, Mechanism>> = {
  scaled_dot_product(o) {
    const causal = o.bool('causal', false);
    // Sizes of a precomputed mask; ours is computed for the sizes of each run.
    for (const name of ['seq_len', 'to_seq_len']) o.any(name);
    return plain('attention', { name: 'scaled_dot_product', causal, ...dropout(o) });
  },
  local(o, { compat }) {
    const causal = o.bool('causal', false);
    const size = o.int('window_size', { default: 5 });
    if (!causal && size % 2 === 0)
      throw new ConfigError({
        path: `${o.path}.window_size`,
        problem: 'a window that is not causal has the same number of keys before and after the query',
        expected: 'an odd number, or causal: true',
        got: String(size),
      });
    const forceSparsity = o.bool('force_sparsity', false);
    // A causal window is that many keys before the query, and the key of the query.
    const window = compat ? { window: size, compat, forceSparsity } : { window: causal ? size + 1 : size };
    return plain('attention', { name: 'local', causal, ...window, ...dropout(o) });
  },
  random(o, options, dispatcher) {
    const { compat } = options;
    const density = o.num('r', { default: 0.01 });
    // A pattern that is drawn once is one of a seed.
    const redraw = !o.bool('constant_masking', true);
    const forceSparsity = o.bool('force_sparsity', false);
    const causal = causalOf(o, options, dispatcher);
    return plain('attention', {
      name: 'random',
      density,
      redraw,
      causal,
      ...dropout(o),
      ...(compat && { compat, forceSparsity }),
    });
  },
  global(o, { compat }) {
    const { flags, path } = flagsOf(o, 'attention_query_mask');
    const tokens = flags.flatMap((flag, i) => (flag ? [i] : []));
    if (flags.length < 2)
      throw new ConfigError({ path, problem: 'too short', expected: 'flags of at least two positions', got: `${flags.length}` });
    const causal = o.bool('causal', false);
    const forceSparsity = o.bool('force_sparsity', false);
    const pattern = compat ? { compat, seqLen: flags.length, forceSparsity } : {};
    return plain('attention', { name: 'global', tokens, causal, ...dropout(o), ...pattern });
  },
  blocksparse(o, options, dispatcher) {
    const size = o.int('block_size', { default: 16 });
    const layout = layoutOf(o, 'layout');
    o.int('num_heads', { default: dispatcher?.heads ?? 1 });
    const config = { name: 'blocksparse', layout, blockSize: size, scale: o.num('scale', { default: 1 }) };
    return plain('attention', { ...config, causal: causalOf(o, options, dispatcher), ...dropout(o) });
  },
  linformer(o, options) {
    refuseCausal(o, options);
    const seqLen = o.int('seq_len');
    const k = o.int('k', { default: Math.floor(seqLen / 4) });
    return { ...plain('attention', { name: 'linformer', seqLen, k, ...dropout(o) }), ...renamed(['E', 'E'], ['F', 'F']) };
  },
  nystrom(o, options, dispatcher) {
    const { compat } = options;
    for (const name of ['landmark_pooling', 'v_skip_connection']) refuseModule(o, name);
    const convolution = o.any('conv_kernel_size') === undefined ? undefined : o.int('conv_kernel_size');
    const config = {
      name: 'nystrom',
      heads: o.int('num_heads', dispatcher && { default: dispatcher.heads }),
      landmarks: o.int('num_landmarks', { default: 64 }),
      // That of the original is exact, by a singular value decomposition.
      ...(o.bool('use_razavi_pinverse', true) ? { pseudoInverse: 'iterative' } : { pseudoInverse: 'converged', float64: true }),
      sharedScale: o.bool('pinverse_original_init', false),
      causal: o.bool('causal', false),
      ...dropout(o),
      ...(convolution && { convolution }),
      ...(compat && { compat }),
    };
    const iterations = o.int('inv_iterations', { default: 6 });
    return {
      ...plain('attention', { ...config, ...(config.pseudoInverse === 'iterative' && { iterations }) }),
      ...renamed(['skip_connection', 'skip_connection']),
    };
  },
  orthoformer(o, { compat }) {
    const config = {
      name: 'orthoformer',
      landmarks: o.int('num_landmarks', { default: 32 }),
      selection: o.word('landmark_selection', ['orthogonal', 'kmeans', 'kmeans_spherical', 'random'], 'orthogonal'),
      subsample: o.num('subsample_fraction', { default: 1 }),
      ...dropout(o),
      // The original chooses anew in every run.
      ...(compat && { compat, redraw: true }),
    };
    return plain('attention', config);
  },
  favor(o, { compat }, dispatcher) {
    const map = o.word('feature_map_type', ['sm_orf', 'sm_hyp', 'sm_reg'], namedMap(o, compat));
    const ofDispatcher = dispatcher && dispatcher.dim / dispatcher.heads;
    const given = ['dim_features', 'dim_head'].some((name) => o.any(name) !== undefined);
    if (!given && !dispatcher)
      throw new ConfigError({ path: o.path, problem: 'missing', expected: 'dim_features or dim_head', got: 'neither' });
    const headDim = o.any('dim_head') === undefined ? ofDispatcher : o.int('dim_head');
    // The original's dispatcher sets the width of a head; otherwise the number follows from it.
    const usual = compat && dispatcher ? ofDispatcher : headDim && usualFeatures(headDim);
    const features = o.any('dim_features') === undefined ? usual : o.int('dim_features');
    const causal = o.bool('causal', false);
    // It cancels in an attention.
    o.bool('normalize_inputs', false);
    const redraw = o.any('iter_before_redraw') === undefined ? undefined : o.int('iter_before_redraw');
    const size = { ...(headDim !== undefined && { headDim }), ...(features !== undefined && { features }) };
    const config = { name: 'favor', ...size, map: ourMaps[map], causal, ...dropout(o), ...(compat && { compat }) };
    // The original has other features in inference too, contrary to the paper.
    if (compat && redraw !== undefined) return plain('attention', { ...config, redraw });
    // An odd number is refused by the block.
    const whole = map === 'sm_orf' || (features ?? 1) % 2 === 0;
    const tensor = whole && headDim && features && randomDirections({ headDim, features, map: ourMaps[map] }, 0);
    return {
      ...plain('attention', config),
      names: [['feature_map.features', 'features']],
      added: tensor ? [{ name: 'features', length: tensor.data.length, tensor }] : [],
    };
  },
  lambda(o, options) {
    const { compat } = options;
    refuseCausal(o, options);
    const [seqLen, headDim] = [o.int('seq_len'), o.int('dim_head')];
    const config = { name: 'lambda', seqLen, headDim, ...dropout(o), ...(compat && { compat }) };
    return { ...plain('attention', config), names: [['rel_pos_emb', 'rel_pos_emb']] };
  },
  compositional(o, { compat }, dispatcher) {
    refuseModule(o, 'in_proj_container');
    const dim = o.int('dim_model', dispatcher && { default: dispatcher.dim });
    const heads = o.int('num_heads', dispatcher && { default: dispatcher.heads });
    const [dimKey, dimValue] = [o.int('dim_key', { default: dim }), o.int('dim_value', { default: dim })];
    const dimAttention = o.int('dim_attn', { default: dim });
    for (const [name, width, expected] of [
      ['dim_key', dimKey, dim],
      ['dim_value', dimValue, dimAttention],
    ] as const)
      if (width !== expected)
        throw new ConfigError({
          path: `${o.path}.${name}`,
          problem: 'differs from the width that the mechanism uses',
          expected: String(expected),
          got: String(width),
        });
    // Weights that the original shares are in its checkpoints under every name.
    o.bool('use_separate_proj_weight', false);
    const keyedRules = o.bool('qk_rule', false);
    const config = {
      name: 'compositional',
      dim,
      heads,
      rules: o.int('num_rules', { default: heads }),
      dimAttention,
      dimSelection: o.int('dim_selection', { default: Math.floor(dim / heads) }),
      keyedRules,
      nonlinear: o.bool('nonlinear', false) && !keyedRules,
      composeQueries: o.bool('q_compose', false),
      bias: o.bool('bias', true),
      causal: o.bool('causal', false),
      ...dropout(o),
      ...(compat && { compat }),
    };
    const score = config.nonlinear
      ? ([
          ['score_network.0', 'score_network.up'],
          ['score_network.2', 'score_network.down'],
        ] as const)
      : ([['score_network', 'score_network']] as const);
    return {
      ...plain('mixer', config),
      ...renamed(
        ...['q_proj', 'k_proj', 'v_proj'].map((name) => [`in_proj_container.${name}`, name] as const),
        ['out_proj', 'o_proj'],
        ['value_q', 'value_q'],
        ['value_k', 'value_k'],
        ...score,
      ),
    };
  },
  pooling(o, options, dispatcher) {
    refuseCausal(o, options);
    if (o.int('stride', { default: 1 }) !== 1)
      throw new ConfigError({
        path: `${o.path}.stride`,
        problem: 'the result would have fewer positions than the input that it is added to',
        expected: '1',
        got: String(o.any('stride')),
      });
    // Ignored by the original, which pads by half the size.
    for (const name of ['padding', 'dropout']) o.any(name);
    return plain('mixer', {
      name: 'pooling',
      ...(dispatcher && { dim: dispatcher.dim }),
      poolSize: o.int('pool_size', { default: 3 }),
    });
  },
  visual(o, options, dispatcher) {
    refuseCausal(o, options);
    o.any('dropout');
    const dim = o.int('dim_model', dispatcher && { default: dispatcher.dim });
    return {
      ...plain('mixer', { name: 'visual', dim }),
      ...renamed(['block.0', 'proj_1'], ['block.2', 'spatial_gating_unit'], ['block.3', 'proj_2']),
    };
  },
  fourier_mix(o, options, dispatcher) {
    refuseCausal(o, options);
    return plain('mixer', {
      name: 'fourier_mix',
      ...(dispatcher && { dim: dispatcher.dim, heads: dispatcher.heads }),
      ...dropout(o),
    });
  },
};

// All options of all mechanisms, because the original ignores those that a mechanism does not have.
const allOptions: ReadonlySet<string> = new Set(
  `name dropout causal seq_len to_seq_len window_size force_sparsity k num_heads num_landmarks landmark_pooling
  pinverse_original_init inv_iterations v_skip_connection conv_kernel_size use_razavi_pinverse dim_model dim_attn num_rules
  dim_key dim_value dim_selection qk_rule nonlinear q_compose bias in_proj_container use_separate_proj_weight dim_features
  dim_head iter_before_redraw feature_map attention_query_mask subsample_fraction landmark_selection pool_size stride padding
  r constant_masking layout block_size`.split(/\s+/),
);

/** True for a config that names an attention mechanism of the original. */
export const isAttention = (name: unknown): boolean => typeof name === 'string' && Object.hasOwn(mechanisms, name);

/**
 * A mechanism. `fourier_mix` becomes a mixer, since it needs neither queries nor keys.
 *
 * Throws   ConfigError for an unknown name or option, and for options that the mechanism does not support
 */
export function attentionFrom(given: XFormersConfig, path: string, options: XFormersOptions, dispatcher?: Heads): Translated {
  const o = optionsOf(given, path);
  const name = o.any('name');
  if (typeof name !== 'string' || !Object.hasOwn(mechanisms, name))
    throw unknownName('attention', name, path, Object.keys(mechanisms));
  const translated = mechanisms[name]!(o, options, dispatcher);
  o.finish(allOptions);
  return translated;
}

/** True for mechanisms in which positions do not depend on later ones. */
export const isCausal = ({ config }: Translated): boolean => config.causal === true && config.name !== 'nystrom';

/** True for mechanisms in which the result of a query depends on other queries. */
export const mixesQueries = ({ config }: Translated): boolean => mixing.has(config.name);
const mixing: ReadonlySet<string> = new Set(['nystrom', 'orthoformer', 'fourier_mix', 'pooling', 'visual']);

/** True for mechanisms that the original's dispatcher calls on hidden states, without projections and heads of its own. */
export const skipsDispatcher = ({ config }: Translated): boolean => skipping.has(config.name);
const skipping: ReadonlySet<string> = new Set(['compositional', 'pooling', 'visual']);
