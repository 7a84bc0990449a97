import { compile, createRunner, targets } from '@onnxformers/core';
import { type ParityTarget, parity } from '@onnxformers/core/testing';
import * as ort from 'onnxruntime-node';
import * as web from 'onnxruntime-web';
import { describe, it } from 'vitest';
import { relu, zoo } from './index';

web.env.wasm.numThreads = 1;

// A GPU, or a driver that stands in for one, is slow to ask 150 times: only on request, `ONNXFORMERS_WEBGPU=1`.
// Shaders promise sines and cosines to 2⁻¹¹ and no better.
const webgpu: ParityTarget = { target: targets.webgpu, ort, inexact: { Sin: 1e-2, Cos: 1e-2 } };
const reason = process.env.ONNXFORMERS_WEBGPU ? await whyNot(webgpu) : 'ONNXFORMERS_WEBGPU is not set';

async function whyNot({ target }: ParityTarget): Promise<string | undefined> {
  try {
    const model = compile(relu({}), { target, inputs: { x: ['float32', [2, 3]] }, weights: new Map() });
    await (await createRunner(model, ort)).dispose();
    return undefined;
  } catch (error) {
    return (error as Error).message.split('\n')[0];
  }
}

parity(zoo.blocks, {
  describe,
  it,
  registry: zoo,
  targets: [
    ...([18, 21, 23] as const).map((opset) => ({ target: targets.portable(opset), ort, gradients: opset === 21 })),
    { target: targets.cpu, ort, gradients: true },
    { target: targets.cpu, ort, gradients: true, name: 'optimised by the runtime', session: {} },
    { target: targets.wasm, ort: web },
    ...(reason ? [] : [webgpu]),
  ],
});
it.skipIf(reason)(`webgpu${reason ? ` is left out: ${reason}` : ''}`, () => {});
