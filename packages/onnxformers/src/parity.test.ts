import { targets } from '@onnxformers/core';
import { type ParityTarget, parity } from '@onnxformers/core/testing';
import * as ort from 'onnxruntime-node';
import * as web from 'onnxruntime-web';
import { describe, expect, it } from 'vitest';
import { zoo } from './index';

web.env.wasm.numThreads = 1;

// One thread: to start others for each session takes longer than these models run.
const one = { intraOpNumThreads: 1 };
const plain = { ...one, graphOptimizationLevel: 'disabled' };
const others: readonly ParityTarget[] = [
  ...([18, 21, 23] as const).map((opset) => ({ target: targets.portable(opset), ort, gradients: opset === 21, session: plain })),
  { target: targets.cpu, ort, gradients: true, session: plain },
  { target: targets.cpu, ort, gradients: true, name: 'optimised by the runtime', session: one },
  { target: targets.wasm, ort: web },
];

parity(zoo.blocks, {
  describe,
  it,
  registry: zoo,
  targets: others,
  snapshot: (refused) => expect(refused).toMatchSnapshot(),
});
