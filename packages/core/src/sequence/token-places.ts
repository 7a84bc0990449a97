// Where the tokens of packed sequences are in a padded batch.
import { addDims, type Dim } from '../dim/dim';
import { freeSizeName } from '../ir/free-names';
import { type GraphBuilder, nameOf, type Value } from '../ir/graph';
import { increasedBy } from '../mask/prefix-tokens';
import { derive } from './derive';

/** What the offsets of packed sequences were derived from. */
export interface OffsetsSource {
  /** An input, int64 [batch]. */
  readonly lengths: Value;
  /** The number of prefix tokens in front of each sequence, which the lengths do not count. */
  readonly prefix: Dim;
}

/** The lengths from which offsets were derived; undefined for offsets of another origin. */
export function sourceOf({ leaf }: Value): OffsetsSource | undefined {
  return leaf?.kind === 'derived' && leaf.how === 'offsets' ? { lengths: leaf.from[0]!, prefix: leaf.plus ?? 0 } : undefined;
}

/** int32 [batch, longest]: the indices of the tokens in a batch that is padded to the longest sequence, then those of the padding. */
export function tokenPlaces(g: GraphBuilder, { lengths, prefix }: OffsetsSource): Value {
  const longest = addDims(freeSizeName(g, `longest_of_${nameOf(lengths) ?? 'sequences'}`), prefix);
  return derive(g, 'tokenOffset', { dtype: 'int32', dims: [lengths.dims[0]!, longest] }, [lengths], prefix);
}

/** The lengths of packed sequences, with their prefix tokens, int64 [batch]. */
export const lengthsFrom = ({ lengths, prefix }: OffsetsSource): Value => increasedBy(lengths, prefix);
