// Options that recurrent mixers have in common.
import { ConfigError, int, num } from '@onnxformers/core';

/** Channels, and heads with keys and values of a width each. */
export const headFields = {
  /** channels. Inherited from the enclosing block. */
  dim: int({ doc: 'channels', unit: 'channels', min: 1, inherit: true }),
  /** heads. Inherited from the enclosing block. */
  heads: int({ doc: 'heads', min: 1, max: 65_536, inherit: true }),
  /** channels of a query or key head; if absent, dim / heads. Default: computed from other options. */
  headDim: int({
    doc: 'channels of a query or key head; if absent, dim / heads',
    unit: 'channels',
    min: 1,
    default: (c: { dim: number; heads: number }) => Math.ceil(c.dim / c.heads),
  }),
  /** channels of a value head. Default: computed from other options. */
  valueHeadDim: int({
    doc: 'channels of a value head',
    unit: 'channels',
    min: 1,
    default: (c: { headDim: number }) => c.headDim,
  }),
};

/** The field of a convolution over the last positions. */
export const convolutionFields = {
  /** positions that the convolution reads. Default: `4`. */
  convWidth: int({ doc: 'positions that the convolution reads', unit: 'positions', min: 2, max: 64, default: 4 }),
};

/** The field of a norm of the results. */
export const epsField = (value: number) =>
  num({ doc: 'added to the mean square in the norm of the results', min: 0, default: value });

/** Throws ConfigError unless each of several heads is shared by the same number of heads. */
export function checkShared(heads: number, name: string, shared: number, path: string): void {
  if (heads % shared === 0) return;
  throw new ConfigError({
    path: `${path}.${name}`,
    problem: `heads is not a multiple of ${name}`,
    expected: `a divisor of heads = ${heads}`,
    got: String(shared),
  });
}
