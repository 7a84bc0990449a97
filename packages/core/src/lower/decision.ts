// What lowering decided, as data: kept by a model, stored beside a saved one, told by `explain`.
import type { Reason } from './reason';

/** A rule, or one of its ways, that was not taken. */
export interface Rejected {
  readonly rule: string;
  readonly variant?: string;
  readonly reason: Reason;
}

/** What was decided for one node, and why nothing else. */
export interface Decision {
  readonly path: string;
  /** For a node inside branches that sizes choose: the sizes that lead there, `seq <= 32`. */
  readonly where?: string;
  /** The meaning: `onnxformers.Attend`. */
  readonly op: string;
  /** The rule taken, `kept`, `decomposed`, or `float32` when the kernel lacks the dtype. */
  readonly chosen: string;
  /** Which way of the rule, where it has several. */
  readonly variant?: string;
  /** The ops that stand there now. */
  readonly kernels: readonly string[];
  /** What is worth knowing of what was taken. */
  readonly notes: readonly Reason[];
  readonly refused: readonly Rejected[];
}
