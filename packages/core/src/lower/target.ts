// A target is a table of kernels.

import type { Dim } from '../dim/dim';
import { domainOf, type Op } from '../ir/define-op';
import type { Node } from '../ir/graph';
import { type DType, dtypes } from '../tensor/tensor';
import type { Decision } from './decision';
import { dtypeOf } from './dtype-of';
import type { AttentionSwitch } from './environment';
import { type Fusions, takenBy } from './fusions';
import { type KernelLimits, withinLimits } from './kernel-limits';
import type { Reason } from './reason';
import { reasons } from './reasons';

/** The machine that a graph will run on. Missing entries are assumed to be the newest; `explain` says so. */
export interface Machine {
  /** Version of ONNX Runtime: `1.30.0`. */
  readonly runtime?: string;
  /** Compute capability of the GPU times ten: 80 Ampere, 89 Ada, 90 Hopper, 100 and 120 Blackwell. */
  readonly sm?: number;
  /** Version of cuDNN: `9.14`; `none` where it is not installed. */
  readonly cudnn?: string;
  /** Environment variables of the runtime that switch attention kernels off or on, as text: `{ ORT_DISABLE_FLASH_ATTENTION: '1' }`. */
  readonly environment?: Partial<Readonly<Record<AttentionSwitch, string>>>;
}

/** A size of a node that must be at least 1. */
export interface NonEmptySize {
  readonly size: Dim;
  /** What is missing if it is 0: `no sequences`. */
  readonly problem: string;
}

/** The sizes that a kernel fails with if they are 0, or ends the process. */
export interface NonEmpty {
  sizes(node: Node): readonly NonEmptySize[];
  /**
   * What happens where one of them may be 0 in a run: the node runs in an `If` on its sizes, or the runner refuses such feeds. Refused
   * outside of branches: inside of one, which may be there because of such feeds, the node runs in an `If` of its own.
   */
  readonly otherwise: 'branch' | 'refused' | 'refused outside of branches';
}

/** One op on one target. */
export interface Kernel {
  readonly dtypes: readonly DType[];
  /** Those of them that the provider runs on the CPU, with copies before and after the node. */
  readonly onCpu?: readonly DType[];
  /** The dtypes of each form of the op (`Op.form`), if they differ. A missing form has no kernel. */
  readonly forms?: Readonly<Record<string, Pick<Kernel, 'dtypes' | 'onCpu'>>>;
  /** The limits of what a node may ask of it (`Op.asks`), by name. What has no entry is not limited. */
  readonly limits?: KernelLimits;
  /** True, or the reason why this node cannot run there. */
  accepts?(node: Node, machine: Machine): true | Reason;
  /** The absolute error per element that the provider allows; absent: that of rounding in the dtype. */
  readonly error?: number;
  /** The sizes that must be at least 1; absent: none. */
  readonly nonEmpty?: NonEmpty;
  /** Relative cost; 0 when absent. Only kernels that compete with others have one. */
  cost?(node: Node, machine: Machine): number;
  /** Numbers that it keeps while it runs, besides operands and results, where they are more than these; absent: none. */
  workspace?(node: Node, machine: Machine): Dim;
}

