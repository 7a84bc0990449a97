// What the demo asks of the compiled model.
import type { OnProgress, Tensor } from '@onnxformers/core';
import type { Picture } from 'onnxformers';
import type { Batch } from './tokenizer';

/** Where the encoder can run. */
export const targets = ['cpu', 'wasm', 'webgpu', 'cuda', 'portable'] as const;
export type TargetName = (typeof targets)[number];
/** The types of its weights and arithmetic. */
export const precisions = ['float32', 'float16'] as const;
export type Precision = (typeof precisions)[number];

/** The encoder, compiled for a target and loaded into a runtime. */
export interface Encoder {
  /** One unit vector of 512 numbers for each row of the batch. */
  encode(batch: Batch): Promise<readonly Float32Array[]>;
  /** The type of its arithmetic, where the target does not compute in that of the weights. */
  readonly computes: string;
  /** Runtime and provider: `onnxruntime-node 1.30.0, CPU`. */
  readonly runtime: string;
  /** The compiled graph: its ops are the kernels of the report, and it can be drawn. */
  readonly picture: Picture;
  dispose(): Promise<void>;
}

/** Compiles the encoder. `weights` as `readWeights` gives them. */
export type BuildEncoder = (
  weights: ReadonlyMap<string, Tensor>,
  options: { readonly target: TargetName; readonly dtype: Precision; readonly onProgress?: OnProgress },
) => Promise<Encoder>;
