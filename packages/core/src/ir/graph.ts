// The interface of the graph for the rest of the library.
import { Builder } from './builder';
import type { GraphOptions, GraphBuilder as Interface } from './types';

export { apply, located, mismatch } from './apply';
export { builderLike } from './builder';
export type { Limit } from './limit';
export { type DeclaredRole, type InputRole, inputRoles, isPastRole } from './role';
export {
  type Derivation,
  type DrawMaker,
  derivations,
  type Get,
  type Graph,
  type GraphOptions,
  type Leaf,
  type Match,
  type MatchContext,
  type Node,
  type Operand,
  type Outcome,
  type Pool,
  type Refusal,
  type Rule,
  Value,
} from './types';
export { inputOf, madeBy, nameOf, subgraphsOf, usable, usedBy } from './walk';

/** Collects the nodes of a graph. Every value refers to its builder; there is no global builder. */
export type GraphBuilder = Interface;
/** Makes an empty graph. */
export const GraphBuilder: new (options?: GraphOptions) => GraphBuilder = Builder;
