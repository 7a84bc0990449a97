// All ops as one value, which every graph has, so that an op does not import those of its definition.
import { Builder } from '../ir/builder';
import type { GraphOptions, GraphBuilder as Interface } from '../ir/types';
import * as vocabulary from './index';

/** Collects the nodes of a graph. Every value refers to its builder; there is no global builder. */
export type GraphBuilder = Interface;
/** Makes an empty graph. */
export const GraphBuilder: new (options?: GraphOptions) => GraphBuilder = class extends Builder {
  constructor(options?: GraphOptions) {
    super(vocabulary, options);
  }
};
