// Names of inputs and sizes that the library makes, which must differ from those of the user.
import { namesOfDim } from '../dim/dim';
import { type GraphBuilder, nameOf, type Value } from './graph';

const declared = (g: GraphBuilder): readonly Value[] => g.root.inputs.filter(({ leaf }) => leaf?.kind !== 'derived');

/** The name, with a number if an input that is not derived has it: `offsets_of_lengths`, `offsets_of_lengths_2`. */
export const freeInputName = (g: GraphBuilder, name: string): string => free(name, declared(g).map(nameOf));

/**
 * The name of a size, with a number if a size of an input that is not derived has it. Characters that a size may not contain become `_`.
 *
 * Example  const dims = ['batch', freeSizeName(g, 'longest_of_lengths')];
 */
export const freeSizeName = (g: GraphBuilder, name: string): string =>
  free(
    name.replace(/[^A-Za-z0-9_.]/g, '_'),
    declared(g).flatMap(({ dims }) => dims.flatMap(namesOfDim)),
  );

function free(name: string, taken: readonly (string | undefined)[]): string {
  let candidate = name;
  for (let n = 2; taken.includes(candidate); n++) candidate = `${name}_${n}`;
  return candidate;
}
