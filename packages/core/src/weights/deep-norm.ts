// The two coefficients by which DeepNorm keeps very deep stacks stable.
import { checkArguments } from '../arguments';
import { ConfigError, describe } from '../error';

/** DeepNorm's coefficients for one stack: the residual is multiplied by alpha, the initial values of its weights by beta. */
export interface DeepNormCoefficients {
  readonly alpha: number;
  readonly beta: number;
}

const fourthRoot = (x: number): number => Math.sqrt(Math.sqrt(x));
const sixteenthRoot = (x: number): number => fourthRoot(fourthRoot(x));

/**
 * The coefficients of an encoder of N layers, a decoder of M, or both together.
 *
 *     encoder alone   alpha = (2N)^(1/4)          beta = (8N)^(-1/4)          (a decoder alone: the same of M)
 *     both: encoder   alpha = 0.81 (N⁴M)^(1/16)   beta = 0.87 (N⁴M)^(-1/16)
 *           decoder   alpha = (3M)^(1/4)          beta = (12M)^(-1/4)
 *
 * Query and key projections keep gain 1.
 *
 * @throws ConfigError when a number of layers is not an integer >= 0
 * Source: Wang et al. 2022, https://arxiv.org/abs/2203.00555
 */
export function deepNormCoefficients(layers: { readonly encoderLayers?: number; readonly decoderLayers?: number }): {
  readonly encoder?: DeepNormCoefficients;
  readonly decoder?: DeepNormCoefficients;
} {
  checkArguments('deepNormCoefficients', { options: layers });
  const { encoderLayers: n = 0, decoderLayers: m = 0 } = layers;
  for (const [path, got] of Object.entries({ encoderLayers: n, decoderLayers: m })) {
    if (!Number.isSafeInteger(got) || got < 0) {
      throw new ConfigError({ path, problem: 'not a valid number of layers', expected: 'an integer >= 0', got: describe(got) });
    }
  }
  const alone = (count: number) => ({ alpha: fourthRoot(2 * count), beta: 1 / fourthRoot(8 * count) });
  if (n && m) {
    const root = sixteenthRoot(n * n * n * n * m);
    return {
      encoder: { alpha: 0.81 * root, beta: 0.87 / root },
      decoder: { alpha: fourthRoot(3 * m), beta: 1 / fourthRoot(12 * m) },
    };
  }
  return { ...(n && { encoder: alone(n) }), ...(m && { decoder: alone(m) }) };
}
