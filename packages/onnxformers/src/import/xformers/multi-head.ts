// The original's dispatcher: projections, heads, rotary embedding and a mechanism.
import { ConfigError, describe } from '@onnxformers/core';
import { type Options, optionsOf } from '../options';
import { type OurConfig, renamed, type Translated, together, under } from '../translated';
import { attentionFrom, type Heads, skipsDispatcher } from './attention';
import type { XFormersConfig, XFormersOptions } from './options';

function biases(o: Options): Pick<OurConfig, string> {
  const given = o.any('bias') ?? true;
  const list = Array.isArray(given) ? given : [given, given, given, given];
  if (list.length !== 4 || list.some((b) => typeof b !== 'boolean'))
    throw new ConfigError({
      path: `${o.path}.bias`,
      problem: 'wrong value',
      expected: 'true, false, or four of them: of queries, keys, values and output',
      got: describe(given),
    });
  const [queryBias, keyBias, valueBias, outBias] = list as boolean[];
  return { queryBias, keyBias, valueBias, outBias };
}

function checkedHeads(o: Options, dim: number, heads: number): Heads {
  if (dim % heads)
    throw new ConfigError({
      path: `${o.path}.num_heads`,
      problem: 'the number of channels is not a multiple of the number of heads',
      expected: `a divisor of dim_model = ${dim}`,
      got: String(heads),
    });
  return { dim, heads };
}

function perHead(o: Options, name: string, { dim, heads }: Heads): number {
  const width = o.int(name, { default: dim });
  if (width % heads === 0) return width / heads;
  const expected = `a multiple of num_heads = ${heads}`;
  throw new ConfigError({
    path: `${o.path}.${name}`,
    problem: 'the number of channels is not a multiple of the number of heads',
    expected,
    got: String(width),
  });
}

/** Output width of a projection that replaces the default one: a module in the original, of which a config can only state sizes. */
function outputWidth(o: Options, dim: number): number {
  const given = o.any('out_proj');
  if (given === undefined) return dim;
  const width = (given as { readonly out_features?: unknown }).out_features;
  if (Number.isSafeInteger(width) && (width as number) > 0) return width as number;
  throw new ConfigError({
    path: `${o.path}.out_proj`,
    problem: 'wrong value',
    expected: '{ out_features }',
    got: describe(given),
  });
}

/**
 * Multi-head attention. Weights that the original shares between projections are in its checkpoints under every name, and are separate weights here.
 *
 * @param dim width of the enclosing block, if `dim_model` is omitted
 * @param cross keys and values come from the memory
 */
export function multiHeadFrom(
  given: XFormersConfig,
  path: string,
  options: XFormersOptions,
  dim?: number,
  cross = false,
): Translated {
  const o = optionsOf(given, path);
  const dispatcher = checkedHeads(o, o.int('dim_model', dim === undefined ? {} : { default: dim }), o.int('num_heads'));
  const attention = attentionFrom(o.config('attention'), `${path}.attention`, options, dispatcher);
  const rotary = o.bool('use_rotary_embeddings', false);
  const outDim = outputWidth(o, dispatcher.dim);
  const probability = o.num('residual_dropout', { default: 0 });
  const bias = biases(o);
  o.bool('use_separate_proj_weight', true);
  for (const name of ['in_proj_container', 'use_triton']) o.any(name);
  const [headDim, valueHeadDim] = [perHead(o, 'dim_key', dispatcher), perHead(o, 'dim_value', dispatcher)];
  o.finish();
  // The original always saves its dispatcher's projections, even if a mechanism does not use them.
  const projections = ['q_proj', 'k_proj', 'v_proj'].map((name) => [`in_proj_container.${name}`, name] as const);
  const buffers = ['rotary_embeddings.{x}'];
  if (skipsDispatcher(attention)) {
    const attends = attention.config.name === 'compositional';
    if (cross && !attends)
      throw new ConfigError({
        path: `${path}.attention`,
        problem: 'the mechanism reads one sequence, so it cannot attend to a memory',
        expected: 'a mechanism with keys and values',
        got: String(attention.config.name),
      });
    const unused = [...projections.map(([name]) => name), 'proj'].map((name) => `${name}.{x}`);
    const weights = under('attention.', '', attention);
    const config = cross ? { ...attention.config, cross } : attention.config;
    return { ...attention, config, ...weights, unused: [...weights.unused, ...unused, ...buffers] };
  }
  if (attention.kind === 'mixer') {
    const weights = together(renamed(['proj', 'o_proj']), {
      names: [],
      unused: [...projections.map(([name]) => `${name}.{x}`), ...buffers],
      added: [],
    });
    const { compat } = options;
    const mixer = {
      ...attention.config,
      outputProjection: true,
      bias: bias.outBias,
      ...(rotary && { rotaryEmbedding: 'rotary' }),
      ...(cross && compat && { compat }),
    };
    return { kind: 'mixer', config: mixer, ...weights };
  }
  const config: OurConfig = {
    name: 'multi_head',
    ...dispatcher,
    headDim,
    valueHeadDim,
    outDim,
    ...bias,
    dropout: probability,
    attention: attention.config,
    ...(cross && { cross }),
    ...(rotary && { rotaryEmbedding: 'rotary' }),
  };
  const weights = together(renamed(...projections, ['proj', 'o_proj']), under('attention.', 'attention.', attention));
  return { kind: 'mixer', config, ...weights, unused: [...weights.unused, ...buffers] };
}

/** `TimmSparseAttention`: one projection for queries, keys and values. */
export function timmFrom(given: XFormersConfig, path: string): Translated {
  const o = optionsOf(given, path);
  const { dim, heads } = checkedHeads(o, o.int('dim'), o.int('num_heads', { default: 8 }));
  const bias = o.bool('qkv_bias', false);
  const probability = o.num('attn_drop', { default: 0 });
  const config = {
    name: 'multi_head',
    dim,
    heads,
    fused: true,
    bias,
    outBias: true,
    dropout: o.num('proj_drop', { default: 0 }),
    attention: { name: 'scaled_dot_product', dropout: probability },
  };
  o.any('attn_mask');
  o.finish();
  return { kind: 'mixer', config, ...renamed(['qkv', 'qkv_proj'], ['proj', 'o_proj']) };
}
