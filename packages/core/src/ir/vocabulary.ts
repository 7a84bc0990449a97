// The type of the vocabulary: the one place where the graph names what is built on it, for the type checker only.

/**
 * The ops of the library by name, as `@onnxformers/core/ops` exports them. Definitions, gradients and simplifications are given it, so that an op that
 * is imported alone does not bring along those that it is defined by.
 */
export type Vocabulary = typeof import('../ops/index');
