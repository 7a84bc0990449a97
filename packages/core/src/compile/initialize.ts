// First values of all parameters of a module.
import { type AnyModule, gainsOf, namesOf } from '../module/module';
import { type InitializeOptions, initializeParameters } from '../weights/initialize';
import type { LazyTensor } from '../weights/lazy';

/**
 * First values of a module's parameters, by checkpoint name: what `compile` takes as `weights`. A tied weight stands there once. Values are
 * made when they are loaded and not kept; each depends on the seed and its own name alone. What a stack asks for (DeepNorm's beta) scales them.
 *
 * Throws   ConfigError for an unknown scheme or option, or a wrong seed · WeightError for a parameter that nothing initialises
 *          (unless `uninitialized: 'zeros'`)
 *
 * Example  const weights = initialize(block, { scheme: 'vit', seed: 1 });
 */
export function initialize(m: AnyModule, options: InitializeOptions = {}): Map<string, LazyTensor> {
  const gains = gainsOf(m);
  return initializeParameters(namesOf(m).parameters, { gain: (path) => gains.get(path) ?? 1, ...options });
}
