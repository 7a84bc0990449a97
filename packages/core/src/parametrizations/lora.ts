// Low-rank updates of weights. Hu et al. 2021, https://arxiv.org/abs/2106.09685
import { checkArguments } from '../arguments';
import { ConfigError } from '../error';
import type { Parametrization } from '../module/reparametrize';
import { lowRankUpdate } from '../ops/low-rank';
import { fanIn, zeros } from '../parameter/init';
import { Parameter } from '../parameter/parameter';

/** Options of {@link lora}. */
export interface LoraOptions {
  /** The rank: rows of A, columns of B. */
  readonly rank: number;
  /** The update is scaled by alpha / rank. Default: rank. */
  readonly alpha?: number;
}

/**
 * For `reparametrize`: a matrix with a low-rank update. The new parameters are `lora_a` [rank, in] and `lora_b` [out, rank], which starts as
 * zeros. Compiled with `parameters: (path) => (path.includes('.lora_') ? 'input' : 'stored')` they can be exchanged from run to run.
 *
 *     W' = W + (alpha / rank) · B A
 *
 * Throws   ConfigError for a parameter that is not a matrix, or a rank below 1
 * Source   Hu et al. 2021, https://arxiv.org/abs/2106.09685
 */
export function lora(parameter: Parameter, o: LoraOptions): Parametrization {
  checkArguments('lora', { parameter, options: o });
  const { rank, alpha = rank } = o;
  const [out, inner] = matrixDims('lora', parameter);
  if (!Number.isInteger(rank) || rank < 1)
    throw new ConfigError({ path: 'lora.rank', problem: 'not a rank', expected: 'an integer >= 1', got: String(rank) });
  const { role } = parameter.options;
  const options = { ...(role !== undefined && { role }), part: 'other' } as const;
  const lora_a = new Parameter([rank, inner], fanIn(inner), options);
  const lora_b = new Parameter([out, rank], zeros, options);
  return {
    parameters: { lora_a, lora_b },
    value: (weight, g) => lowRankUpdate(weight(), g.param(lora_b), g.param(lora_a), alpha / rank),
  };
}

/** The dims of a parameter that must be a matrix. */
export function matrixDims(what: string, { dims }: Parameter): readonly [out: number, inner: number] {
  const [out, inner] = dims;
  if (dims.length === 2 && out !== undefined && inner !== undefined) return [out, inner];
  throw new ConfigError({
    path: what,
    problem: 'the parameter is not a matrix',
    expected: '[out, in]',
    got: `[${dims.join(', ')}]`,
    hint: 'Select weights of linear layers',
  });
}
