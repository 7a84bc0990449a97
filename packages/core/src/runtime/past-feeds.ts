// Feeds of a state: all of them or none.
import type { Port } from '../compile/compile';
import { evaluateDim, namesOfDim } from '../dim/dim';
import { FeedError } from '../error';
import { printType } from '../ir/define-op';
import { isPastRole } from '../ir/graph';
import { arrayOf, countOf, type Tensor } from '../tensor/tensor';
import { pathOf } from './check-feed';

const isPast = ({ role }: Port): boolean => isPastRole(role);
const isMemory = ({ role }: Port): boolean => role === 'pastMemory';

/**
 * A call that continues another one must feed its complete state. The cache of a memory is independent of that.
 *
 * @param fed the feeds by the index of their port, undefined for missing ones
 * @throws FeedError for a part of a state, and for a cache of fixed capacity without its `past_lengths`
 */
export function checkPasts(ports: readonly Port[], fed: readonly (Tensor | undefined)[]): void {
  const [given, absent] = [ports.filter((_, at) => fed[at]), ports.filter((_, at) => !fed[at])];
  for (const kind of [(p: Port) => isPast(p) && !isMemory(p), (p: Port) => isPast(p) && isMemory(p)]) {
    const [one, lacking] = [given.find(kind), absent.find(kind)];
    if (one && lacking)
      throw new FeedError({
        path: pathOf(lacking.name),
        problem: 'missing',
        expected: `${printType(lacking)}, because "${one.name}" is given`,
        got: 'nothing',
        hint: 'Feed every present.* of the last call, or none before the first',
      });
  }
  const past = given.find((p) => isPast(p) && !isMemory(p));
  // The size of a growing cache is its past length; a cache of fixed capacity requires past_lengths.
  const pastLengths = absent.find((p) => p.derived?.how === 'past_lengths' && !p.derived.plus);
  if (past && pastLengths)
    throw new FeedError({
      path: pathOf(pastLengths.name),
      problem: 'missing',
      expected: `${printType(pastLengths)}: how many positions of "${past.name}" are in use`,
      got: 'nothing',
      hint: 'Feed it with every call after the first',
    });
}

/** The state before the first call. Size names that no feed determines are 0, and are added to `sizes`. */
export function emptyPast(port: Port, sizes: Map<string, number>): Tensor {
  const dims = port.dims.map((d) => {
    for (const name of namesOfDim(d)) if (!sizes.has(name)) sizes.set(name, 0);
    return evaluateDim(d, sizes);
  });
  return { dtype: port.dtype, dims, data: new (arrayOf(port.dtype))(countOf(dims)) };
}
