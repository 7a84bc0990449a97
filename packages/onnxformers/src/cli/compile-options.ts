// Options of compilation, the same in every command.
import {
  type Assumption,
  assumptions,
  attentionSwitches,
  type CompileOptions,
  type Machine,
  type Quantize,
  type Target,
  targets,
  type WeightFormat,
} from '@onnxformers/core';
import { type Options, UsageError, type Values } from './command';
import type { ReadConfig } from './config-file';

const names = ['cpu', 'cuda', 'webgpu', 'wasm', 'portable-18', 'portable-21', 'portable-23', 'portable'] as const;

/** The target of a name. */
export function targetOf(name: string): Target {
  if (name === 'portable') return targets.portable();
  const opset = /^portable-(\d+)$/.exec(name)?.[1];
  return opset ? targets.portable(Number(opset) as 18 | 21 | 23) : targets[name as 'cpu' | 'cuda' | 'webgpu' | 'wasm'];
}

/** Every target. */
export const allTargets = (): readonly Target[] => names.filter((n) => n !== 'portable').map(targetOf);

/** Options that select a target, a machine and a dtype. */
export const targetOptions = {
  target: { type: 'text', doc: 'the target to compile for', choices: names, default: 'cpu' },
  dtype: {
    type: 'text',
    doc: 'dtype of weights and arithmetic',
    choices: ['float32', 'float16', 'bfloat16'],
    default: 'float32',
  },
  sm: {
    type: 'integer',
    doc: 'compute capability of the GPU times ten: 80, 89, 90, 100, 120',
    form: { pattern: /^([5-9]\d|1\d\d)$/, words: 'a compute capability times ten: 80, 89, 90, 100, 120' },
  },
  cudnn: {
    type: 'text',
    doc: 'version of cuDNN on that machine, or none',
    value: 'VERSION',
    form: { pattern: /^(none|\d+(\.\d+){0,3})$/, words: 'a version such as 9.14, or none' },
  },
} as const satisfies Options;

/** Options of weight-only quantization. */
export const quantizeOptions = {
  quantize: {
    type: 'list',
    doc: 'weight-only quantization: int4 or int8 for all matrices, and formats by role: int4,head=int8,embedding=float16',
    value: 'FORMAT,ROLE=FORMAT,…',
    form: {
      pattern: /^(int4|int8|[\w-]+=(int4|int8|float16|bfloat16|none))$/,
      words: 'int4, int8, or a role and its format: head=int8 (int4, int8, float16, bfloat16, none)',
    },
  },
  'block-size': { type: 'integer', doc: 'of --quantize: columns that share a scale (default 32)' },
  'zero-points': { type: 'flag', doc: 'of --quantize: a zero point for each block' },
  'accuracy-level': {
    type: 'integer',
    doc: 'of --quantize: 4 lets kernels round activations to int8; 0, the default, does not',
    form: { pattern: /^[0-4]$/, words: 'a number from 0 to 4' },
  },
} as const satisfies Options;

/** Options for inputs, states and outputs. */
export const modelOptions = {
  ...targetOptions,
  layout: { type: 'text', doc: 'padded batch, or packed batch with lengths', choices: ['padded', 'packed'] },
  state: {
    type: 'text',
    doc: 'KV caches as inputs and outputs: io (growing), or a number of positions (fixed capacity)',
    value: 'io|CAPACITY',
    form: { pattern: /^(io|[1-9]\d{0,8})$/, words: 'io or a number of positions >= 1' },
  },
  assumptions: { type: 'list', doc: 'assumption about all feeds; the runner checks it', value: 'TEXT,…', choices: assumptions },
  ...quantizeOptions,
  taps: { type: 'list', doc: 'modules whose results become outputs; attention weights: PATH.weights', value: 'PATH,…' },
} as const satisfies Options;

/** The machine, as far as it is given, with the runtime's switches in the environment of this process. */
export function machineOf({ sm, cudnn }: Pick<Values<typeof targetOptions>, 'sm' | 'cudnn'>): Machine {
  const set = attentionSwitches.flatMap((name) => (process.env[name] ? [[name, process.env[name]] as const] : []));
  return {
    ...(sm !== undefined && { sm }),
    ...(cudnn !== undefined && { cudnn }),
    ...(set.length && { environment: Object.fromEntries(set) }),
  };
}

/** The options of `compile` except the weights; the command line overrides the file. */
export function compileOptions(v: Values<typeof modelOptions>, { inputs, options }: ReadConfig): CompileOptions {
  return {
    ...options,
    inputs: v.layout === 'packed' ? packed(inputs) : inputs,
    target: targetOf(v.target),
    machine: machineOf(v),
    dtype: v.dtype as NonNullable<CompileOptions['dtype']>,
    ...(v.layout && { layout: v.layout as 'padded' | 'packed' }),
    ...(v.state !== undefined && { state: v.state === 'io' ? 'io' : { io: Number(v.state) } }),
    ...(v.assumptions && { assumptions: v.assumptions as readonly Assumption[] }),
    ...(v.taps && { taps: v.taps }),
    ...quantizeOption(v),
  };
}

/** The option `quantize` of `compile`. */
export function quantizeOption(v: Values<typeof quantizeOptions>): { readonly quantize?: Quantize } {
  const [given, size, level] = [v.quantize, v['block-size'], v['accuracy-level']];
  if (!given) {
    if (size === undefined && level === undefined && !v['zero-points']) return {};
    throw new UsageError('--block-size, --zero-points and --accuracy-level require --quantize');
  }
  const whole = given.filter((word) => !word.includes('='));
  if (whole.length !== 1) throw new UsageError('--quantize requires int4 or int8 once, before formats by role: int4,head=int8');
  const shared = {
    ...(size !== undefined && { blockSize: size }),
    ...(v['zero-points'] && { zeroPoints: true }),
    ...(level !== undefined && { accuracyLevel: level as 0 | 1 | 2 | 3 | 4 }),
  };
  const formatOf = (word: string): WeightFormat =>
    word === 'int4' || word === 'int8' ? { bits: word === 'int4' ? 4 : 8, ...shared } : (word as WeightFormat);
  const roles = given.flatMap((word) => (word.includes('=') ? [word.split('=') as [string, string]] : []));
  return {
    quantize: {
      bits: whole[0] === 'int4' ? 4 : 8,
      ...shared,
      roles: Object.fromEntries(roles.map(([role, format]) => [role, formatOf(format)])),
    },
  };
}

// [batch, seq, …] → [tokens, …], and the lengths of the sequences.
function packed(inputs: CompileOptions['inputs']): CompileOptions['inputs'] {
  if (inputs.lengths) return inputs;
  const rows = Object.entries(inputs).map(
    ([name, [dtype, dims]]) =>
      [
        name,
        [
          dtype,
          dims[0] === 'batch' && dims.length > 1 ? [`${name === 'memory' ? 'memory_' : ''}tokens`, ...dims.slice(2)] : dims,
        ],
      ] as const,
  );
  return {
    ...Object.fromEntries(rows),
    lengths: ['int64', ['batch']],
    ...(inputs.memory && { memory_lengths: ['int64', ['batch']] as const }),
  };
}
