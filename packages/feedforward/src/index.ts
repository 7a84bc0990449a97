// Feed-forwards and activations.
import { custom } from './activations/custom';
import { gelu } from './activations/gelu';
import { geluTanh } from './activations/gelu-tanh';
import { identity } from './activations/identity';
import { leakyRelu } from './activations/leaky-relu';
import { quickGelu } from './activations/quick-gelu';
import { relu } from './activations/relu';
import { sigmoid } from './activations/sigmoid';
import { silu } from './activations/silu';
import { smelu } from './activations/smelu';
import { squaredRelu } from './activations/squared-relu';
import { starRelu } from './activations/star-relu';
import { tanh } from './activations/tanh';
import { conv2dFeedforward } from './conv2d-feedforward';
import { glu } from './glu';
import { mixtureOfExperts } from './mixture-of-experts';
import { mlp } from './mlp';
import { sparseMoe } from './sparse-moe';

export {
  conv2dFeedforward,
  custom,
  gelu,
  geluTanh,
  glu,
  identity,
  leakyRelu,
  mixtureOfExperts,
  mlp,
  quickGelu,
  relu,
  sigmoid,
  silu,
  smelu,
  sparseMoe,
  squaredRelu,
  starRelu,
  tanh,
};

/** The blocks of this package, for a registry. */
export const blocks = [
  mlp,
  glu,
  mixtureOfExperts,
  sparseMoe,
  conv2dFeedforward,
  relu,
  leakyRelu,
  gelu,
  geluTanh,
  quickGelu,
  silu,
  squaredRelu,
  smelu,
  starRelu,
  tanh,
  sigmoid,
  identity,
  custom,
] as const;
