import { compile, createRunner, type Runner, targets } from '@onnxformers/core';
import { type ParityTarget, parity } from '@onnxformers/core/testing';
import * as ort from 'onnxruntime-node';
import { afterAll, describe, it } from 'vitest';
import { relu, zoo } from './index';

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

// From 32 queries on, the runtime attends by shaders that count on subgroups of 8 lanes at least; drivers in software have 4.
const narrow = { maxPositions: 31 } as const;

if (!reason) parity(zoo.blocks, { describe, it, registry: zoo, targets: [webgpu], ...narrow });
it.skipIf(reason)(`webgpu${reason ? ` is left out: ${reason}` : ''}`, () => {});
