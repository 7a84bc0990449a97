// Decisions of lowering, as data: part of a model, saved with it, printed by `explain`.
import type { Reason } from './reason';

/** A rule, or one of its variants, that did not apply. */
export interface Rejected {
  readonly rule: string;
  readonly variant?: string;
  readonly reason: Reason;
}

/** What was decided for one node, and why other rules did not apply. */
export interface Decision {
  readonly path: string;
  /** For a node inside branches selected by sizes: the sizes for which it runs, `seq <= 32`. */
  readonly where?: string;
  /** The op that was lowered: `onnxformers.Attend`. */
  readonly op: string;
  /** The rule taken, `kept`, `decomposed`, `float32` when the kernel lacks the dtype, or `empty` when nothing computes the result because it has no elements. */
  readonly chosen: string;
  /** The variant of the rule, if it has several. */
  readonly variant?: string;
  /** The ops that replaced the node. */
  readonly kernels: readonly string[];
  /** Notes on the choice. */
  readonly notes: readonly Reason[];
  readonly refused: readonly Rejected[];
}
