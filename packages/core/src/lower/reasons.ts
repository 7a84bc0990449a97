// The reasons that several rules and targets return. A reason that only one kernel returns is defined beside that kernel.
import type { Assumption } from '../ir/assumption';
import { defineReasons } from './reason';

type Mask = {
  /** As text: `causal, lengths`. */
  readonly mask: string;
  /** Names of the classes in it. */
  readonly kinds: readonly string[];
};

type Fusion = {
  /** As the runtime calls it. */
  readonly fusion: string;
  readonly dtype: string;
};

/** Reasons by code: `refuse(reasons.lacks({ feature: 'sinks' }))`. */
export const reasons = defineReasons({
  /** The kernel has no such feature. */
  lacks: ({ feature }: { readonly feature: 'softcap' | 'sinks' | 'dropout' | 'bias' | 'query offset' }) =>
    feature === 'query offset' ? 'it has no cache in which each sequence has its own length' : `it does not support ${feature}`,
  /** Something reads a result that the kernel does not have. */
  lacksResult: ({ result, type }: { readonly result: string; readonly type: string }) => `it does not return ${result}, ${type}`,
  /** Not a refusal: a note that an attention returns its weights. */
  weightsReturned: ({ type }: { readonly type: string }) =>
    `it returns the attention weights, one number for every pair of query and key: ${type}`,
  /** Not a refusal: a note that no kernel computes the scores or weights of an attention. */
  scoresModified: ({ modifiers }: { readonly modifiers: string }) =>
    `it computes a function of all scores or weights, in memory seq · kv_seq for each head, which no fused kernel does: ${modifiers}`,
  maskNotExpressible: ({ mask }: Mask) => `it cannot express the mask: ${mask}`,
  headCountsUnknown: () => 'the numbers of heads must be known when the model is compiled',
  headCountsDiffer: ({ heads, kvHeads }: { readonly heads: number | string; readonly kvHeads: number | string }) =>
    `it needs as many key heads as query heads, got ${heads} query heads and ${kvHeads} key heads`,
  /** More elements than kernels count. */
  tooManyElements: ({ elements, most }: { readonly elements: number; readonly most: number }) =>
    `a tensor would have ${elements} elements, and its kernels count ${most} at most`,
  /** Not a size that the kernel supports. */
  sizeLimit: ({
    size,
    got,
    limit,
  }: {
    readonly size: string;
    readonly got: number | string;
    readonly limit: string;
    readonly multipleOf: number | undefined;
  }) => `${size} must be ${limit}, got ${got}`,
  /** The kernel refuses the feature, or computes it differently from its definition. */
  featureLimit: ({ feature, outcome }: { readonly feature: string; readonly outcome: 'wrong' | 'fails' }) =>
    outcome === 'fails' ? `it refuses: ${feature}` : `its result is wrong for: ${feature}`,
  /** Not a refusal: a note that the kernel can express the mask only as a tensor. */
  maskOverScores: ({ mask }: Mask) => `the mask becomes a tensor over all pairs of queries and keys: ${mask}`,
  /** Not a refusal: a note that the kernel is not run for a size of 0. */
  zerosOfNothing: ({ size }: { readonly size: string }) => `if ${size} is 0, its result is made without the kernel`,
  derivedOffsets: () => 'the lengths of the sequences must be an input',
  keysOfOthers: () => 'keys and queries belong to different sequences',
  noBiasedLinear: () => 'its operand is not a linear map with a bias, or something else reads it too',
  sizeUnknown: ({ size }: { readonly size: string }) => `the number of ${size} must be known when the model is compiled`,
  /** What would be possible under an assumption that was not made: `holds` completes a sentence with `if`. */
  assumption: ({
    assumption,
    without,
    holds,
  }: {
    readonly assumption: Assumption;
    readonly without: string;
    readonly holds: string;
  }) => `${without}; compile with assumptions: ['${assumption}'] if ${holds}`,

  noKernel: ({ op, target }: { readonly op: string; readonly target: string }) => `${target} has no kernel for ${op}`,
  noForm: ({ op, target, form }: { readonly op: string; readonly target: string; readonly form: string }) =>
    `${op} has no kernel with ${form} on ${target}`,
  noDtype: ({ op, dtype, target }: { readonly op: string; readonly dtype: string; readonly target: string }) =>
    `${op} has no ${dtype} kernel on ${target}`,
  opset: ({
    op,
    since,
    opset,
    target,
  }: {
    readonly op: string;
    readonly since: number;
    readonly opset: number;
    readonly target: string;
  }) => `${op} needs opset ${since}, and ${target} uses opset ${opset}`,

  takenByFusion: ({ fusion, dtype }: Fusion & { readonly op: string }) =>
    `the runtime's ${fusion} would replace it by a kernel that is missing or less precise in ${dtype}`,
  /** A note on what keeps a node from a fusion. */
  keptFromFusion: ({ fusion, dtype }: Fusion) =>
    `max(y, y) = y keeps the runtime's ${fusion} from replacing it by a kernel that is missing or less precise in ${dtype}`,

  costsMore: ({ cost, against }: { readonly cost: number; readonly against: number; readonly to: string }) =>
    `its estimated cost is higher (${digits(cost)} against ${digits(against)})`,
  lost: ({ by }: { readonly to: string; readonly by: string }) =>
    by === 'order' ? 'it is equally good' : by === 'memory' ? 'it takes more memory' : 'it fuses less',
  ownResult: () => 'its operands depend on its own result',
  keptIsCheaper: ({ op }: { readonly op: string }) => `${op} itself is cheaper here`,
});

const digits = (n: number): string => String(Number(n.toPrecision(3)));
