import { compile, createRunner, type Runner, targets } from '@onnxformers/core';
import { type ParityTarget, parity } from '@onnxformers/core/testing';
import * as ort from 'onnxruntime-node';
import * as web from 'onnxruntime-web';
import { afterAll, describe, expect, it } from 'vitest';
import { relu, zoo } from './index';

web.env.wasm.numThreads = 1;

// A GPU, or a driver that stands in for one, is asked only on request, and then alone: `ONNXFORMERS_WEBGPU=1`.
const asked = Boolean(process.env.ONNXFORMERS_WEBGPU);
const webgpu: ParityTarget = { target: targets.webgpu, ort };
const opened = asked ? await open(webgpu) : 'ONNXFORMERS_WEBGPU is not set';
const reason = typeof opened === 'string' ? opened : undefined;

// The runtime keeps its shaders while a session is open; a driver in software takes seconds to compile each.
async function open({ target }: ParityTarget): Promise<Runner | string> {
  try {
    const model = compile(relu({}), { target, inputs: { x: ['float32', [2, 3]] }, weights: new Map() });
    return await createRunner(model, ort);
  } catch (error) {
    return (error as Error).message.split('\n')[0]!;
  }
}
afterAll(async () => {
  if (typeof opened !== 'string') await opened.dispose();
});

// One thread: to start others for each session takes longer than these models run.
const one = { intraOpNumThreads: 1 };
const plain = { ...one, graphOptimizationLevel: 'disabled' };
const others: readonly ParityTarget[] = [
  ...([18, 21, 23] as const).map((opset) => ({ target: targets.portable(opset), ort, gradients: opset === 21, session: plain })),
  { target: targets.cpu, ort, gradients: true, session: plain },
  { target: targets.cpu, ort, gradients: true, name: 'optimised by the runtime', session: one },
  { target: targets.wasm, ort: web },
];

// From 32 queries on, the runtime attends by shaders that count on subgroups of 8 lanes at least; drivers in software have 4.
const narrow = { mostRows: 31 } as const;

parity(zoo.blocks, {
  describe,
  it,
  registry: zoo,
  targets: asked ? (reason ? [] : [webgpu]) : others,
  ...(asked ? narrow : { snapshot: (refused) => expect(refused).toMatchSnapshot() }),
});
it.skipIf(reason)(`webgpu${reason ? ` is left out: ${reason}` : ''}`, () => {});
