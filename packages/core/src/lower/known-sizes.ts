// What the limits of a graph tell about its sizes. The runner and the interpreter check limits before anything runs, so what follows from them is certain.
import { type Dim, evaluateDim, namesOfDim, subDims, termsOf } from '../dim/dim';
import { type GraphBuilder, inputOf } from '../ir/graph';

/** The largest value that the limits of a graph leave to a size; undefined if they leave it open. */
export function mostOf(size: Dim, g: GraphBuilder): number | undefined {
  if (typeof size === 'number') return size;
  const stated = statedFor(size, g);
  if (stated !== undefined) return stated;
  // Of a sum of products of names the largest value is that of the largest names.
  if (termsOf(size).some(({ coefficient, atoms }) => coefficient < 0 || atoms.some((atom) => atom.kind !== 'name')))
    return undefined;
  const sizes: Record<string, number> = {};
  for (const name of namesOfDim(size)) {
    const most = statedFor(name, g) ?? longestOf(name, g);
    if (most === undefined) return undefined;
    sizes[name] = most;
  }
  return evaluateDim(size, sizes);
}

// A limit of the size itself, or of the size and a constant.
function statedFor(size: Dim, { limits }: GraphBuilder): number | undefined {
  const bounds = limits.flatMap(({ input, size: limited, max }) => {
    if (input !== undefined || limited === undefined || typeof max !== 'number') return [];
    const more = subDims(limited, size);
    return typeof more === 'number' ? [max - more] : [];
  });
  return bounds.length ? Math.min(...bounds) : undefined;
}

// The longest of packed sequences, by a limit of their lengths.
function longestOf(name: string, g: GraphBuilder): number | undefined {
  const places = g.inputs.find(
    ({ leaf, dims }) => leaf?.kind === 'derived' && leaf.how === 'tokenOffset' && namesOfDim(dims[1]!).includes(name),
  );
  const lengths = places?.leaf?.kind === 'derived' ? inputOf(places.leaf.from[0]!)?.name : undefined;
  const bounds = g.limits.flatMap(({ input, of = 'elements', max }) =>
    lengths !== undefined && input === lengths && of === 'elements' && typeof max === 'number' ? [max] : [],
  );
  return bounds.length ? Math.min(...bounds) : undefined;
}
