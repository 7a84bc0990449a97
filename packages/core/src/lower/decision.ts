// What lowering decided, as data: kept by a model, stored beside a saved one, printed by `explain`.
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
  /** For a node inside branches that sizes choose: the sizes that lead there, `seq <= 32`. */
  readonly where?: string;
  /** The op that was lowered: `onnxformers.Attend`. */
  readonly op: string;
  /** The rule taken, `kept`, `decomposed`, or `float32` when the kernel lacks the dtype. */
  readonly chosen: string;
  /** Which variant of the rule, where it has several. */
  readonly variant?: string;
  /** The ops that replaced the node. */
  readonly kernels: readonly string[];
  /** Notes about what was chosen. */
  readonly notes: readonly Reason[];
  readonly refused: readonly Rejected[];
}
