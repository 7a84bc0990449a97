// Options of compilation, the same in every command.
import { type Assumption, assumptions, type CompileOptions, type Machine, type Target, targets } from '@onnxformers/core';
import type { Options, Values } from './command';
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
  taps: { type: 'list', doc: 'modules whose results become outputs; attention weights: PATH.weights', value: 'PATH,…' },
} as const satisfies Options;

/** The machine, as far as it is given. */
export function machineOf({ sm, cudnn }: Pick<Values<typeof targetOptions>, 'sm' | 'cudnn'>): Machine {
  return { ...(sm !== undefined && { sm }), ...(cudnn !== undefined && { cudnn }) };
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
