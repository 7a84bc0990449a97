// The runtimes of targets without a GPU, by the names of the targets.
import type { Ort } from '@onnxformers/core';
import * as node from 'onnxruntime-node';
import * as web from 'onnxruntime-web';

web.env.wasm.numThreads = 1;
export const runtimes = { cpu: node, wasm: web, 'portable-21': node } as unknown as Readonly<Record<string, Ort>>;