/** The kernels of a list of execution providers. */
export interface Target {
  readonly name: string;
  /** The version of the runtime that has these kernels; absent if every version has them. */
  readonly runtime?: string;
  /** The target on older versions of the runtime, newest first. */
  readonly older?: readonly Target[];
  /** Highest opset of the standard that a graph for it may use. */
  readonly opset: number;
  /** Execution providers in order of preference, as the runtime names them. */
  readonly providers: readonly string[];
  /** dtypes in which the target computes; a model of another dtype stores it and computes in float32. */
  readonly computes: readonly DType[];
  /** Those of them in which it is slower than in float32: a model stores its weights in them and computes in float32, unless `strictDtype` is set. */
  readonly widens?: readonly DType[];
  /** By op key: `com.microsoft.MultiHeadAttention`. */
  readonly kernels: Readonly<Record<string, Kernel>>;
  /** The dtypes in which the runtime's own fusions fail or are less precise; nodes of these dtypes are kept apart. */
  readonly fusions?: Fusions;
  /** True where each step of a Loop waits for a device. */
  readonly waitsInLoops?: true;
  /** True where adding a bias to the result of a product is a kernel of its own, which reads and writes the result again. */
  readonly biasTakesPass?: true;
  /** The most elements of a tensor that its kernels count correctly; absent: any number. */
  readonly mostElements?: number;
  /** Its fused attention kernels take only heads whose number of channels is a multiple of this; absent: any. */
  readonly headMultiple?: number;
  /** True where a fused kernel of attention takes the lengths of a padded batch; absent: true. */
  takesLengths?(machine: Machine): boolean;
  /** True where the runtime may free the memory of a size on the CPU while a view of it, a Reshape, is still read. */
  readonly freesViews?: true;
  /** Notes about the target for `explain`: for all models, or for models that compute in a dtype. */
  readonly notes?: readonly { readonly computes?: DType; readonly text: string }[];
  /** The vendor of its GPUs; tools use it to determine the {@link Machine}. */
  readonly gpu?: 'nvidia';
  /** What it assumes if the machine is not known. */
  assumed?(machine: Machine): readonly Reason[];
  /** Predicts which kernels the runtime will run for nodes whose op has several. */
  forecast?(nodes: readonly Node[], machine: Machine): readonly Forecast[];
  /** What could be changed to get a faster kernel. */
  advise?(situation: AdviceContext): readonly Reason[];
}

/** A prediction of the kernel that the runtime will run for an op. */
export interface Forecast {
  /** On which machines, as text; empty if the machine is known. */
  readonly on: readonly string[];
  readonly kernel: string;
  /** What the choice also depends on. */
  readonly note?: Reason;
}

/** The argument of a target's `advise`. */
export interface AdviceContext {
  readonly decision: Decision;
  /** The kernels that will run for the ops of the decision. */
  readonly forecasts: readonly Forecast[];
  /** dtype of the arithmetic. */
  readonly computes: DType;
  /** An attention of packed sequences. */
  readonly packed: boolean;
}

/** The target's kernel for a node; undefined where it has none for that form of the op. */
export function kernelOf(target: Target, { op, attrs }: Pick<Node, 'op' | 'attrs'>): Kernel | undefined {
  const kernel = rowOf(target, op);
  if (!kernel?.forms || !op.form) return kernel;
  const form = kernel.forms[op.form(attrs)];
  return form && { ...kernel, ...form };
}

/** The entry of an op in the target's table, for any form; for a user's own op, what the op itself declares. */
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
  const large = tooLarge(node, target);
  if (large) return large;
  const dtype = dtypeOf(node);
  if (dtype && !kernel.dtypes.includes(dtype)) return reasons.noDtype({ ...about, dtype });
  const fit = fitsKernel(kernel, machine, node);
  return fit === true ? (takenBy(node, target.fusions ?? {}) ?? true) : fit;
}

function tooLarge({ operands, outputs }: Node, { mostElements: most }: Target): Reason | undefined {
  if (most === undefined) return undefined;
  for (const v of [...outputs, ...operands]) {
    const dims = v?.dims ?? [];
    if (!dims.every((d) => typeof d === 'number')) continue;
    const elements = dims.reduce((a, b) => a * b, 1);
    if (elements > most) return reasons.tooManyElements({ elements, most });
  }
  return undefined;
}

/** True if the node is within the limits of a kernel of its op, whatever its dtype, else the reason. */
export function fitsKernel(kernel: Kernel, machine: Machine, node: Node): true | Reason {
  const asked = kernel.limits && node.op.asks?.(node.operands, node.attrs);
  const within = asked ? withinLimits(asked, kernel.limits!) : true;
  return within === true ? (kernel.accepts?.(node, machine) ?? true) : within;
}
