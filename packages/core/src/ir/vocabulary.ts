// The type of the vocabulary: the only place where the graph depends on the ops, for the type checker only.

/**
 * The ops of the library by name, as `@onnxformers/core/ops` exports them. Definitions, gradients and simplifications receive it as an argument, so that importing
 * an op does not load the ops of its definition.
 */
export type Vocabulary = typeof import('../ops/index');
