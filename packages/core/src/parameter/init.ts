// How a parameter is initialised, as plain data.
import { describe, WeightError } from '../error';
import { countOf, type Tensor } from '../tensor/tensor';

/**
 * The function of a parameter's layer in its block. Initialisation schemes, quantisation and LoRA select parameters by it. You may use roles of your own; for
 * roles that a scheme does not know, and for parameters without a role, the parameter's own `init` is used.
 */
export type Role =
  | 'query'
  | 'key'
  | 'value'
  | 'output'
  | 'hidden'
  | 'embedding'
  | 'position'
  | 'norm'
  | 'convolution'
  | 'head'
  | 'router'
  | 'mechanism'
  | 'projection'
  | (string & {});

/** Initial values of a parameter. Fans are the numbers of inputs and outputs of one element of its layer; see {@link fansOf}. */
export type Init =
  /** No initial values are known: an error unless a scheme or a checkpoint supplies them. */
  | { readonly kind: 'none' }
  | { readonly kind: 'zeros' }
  | { readonly kind: 'ones' }
  | { readonly kind: 'constant'; readonly value: number }
  /** Uniform between two numbers. */
  | { readonly kind: 'uniform'; readonly low: number; readonly high: number }
  /** Normal; default mean 0. */
  | { readonly kind: 'normal'; readonly std: number; readonly mean?: number }
  /** Normal with mean 0, truncated to [low, high]; std is that before truncation. */
  | { readonly kind: 'truncated_normal'; readonly std: number; readonly low: number; readonly high: number }
  /** U(-a, a) with a = gain · √(6 / (fan in + fan out)). Glorot and Bengio 2010. */
  | { readonly kind: 'xavier_uniform'; readonly gain?: number }
  /** Normal with std = gain · √(2 / (fan in + fan out)). Glorot and Bengio 2010. */
  | { readonly kind: 'xavier_normal'; readonly gain?: number }
  /** Normal, truncated at ±2 standard deviations, with variance gain / fan in after truncation. LeCun et al. 1998. */
  | { readonly kind: 'lecun_normal'; readonly gain?: number }
  /** U(-a, a) with a = gain / √(fan in). A bias has no fan in of its own, so it is given. */
  | { readonly kind: 'fan_in_uniform'; readonly fanIn?: number; readonly gain?: number }
  | { readonly kind: 'values'; readonly tensor: Tensor }
  /** Blocks along axis 0 (q, k and v in one weight), each initialised as a parameter of its own. */
  | { readonly kind: 'rows'; readonly parts: readonly { readonly rows: number; readonly init: Init }[] };

/** No initial values are known: an error unless a scheme or a checkpoint supplies them. */
export const unset: Init = { kind: 'none' };
/** All 0. */
export const zeros: Init = { kind: 'zeros' };
/** All 1. */
export const ones: Init = { kind: 'ones' };
/** All the same number. */
export const constant = (value: number): Init => ({ kind: 'constant', value });
/** Uniform between two numbers. */
export const uniform = (low: number, high: number): Init => ({ kind: 'uniform', low, high });
/** Normal with a standard deviation, and a mean, by default 0. */
export const normal = (std: number, mean = 0): Init => ({ kind: 'normal', std, mean });
/** Normal with mean 0, truncated to two bounds, by default ±2 standard deviations. */
export const truncatedNormal = (std: number, low = -2 * std, high = 2 * std): Init => ({
  kind: 'truncated_normal',
  std,
  low,
  high,
});
/** U(-a, a) with a = gain · √(6 / (fan in + fan out)). */
export const xavierUniform = (gain = 1): Init => ({ kind: 'xavier_uniform', gain });
/** Normal with std = gain · √(2 / (fan in + fan out)). */
export const xavierNormal = (gain = 1): Init => ({ kind: 'xavier_normal', gain });
/** Truncated normal with variance gain / fan in. */
export const lecunNormal = (gain = 1): Init => ({ kind: 'lecun_normal', gain });
/** U(-a, a) with a = 1 / √n, n the fan in when left out. A bias has none of its own, so it needs n. */
export const fanIn = (n?: number): Init => (n === undefined ? { kind: 'fan_in_uniform' } : { kind: 'fan_in_uniform', fanIn: n });
/** The values of a tensor. */
export const values = (tensor: Tensor): Init => ({ kind: 'values', tensor });

/** The same initial values times a factor; `values` and zeros do not change. */
export function scaledInit(init: Init, factor: number): Init {
  if (factor === 1) return init;
  switch (init.kind) {
    case 'uniform':
      return { ...init, low: init.low * factor, high: init.high * factor };
    case 'normal':
      return { ...init, std: init.std * factor, ...(init.mean !== undefined && { mean: init.mean * factor }) };
    case 'truncated_normal':
      return { ...init, std: init.std * factor, low: init.low * factor, high: init.high * factor };
    case 'xavier_uniform':
    case 'xavier_normal':
    case 'fan_in_uniform':
      return { ...init, gain: (init.gain ?? 1) * factor };
    // Its gain is that of the variance.
    case 'lecun_normal':
      return { ...init, gain: (init.gain ?? 1) * factor ** 2 };
    case 'rows':
      return { ...init, parts: init.parts.map((part) => ({ ...part, init: scaledInit(part.init, factor) })) };
    default:
      return init;
  }
}

/** Number of inputs and outputs of one element of a layer: `[fan in, fan out]`. */
export type Fans = readonly [fanIn: number, fanOut: number];

/**
 * The fans of a weight `[out, in, ...kernel]` (in per group): in · kernel and out · kernel.
 *
 * @throws WeightError for fewer than two dims
 */
export function fansOf(dims: readonly number[], path = 'init'): Fans {
  const [fanOut, fanIn, ...kernel] = dims;
  if (fanOut === undefined || fanIn === undefined) {
    throw new WeightError({
      path,
      problem: 'the initialisation requires a fan in and a fan out',
      expected: 'dims [out, in, ...kernel]',
      got: describe(dims),
      hint: 'Use a plain distribution for a bias, or fanIn(n)',
    });
  }
  return [fanIn * countOf(kernel), fanOut * countOf(kernel)];
}

/** The kinds of {@link Init} that do not depend on fans. */
export type Distribution = Extract<Init, { kind: 'constant' | 'uniform' | 'normal' | 'truncated_normal' }>;

/** Standard deviation of the standard normal distribution truncated at ±2. */
const keptDeviation = 0.8796256610342398;

/** The distribution of each element for given fans; elements are independent. */
export function distributionOf(init: Exclude<Init, { kind: 'none' | 'values' | 'rows' }>, fans: () => Fans): Distribution {
  const symmetric = (a: number): Distribution => ({ kind: 'uniform', low: -a, high: a });
  switch (init.kind) {
    case 'zeros':
      return { kind: 'constant', value: 0 };
    case 'ones':
      return { kind: 'constant', value: 1 };
    case 'xavier_uniform':
      return symmetric((init.gain ?? 1) * Math.sqrt(6 / (fans()[0] + fans()[1])));
    case 'xavier_normal':
      return { kind: 'normal', std: (init.gain ?? 1) * Math.sqrt(2 / (fans()[0] + fans()[1])) };
    case 'lecun_normal':
      return { kind: 'truncated_normal', std: Math.sqrt((init.gain ?? 1) / fans()[0]) / keptDeviation, low: -2, high: 2 };
    case 'fan_in_uniform':
      return symmetric((init.gain ?? 1) / Math.sqrt(init.fanIn ?? fans()[0]));
    default:
      return init;
  }
}
