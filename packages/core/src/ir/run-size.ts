// Sizes that only a run determines.
import { type Dim, substituteDim } from '../dim/dim';
import type { GraphBuilder } from './types';

/** A bound on a size: the same size, with the bounds of names that only a run determines in their place. */
export const atMost = (d: Dim, g: GraphBuilder): Dim => substituteDim(d, (name) => g.root.runSizes.get(name)?.most);
