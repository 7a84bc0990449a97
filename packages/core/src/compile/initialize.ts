// Initial values of all parameters of a module.
import { type AnyModule, gainsOf, namesOf } from '../module/module';
import { type InitializeOptions, initializeParameters } from '../weights/initialize';
import type { LazyTensor } from '../weights/lazy';

/**
 * Initial values of a module's parameters, by checkpoint name, for the option `weights` of `compile`. A tied weight appears once. Values are
 * computed when they are loaded and are not kept; each depends only on the seed and its own name. A scale of the stack (DeepNorm's beta) applies.
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
