// What kernels cannot do although they exist: sizes that they refuse, features that they lack or compute differently from the op's definition.
import type { Asked } from '../ir/define-op';
import type { Reason } from './reason';
import { reasons } from './reasons';
import { bothSizes, holds, printLimit, type SizeLimit } from './size-limit';

/**
 * What became of a feature that was tried: `right`, as the op's definition; `runs`, but nobody compared the numbers; `wrong`, other numbers; `fails`,
 * the runtime refuses it when it opens or runs the model.
 */
export type FeatureOutcome = 'right' | 'runs' | 'wrong' | 'fails';

/** What a kernel can be asked, by the names that the op uses (`Op.asks`); two features that fail only together are `a and b`, in alphabetical order. */
export type KernelLimits = Readonly<Record<string, SizeLimit | FeatureOutcome>>;

/** True if a kernel can do what a node asks, else the reason. */
export function withinLimits(asked: Asked, limits: KernelLimits): true | Reason {
  const features: string[] = [];
  for (const [name, wanted] of Object.entries(asked)) {
    const limit = Object.hasOwn(limits, name) ? limits[name] : undefined;
    if (wanted === true) features.push(name);
    else if (wanted !== undefined && wanted !== false && typeof limit === 'object' && !holds(limit, wanted))
      return reasons.sizeLimit({ size: name, got: wanted, limit: printLimit(limit), multipleOf: limit.multipleOf });
  }
  features.sort();
  for (const [i, name] of features.entries())
    for (const feature of [name, ...features.slice(i + 1).map((other) => pairOf(name, other))]) {
      const outcome = Object.hasOwn(limits, feature) ? limits[feature] : undefined;
      if (outcome === 'wrong' || outcome === 'fails') return reasons.featureLimit({ feature, outcome });
    }
  return true;
}

/** The name of two features together. */
export const pairOf = (a: string, b: string): string => [a, b].sort().join(' and ');

/** The limits of two kernels together. */
export function strictest(a: KernelLimits, b: KernelLimits): KernelLimits {
  const both = { ...a };
  for (const [name, limit] of Object.entries(b)) {
    const other = both[name];
    if (other === undefined || typeof limit === 'string') both[name] = limit;
    else if (typeof other === 'object') both[name] = bothSizes(other, limit);
  }
  return both;
}
