// Weights of another library under the names of this one.
import { type DType, type NameMap, nameMap, nearest, tensor, WeightError, type WeightSource } from '@onnxformers/core';
import type { Translated } from './translated';

/** The names of the other library and of this one, both ways. */
export const namesFrom = ({ names }: Translated): NameMap => nameMap(names);

/**
 * A checkpoint of another library under the names of this one; lazy tensors stay lazy. Weights that are not used here (tables of rotary embeddings, unused projections)
 * are omitted; biases that the other library never saves are 0, and random features are those of a seed.
 *
 * Throws   WeightError for a name that no block of the config has
 */
export function renameWeights(source: WeightSource, translated: Translated): WeightSource {
  const { unused, added } = translated;
  const map = namesFrom(translated);
  const dropped = nameMap(unused.map((pattern) => [pattern, pattern]));
  const weights = new Map<string, WeightSource extends ReadonlyMap<string, infer W> ? W : never>();
  let dtype: DType = 'float32';
  for (const [name, weight] of source) {
    const ours = map.toOurs(name);
    if (ours === undefined && dropped.toOurs(name) !== undefined) continue;
    if (ours === undefined) throw unknownWeight(name, translated);
    if (typeof weight !== 'function') dtype = weight.dtype;
    weights.set(ours, weight);
  }
  for (const { name, length, tensor: values } of added)
    if (!weights.has(name)) weights.set(name, values ?? tensor(dtype, [length], new Float64Array(length)));
  return weights;
}

function unknownWeight(name: string, { names }: Translated): WeightError {
  const known = names.map(([foreign]) => foreign.replace('{x}', name.split('.').at(-1)!));
  const near = nearest(name, known);
  return new WeightError({
    path: `weight "${name}"`,
    problem: 'unknown weight; no block of the config has it',
    hint: near
      ? `Near it: ${near}`
      : known.length
        ? `Names look like ${known.slice(0, 3).join(', ')}`
        : 'The config has no weights',
  });
}
