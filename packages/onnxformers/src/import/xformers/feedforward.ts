// Feed-forwards and activations of the original.
import { ConfigError } from '@onnxformers/core';
import { type Options, optionsOf, unknownName } from '../options';
import { plain, renamed, type Translated } from '../translated';
import type { XFormersConfig } from './options';

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

function mlp(o: Options, dim: number | undefined) {
  const width = o.int('dim_model', dim === undefined ? {} : { default: dim });
  const times = o.num('hidden_layer_multiplier');
  const hidden = width * times;
  if (!Number.isSafeInteger(hidden) || hidden < 1)
    throw new ConfigError({
      path: `${o.path}.hidden_layer_multiplier`,
      problem: 'the number of hidden channels is not an integer',
      expected: `a number whose product with ${width} is an integer`,
      got: String(times),
    });
  const config = {
    name: 'mlp',
    dim: width,
    hidden,
    bias: o.bool('bias', true),
    dropout: o.num('dropout', { default: 0 }),
    activation: activationFrom(o),
  };
  return config;
}

const feedforwards: Readonly<Record<string, (o: Options, dim?: number) => Translated>> = {
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
      zeros: config.bias
        ? [
            { name: 'up.bias', length: config.hidden },
            { name: 'down.bias', length: config.dim },
          ]
        : [],
    };
  },
};

const elsewhere: ReadonlySet<string> = new Set(['MixtureOfExperts', 'Conv2DFeedforward']);
const allOptions: ReadonlySet<string> = new Set(
  `name dim_model dropout activation hidden_layer_multiplier bias dim_model_out act_layer number_of_experts gate
  number_of_local_experts expert_constructor group`.split(/\s+/),
);

/** True for a config that names a feed-forward of the original. */
export const isFeedforward = (name: unknown): boolean =>
  typeof name === 'string' && (Object.hasOwn(feedforwards, name) || elsewhere.has(name));

/** Throws   ConfigError for an unknown name or option, or a hidden width that is not an integer */
export function feedforwardFrom(given: XFormersConfig, path: string, dim?: number): Translated {
  const o = optionsOf(given, path);
  const name = o.any('name');
  if (typeof name !== 'string' || !Object.hasOwn(feedforwards, name))
    throw unknownName('feedforward', name, path, Object.keys(feedforwards), elsewhere);
  const translated = feedforwards[name]!(o, dim);
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
