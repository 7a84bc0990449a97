// Standard ONNX ops only, for any runtime.
import { ConfigError, describe } from '../error';
import { domainOf, Identity, type Op } from '../ir/define-op';
import { type KernelLimits, strictest } from '../lower/kernel-limits';
import type { Kernel, Target } from '../lower/target';
import * as ops from '../ops/index';
import { dtypes } from '../tensor/tensor';
import { kernelTables } from './kernels.generated';
import { nonEmptyOnCpu } from './non-empty';
import { fusionsIn, type KernelTable, limited } from './table';

const isOp = (x: unknown): x is Op => typeof x === 'object' && x !== null && 'key' in x && 'infer' in x;

/** The standard ops that the library has. */
export const standardOps: readonly Op[] = ([Identity, ...Object.values(ops)] as unknown[])
  .filter(isOp)
  .filter((op) => domainOf(op.key)[0] === '');

/** The standard's Attention is excluded: only new runtimes have it, and some providers run it on the CPU. */
const leftOut = new Set(['Attention']);
/** A runtime without a 16-bit kernel expands them to the standard's own definition, whose exponential is infinite in float16 above 11. */
const overflowing = ['Softplus', 'ReduceLogSumExp'];
/** A CPU has no 16-bit kernel for them if they reduce. IsInf has float16 from opset 20 on only. */
const scatters = ['ScatterND', 'ScatterElements'];

/**
 * Ops of the standard up to an opset: no contrib op, and no Attention, which some providers move to the CPU. Lowered for it, every mechanism
 * consists of primitives.
 *
 * Throws   ConfigError for another opset
 */
export function portable(opset: 18 | 21 | 23 = 21): Target {
  if (![18, 21, 23].includes(opset))
    throw new ConfigError({ path: 'portable', problem: 'unsupported opset', expected: '18, 21 or 23', got: describe(opset) });
  const every: Kernel = { dtypes };
  const wide: Kernel = { dtypes: dtypes.filter((dtype) => dtype !== 'float16' && dtype !== 'bfloat16') };
  const reductions = ['add', 'mul', 'max', 'min'].map((reduction) => [`reduction=${reduction}`, wide] as const);
  const special: Readonly<Record<string, Kernel>> = {
    ...Object.fromEntries([...overflowing, 'IsInf'].map((key) => [key, wide])),
    ...Object.fromEntries(
      scatters.map((key) => [key, { ...every, forms: { 'reduction=none': every, ...Object.fromEntries(reductions) } }]),
    ),
  };
  const kernels = standardOps
    .filter((op) => !leftOut.has(op.key) && (op.since ?? 1) <= opset)
    .map((op) => [op.key, { ...(special[op.key] ?? every), ...nonEmptyOnCpu[op.key] }] as const);
  return {
    name: `portable-${opset}`,
    opset,
    providers: ['cpu'],
    // The standard has bfloat16 only for some ops, and different ones in each opset.
    computes: ['float32', 'float16', 'float64'],
    // Whatever opens it: limits and fusions are those of every provider and version of ONNX Runtime.
    kernels: limited(Object.fromEntries(kernels), strictestOf(versions)),
    fusions: fusionsIn(...versions.map(({ fusions }) => fusions)),
  };
}

type Version = Pick<KernelTable, 'fusions' | 'limits'>;
const versions: readonly Version[] = Object.values(kernelTables).flatMap((t: KernelTable) => [t, ...t.older]);

/** What none of the versions supports, by op. */
function strictestOf(all: readonly Version[]): Readonly<Record<string, KernelLimits>> {
  const limits: Record<string, KernelLimits> = {};
  for (const version of all) for (const [op, of] of Object.entries(version.limits)) limits[op] = strictest(limits[op] ?? {}, of);
  return limits;
}
