// Initial decays of recurrences, spread over the heads.
import { type Tensor, tensor } from '@onnxformers/core';

const overHeads = (heads: number, rateAt: (quantile: number) => number): Tensor =>
  tensor(
    'float32',
    [heads],
    Array.from({ length: heads }, (_, i) => rateAt((i + 0.5) / heads)),
  );

/** Logarithms of decay rates: the quantiles of a uniform distribution, one for each head. */
export const decayRates = (heads: number, low: number, high: number): Tensor =>
  overHeads(heads, (u) => Math.log(low + (high - low) * u));

/**
 * Biases whose softplus is a time step between 0.001 and 0.1: the quantiles of a log-uniform distribution, in an order that is unrelated to that of
 * {@link decayRates}.
 */
export const timeSteps = (heads: number): Tensor =>
  overHeads(heads, (u) => Math.log(Math.expm1(0.001 * 100 ** ((u * heads * 0.618034) % 1))));
