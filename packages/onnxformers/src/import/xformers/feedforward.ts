// Feed-forwards and activations of the original.
import { ConfigError } from '@onnxformers/core';
import { noCounterpart, type Options, optionsOf, unknownName } from '../options';
import { plain, renamed, type Translated, together } from '../translated';
import type { XFormersConfig, XFormersOptions } from './options';

/** Activations by the original's names; null is the identity. */
const activations = ['relu', 'gelu', 'leaky_relu', 'squared_relu', 'star_relu', 'smelu'] as const;

/** Throws   ConfigError for a name that the original does not know */
export function activationFrom(o: Options, name = 'activation'): string {
  return o.any(name) === undefined ? 'identity' : o.word(name, activations);
}

/** An activation alone: `{ activation: 'smelu' }`. */
export function activationConfigFrom(given: XFormersConfig, path: string): Translated {
  const o = optionsOf(given, path);
  const translated = plain('activation', { name: activationFrom(o) });
  o.finish();
  return translated;
}

function hiddenOf(o: Options, width: number, times: number): number {
  const hidden = width * times;
  if (!Number.isSafeInteger(hidden) || hidden < 1)
    throw new ConfigError({
      path: `${o.path}.hidden_layer_multiplier`,
      problem: 'the number of hidden channels is not an integer',
      expected: `a number whose product with ${width} is an integer`,
      got: String(times),
    });
  return hidden;
}

const widthOf = (o: Options, dim: number | undefined): number => o.int('dim_model', dim === undefined ? {} : { default: dim });

function mlp(o: Options, dim: number | undefined) {
  const width = widthOf(o, dim);
  const config = {
    name: 'mlp',
    dim: width,
    hidden: hiddenOf(o, width, o.num('hidden_layer_multiplier')),
    bias: o.bool('bias', true),
    dropout: o.num('dropout', { default: 0 }),
    activation: activationFrom(o),
  };
  return config;
}

/** Its gate `top_2` drops the tokens beyond twice the mean number of an expert, and samples the second expert in inference too. */
function mixtureOfExperts(o: Options, dim: number | undefined, { compat }: XFormersOptions): Translated {
  const width = widthOf(o, dim);
  const experts = o.int('number_of_experts');
  const gate = o.word('gate', ['round_robin', 'top_2']);
  o.int('number_of_local_experts', { default: experts });
  for (const name of ['expert_constructor', 'group'])
    if (o.any(name) !== undefined)
      throw new ConfigError({ path: `${o.path}.${name}`, problem: noCounterpart, got: `the option "${name}"` });
  const config = {
    name: 'mixture_of_experts',
    dim: width,
    experts,
    gate,
    hidden: hiddenOf(o, width, o.num('hidden_layer_multiplier', { default: 4 })),
    ...(gate === 'top_2' && { capacity: 2, ...(compat && { compat }) }),
    bias: o.bool('bias', true),
    dropout: o.num('dropout', { default: 0 }),
    activation: activationFrom(o),
  };
  const weights = Array.from({ length: experts }, (_, i) =>
    renamed([`moe.experts.${i}.mlp.0`, `experts.${i}.up`], [`moe.experts.${i}.mlp.3`, `experts.${i}.down`]),
  );
  // The original's state dict contains the router twice.
  const router = gate === 'top_2' ? [renamed(['gate.wg', 'router'], ['moe.gate.wg', 'router'])] : [];
  return { kind: 'feedforward', config, ...together(...weights, ...router) };
}

/** It reads an image by columns. */
function conv2dFeedforward(o: Options, dim: number | undefined): Translated {
  const width = widthOf(o, dim);
  const config = {
    name: 'conv2d_feedforward',
    dim: width,
    hidden: hiddenOf(o, width, o.num('hidden_layer_multiplier', { default: 1 })),
    outDim: o.int('dim_model_out', { default: width }),
    kernelAxis: 'columns',
    dropout: o.num('dropout', { default: 0 }),
    activation: o.any('activation') === undefined ? 'gelu' : activationFrom(o),
  };
  const names = [
    ['conv_mlp.0', 'up'],
    ['conv_mlp.1', 'depthwise'],
    ['conv_mlp.3', 'down'],
  ] as const;
  return { ...plain('feedforward', config), ...renamed(...names) };
}

const feedforwards: Readonly<Record<string, (o: Options, dim: number | undefined, options: XFormersOptions) => Translated>> = {
  MLP: (o, dim) => ({ ...plain('feedforward', mlp(o, dim)), ...renamed(['mlp.0', 'up'], ['mlp.3', 'down']) }),
  // The same function. Its biases are not parameters in the original: never trained, never saved.
  FusedMLP(o, dim) {
    const config = mlp(o, dim);
    return {
      ...plain('feedforward', config),
      names: [
        ['mlp.0.weight', 'up.weight'],
        ['mlp.1.bias', 'up.bias'],
        ['mlp.2.weight', 'down.weight'],
        ['mlp.3.bias', 'down.bias'],
      ],
      added: config.bias
        ? [
            { name: 'up.bias', length: config.hidden },
            { name: 'down.bias', length: config.dim },
          ]
        : [],
    };
  },
  MixtureOfExperts: mixtureOfExperts,
  Conv2DFeedforward: conv2dFeedforward,
};

const allOptions: ReadonlySet<string> = new Set(
  `name dim_model dropout activation hidden_layer_multiplier bias dim_model_out act_layer number_of_experts gate
  number_of_local_experts expert_constructor group`.split(/\s+/),
);

/** True for a config that names a feed-forward of the original. */
export const isFeedforward = (name: unknown): boolean => typeof name === 'string' && Object.hasOwn(feedforwards, name);

/** Throws   ConfigError for an unknown name or option, or a hidden width that is not an integer */
export function feedforwardFrom(given: XFormersConfig, path: string, options: XFormersOptions, dim?: number): Translated {
  const o = optionsOf(given, path);
  const name = o.any('name');
  if (typeof name !== 'string' || !Object.hasOwn(feedforwards, name))
    throw unknownName('feedforward', name, path, Object.keys(feedforwards));
  const translated = feedforwards[name]!(o, dim, options);
  o.finish(allOptions);
  return translated;
}

/** The original's `SwiGLU`, with both input maps as one weight or as two. */
export function swigluFrom(given: XFormersConfig, path: string): Translated {
  const o = optionsOf(given, path);
  const dim = o.int('in_features');
  const packed = o.bool('_pack_weights', true);
  const config = {
    name: 'glu',
    dim,
    packed,
    bias: o.bool('bias', true),
    hidden: o.int('hidden_features', { min: 0, default: 0 }) || dim,
    outDim: o.int('out_features', { min: 0, default: 0 }) || dim,
  };
  o.finish();
  const up = packed ? [['w12', 'gate_up_proj'] as const] : [['w1', 'gate_proj'] as const, ['w2', 'up_proj'] as const];
  return { ...plain('feedforward', config), ...renamed(...up, ['w3', 'down_proj']) };
}
