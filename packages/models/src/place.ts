// Where a pipeline runs: the target and the dtype of a device.
import { type CompileOptions, ConfigError, describe, nearest, type Ort, type Target, targets } from '@onnxformers/core';

/** A device by the name of its execution provider. */
export type Device = 'cpu' | 'cuda' | 'wasm' | 'webgpu';

/** Where a pipeline runs. */
export interface PlaceOptions {
  /** Default: `cpu` in onnxruntime-node, `wasm` in onnxruntime-web. */
  readonly device?: Device;
  /** The dtype of weights and arithmetic; `fp32` and `fp16` are float32 and float16. Default float32. */
  readonly dtype?: 'float32' | 'float16' | 'bfloat16' | 'fp32' | 'fp16';
}

/** A runtime with a target and a dtype. */
export interface Place {
  readonly ort: Ort;
  readonly target: Target;
  readonly dtype: NonNullable<CompileOptions['dtype']>;
}

const dtypes = { float32: 'float32', float16: 'float16', bfloat16: 'bfloat16', fp32: 'float32', fp16: 'float16' } as const;
const devices = { cpu: targets.cpu, cuda: targets.cuda, wasm: targets.wasm, webgpu: targets.webgpu } as const;

/** The value of a word in a table. Throws   ConfigError for another word, with the nearest */
export function chosen<T>(table: Readonly<Record<string, T>>, word: unknown, path: string): T {
  if (typeof word === 'string' && Object.hasOwn(table, word)) return table[word]!;
  const names = Object.keys(table);
  const near = typeof word === 'string' ? nearest(word, names) : undefined;
  throw new ConfigError({
    path,
    problem: 'unknown',
    expected: names.join(', '),
    got: describe(word),
    ...(near && { hint: `Did you mean "${near}"?` }),
  });
}

/** The place that options name. */
export function placeOf(ort: Ort, { device, dtype = 'float32' }: PlaceOptions): Place {
  const usual = ort.env?.versions?.web === undefined ? 'cpu' : 'wasm';
  return {
    ort,
    target: chosen(devices, device ?? usual, 'pipeline: device'),
    dtype: chosen(dtypes, dtype, 'pipeline: dtype'),
  };
}
