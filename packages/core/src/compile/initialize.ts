// Initial values of all parameters of a module.

import { checkArguments } from '../arguments';
import { checkWord } from '../error';
import { type AnyModule, gainsOf, namesOf } from '../module/module';
import type { Init } from '../parameter/init';
import { chooseInit, type InitializeOptions, initializeParameters } from '../weights/initialize';
import type { LazyTensor } from '../weights/lazy';
import { schemes } from '../weights/schemes';

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
  checkArguments('initialize', { module: m, 'options?': options });
  const gains = gainsOf(m);
  return initializeParameters(namesOf(m).parameters, { gain: (path) => gains.get(path) ?? 1, ...options });
}

/**
 * The initialisation of each of a module's parameters, by checkpoint name: what {@link initialize} draws its values from.
 *
 * Throws   ConfigError for an unknown scheme
 *
 * Example  const inits = initsOf(block, { scheme: 'vit' }); // 'up.weight' → { kind: 'xavier_uniform', gain: 1 }
 */
export function initsOf(m: AnyModule, o: Pick<InitializeOptions, 'scheme' | 'compat'> = {}): Map<string, Init> {
  checkArguments('initsOf', { module: m, 'options?': o });
  checkWord('initsOf.scheme', o.scheme ?? 'default', Object.keys(schemes));
  const gains = gainsOf(m);
  return new Map([...namesOf(m).parameters].map(([name, p]) => [name, chooseInit(p, o, gains.get(name))]));
}
