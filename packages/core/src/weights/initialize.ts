// Initial values of all parameters of a model, from a scheme and a seed.
import { checkArguments } from '../arguments';
import { checkOptions, checkWord } from '../error';
import { fanIn, type Init, zeros } from '../parameter/init';
import { type DType, dtypes } from '../tensor/tensor';
import { checkInit, fill } from './fill';
import { type LazyTensor, lazily } from './lazy';
import { randomStream } from './random';
import { type Initializable, type SchemeName, schemes } from './schemes';

/** How {@link initializeParameters} chooses initial values. */
export interface InitializeOptions {
  /** Default: `default` (each parameter's own init). */
  readonly scheme?: SchemeName;
  /** An integer from 0 to 2^53 - 1; default 0. The same seed gives the same bytes everywhere. */
  readonly seed?: number;
  /** The factor by which the scheme scales the values of a parameter: DeepNorm's beta of its stack. Default 1. */
  readonly gain?: (path: string) => number;
  /** Dtype of parameters without their own dtype; default float32. */
  readonly dtype?: DType;
  /** What to do with a parameter without an initialisation: throw an error, or use zeros. */
  readonly uninitialized?: 'error' | 'zeros';
  /**
   * `xformers`: the gain applies to queries and keys too, which the paper excludes; vit and small leave convolutions within feed-forwards (`spatial`) at
   * U(±1 / √fan in).
   */
  readonly compat?: 'xformers';
}

const known = { scheme: true, seed: true, gain: true, dtype: true, uninitialized: true, compat: true } as const;

/** The initialisation that a scheme selects for one parameter. For stacked layers it is selected for each layer separately. */
export function chooseInit(p: Initializable, o: Pick<InitializeOptions, 'scheme' | 'compat'>, gain = 1): Init {
  const { packed, role } = p.options ?? {};
  const [, ...rest] = p.dims;
  if (packed && p.init.kind !== 'values' && p.init.kind !== 'rows') {
    const { packed: _, ...options } = p.options!;
    const layer = (part: { readonly rows: number; readonly role: string }) =>
      chooseInit({ init: p.init, dims: [part.rows, ...rest], options: { ...options, role: part.role } }, o, gain);
    return { kind: 'rows', parts: packed.map((part) => ({ rows: part.rows, init: layer(part) })) };
  }
  if (o.compat === 'xformers' && role === 'spatial' && (o.scheme === 'vit' || o.scheme === 'small')) return fanIn();
  const ungained = o.compat !== 'xformers' && (role === 'query' || role === 'key');
  return schemes[o.scheme ?? 'default'](role, p, ungained ? 1 : gain);
}

/**
 * Initial values of parameters, by path. They are computed when loaded and not kept, so a large model is never completely in memory; each depends only on
 * the seed and its own path.
 *
 * @throws ConfigError for an unknown scheme or option, or a wrong seed
 * @throws WeightError for a parameter without an initialisation (unless `uninitialized: 'zeros'`), or whose init does not fit its dims
 */
export function initializeParameters(
  params: Iterable<readonly [path: string, p: Initializable & { readonly options?: { readonly dtype?: DType } }]>,
  o: InitializeOptions = {},
): Map<string, LazyTensor> {
  checkArguments('initializeParameters', { parameters: params });
  checkOptions('initialize', o, known);
  checkWord('initialize.scheme', o.scheme ?? 'default', Object.keys(schemes));
  checkWord('initialize.dtype', o.dtype ?? 'float32', dtypes);
  checkWord('initialize.uninitialized', o.uninitialized ?? 'error', ['error', 'zeros']);
  if (o.compat !== undefined) checkWord('initialize.compat', o.compat, ['xformers']);
  const weights = new Map<string, LazyTensor>();
  const { seed = 0 } = o;
  randomStream(seed, '');
  for (const [path, p] of params) {
    const chosen = chooseInit(p, o, o.gain?.(path));
    const init = chosen.kind === 'none' && o.uninitialized === 'zeros' ? zeros : chosen;
    const dtype = p.options?.dtype ?? o.dtype ?? 'float32';
    const known = { dtype, path, fans: p.options?.fans };
    checkInit(init, p.dims, known);
    weights.set(
      path,
      lazily(dtype, p.dims, () => fill(init, p.dims, randomStream(seed, path), known)),
    );
  }
  return weights;
}
