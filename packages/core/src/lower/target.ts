// A target is a table of kernels, nothing else.

import { domainOf, type Op, type TensorType } from '../ir/define-op';
import type { Node } from '../ir/graph';
import { type DType, dtypes, isFloat } from '../tensor/tensor';
import type { Decision } from './decision';
import type { Reason } from './reason';
import { reasons } from './reasons';

/** The machine a graph will run on. What is not given is assumed to be the newest; `explain` says so. */
export interface Machine {
  /** Version of ONNX Runtime: `1.30.0`. */
  readonly runtime?: string;
  /** Compute capability of the GPU times ten: 80 Ampere, 89 Ada, 90 Hopper, 100 and 120 Blackwell. */
  readonly sm?: number;
  /** Version of cuDNN: `9.14`; `none` where it is not installed. */
  readonly cudnn?: string;
}

/** One op on one target. */
export interface Kernel {
  readonly dtypes: readonly DType[];
  /** Those of them that the provider leaves to the CPU, with copies around the node. */
  readonly beside?: readonly DType[];
  /** The dtypes of each form of the op (`Op.form`), where they differ. A missing form has no kernel. */
  readonly forms?: Readonly<Record<string, Pick<Kernel, 'dtypes' | 'beside'>>>;
  /** True, or the reason why this node cannot run there. */
  accepts?(node: Node, machine: Machine): true | Reason;
  /** The absolute error of an element that the provider allows itself; absent: that of rounding in the dtype. */
  readonly error?: number;
  /** Relative; 0 when absent. Only kernels in competition have one. */
  cost?(node: Node, machine: Machine): number;
}

/** A set of kernels behind a list of execution providers. */
export interface Target {
  readonly name: string;
  /** The version of the runtime that has these kernels; absent where any has. */
  readonly runtime?: string;
  /** The same on older versions of the runtime, newest first. */
  readonly older?: readonly Target[];
  /** Highest opset of the standard that a graph for it may use. */
  readonly opset: number;
  /** Execution providers in order of preference, as the runtime names them. */
  readonly providers: readonly string[];
  /** dtypes in which the target computes; a model of another dtype stores it and computes in float32. */
  readonly computes: readonly DType[];
  /** Those of them in which it is slower than in float32: a model stores its weights in them and computes in float32, unless `strictDtype` is on. */
  readonly widens?: readonly DType[];
  /** By op key: `com.microsoft.MultiHeadAttention`. */
  readonly kernels: Readonly<Record<string, Kernel>>;
  /** What is worth saying about it in `explain`: always, or of models that compute in a dtype. */
  readonly notes?: readonly { readonly computes?: DType; readonly text: string }[];
  /** The vendor of its GPUs: tools query them to find the {@link Machine}. */
  readonly gpu?: 'nvidia';
  /** What it assumes where the machine is not known. */
  assumed?(machine: Machine): readonly Reason[];
  /** Which of its kernels the runtime will run for nodes whose op has several. */
  forecast?(nodes: readonly Node[], machine: Machine): readonly Forecast[];
  /** What could be changed so that something better runs. */
  advise?(situation: Situation): readonly Reason[];
}

/** Which of the kernels behind an op the runtime will run. */
export interface Forecast {
  /** On which machines, as text; empty where the machine is known. */
  readonly on: readonly string[];
  readonly kernel: string;
  /** What the choice still depends on. */
  readonly note?: Reason;
}

/** What a target receives when it is asked for advice. */
export interface Situation {
  readonly decision: Decision;
  /** The kernels that will run for what the decision made. */
  readonly forecasts: readonly Forecast[];
  /** dtype of the arithmetic. */
  readonly computes: DType;
}

/** The dtype by which a kernel is chosen: that of the first floating operand, else of a floating result, else of the first operand that is not bool. */
export function dtypeOf(node: Pick<Node, 'operands'> & { readonly outputs: readonly TensorType[] }): DType | undefined {
  const typed = [...node.operands, ...node.outputs].filter((v) => v !== undefined);
  const read = node.operands.filter((v) => v !== undefined);
  return (typed.find((v) => isFloat(v.dtype)) ?? read.find((v) => v.dtype !== 'bool') ?? typed[0])?.dtype;
}

/** The target's kernel for a node; undefined where it has none for that form of the op. */
export function kernelOf(target: Target, { op, attrs }: Pick<Node, 'op' | 'attrs'>): Kernel | undefined {
  const kernel = rowOf(target, op);
  if (!kernel?.forms || !op.form) return kernel;
  const form = kernel.forms[op.form(attrs)];
  return form && { ...kernel, ...form };
}

/** A row of the target's table, whatever the form of the op, or for an op of a user's own what the op itself says. */
export function rowOf(target: Target, op: Op): Kernel | undefined {
  const { kernels } = op;
  if (Object.hasOwn(target.kernels, op.key)) return target.kernels[op.key];
  if (!kernels) return undefined;
  const named = (name: string) =>
    Object.hasOwn(kernels as object, name) ? (kernels as Record<string, readonly DType[]>)[name] : undefined;
  const own = kernels === 'everywhere' ? dtypes : (named(target.name) ?? named(target.name.replace(/-\d+$/, '')));
  return own && { dtypes: own };
}

/** True when the target runs this node as it is, else the reason. */
export function accepts(target: Target, machine: Machine, node: Node): true | Reason {
  const { op } = node;
  const about = { op: op.key, target: target.name };
  const kernel = kernelOf(target, node);
  if (!kernel) return rowOf(target, op) ? reasons.noForm({ ...about, form: op.form!(node.attrs) }) : reasons.noKernel(about);
  if (domainOf(op.key)[0] === '' && (op.since ?? 1) > target.opset)
    return reasons.opset({ ...about, since: op.since!, opset: target.opset });
  const dtype = dtypeOf(node);
  if (dtype && !kernel.dtypes.includes(dtype)) return reasons.noDtype({ ...about, dtype });
  return kernel.accepts?.(node, machine) ?? true;
}
