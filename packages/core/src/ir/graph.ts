// The interface of the graph for the rest of the library.

export { apply, mismatch } from './apply';
export { builderLike } from './builder';
export { type Continuation, isFilled } from './filled-sizes';
export type { Limit } from './limit';
export { type DeclaredRole, type InputRole, inputRoles, isPastRole } from './role';
export { atMost } from './run-size';
export {
  type Derivation,
  type DrawMaker,
  derivations,
  type Get,
  type Graph,
  type GraphBuilder,
  type Leaf,
  type Match,
  type MatchContext,
  type Node,
  type Operand,
  type Outcome,
  type Pool,
  type Refusal,
  type Rival,
  type Rule,
  Value,
} from './types';
export type { Vocabulary } from './vocabulary';
export { inputOf, madeBy, nameOf, subgraphsOf, usable, usedBy } from './walk';
