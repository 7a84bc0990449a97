// Expressions over the place of a query and a key, as plain data: steps, each a function of earlier ones. Types without imports, since the options of attention use them:
// bundled type declarations of the ops allow no longer way from an op to the graph.

/** What a step gives. */
export type StepType = 'int' | 'float' | 'bool';

/** One step of an expression. */
export type Step =
  /** The sequence, the query head, the query, the key; the score, or the weight, that is modified. */
  | { readonly op: Place; readonly type: 'int' | 'float' }
  | { readonly op: 'number'; readonly type: 'int' | 'float'; readonly value: number }
  /** An element of a table, 0 or false outside of it; `of` are its indices. */
  | { readonly op: 'lookup'; readonly type: StepType; readonly table: number; readonly of: readonly number[] }
  | { readonly op: FunctionName; readonly type: StepType; readonly of: readonly number[] };

/** What an expression is about. */
export type Place = 'b' | 'h' | 'q' | 'k' | 'score';

/** Steps in order, the last of which is the result. Equal steps are one. */
export interface Expression {
  readonly steps: readonly Step[];
}

/** Names of the operands that are the tables of an expression. */
export const tableName = (index: number): string => `table${index}`;

/** The steps that a step uses. */
export const operandsOf = (step: Step): readonly number[] => ('of' in step ? step.of : []);

/** Names of the functions. */
export type FunctionName =
  | 'neg'
  | 'abs'
  | 'add'
  | 'sub'
  | 'mul'
  | 'min'
  | 'max'
  | 'div'
  | 'exp'
  | 'log'
  | 'sqrt'
  | 'tanh'
  | 'floor'
  | 'floorDiv'
  | 'mod'
  | 'lt'
  | 'le'
  | 'gt'
  | 'ge'
  | 'eq'
  | 'ne'
  | 'and'
  | 'or'
  | 'not'
  | 'select';

/** How queries are counted. */
export interface Alignment {
  /** Queries are counted from the first one (PyTorch); default: the last query is at the position of the last key. */
  readonly align?: 'topLeft';
}

/** An expression and the tables that it looks up. */
export interface Traced<V> extends Expression {
  readonly tables: readonly V[];
}

/** An expression in the place of each score or weight. */
export interface Modifier<V> extends Traced<V>, Alignment {}

/** What is modified. `V` represents tables: values while tracing, operand indices inside a node. */
export interface Modifiers<V> {
  /** Before the mask. */
  readonly scores?: Modifier<V>;
  /** After the softmax. */
  readonly weights?: Modifier<V>;
}
