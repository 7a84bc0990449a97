// Every attention of the rules' own tests on WebGPU, as it is lowered for it, against the float64 interpreter.
import {
  compile,
  createRunner,
  interpret,
  type NDArray,
  type Runner,
  type Tensor,
  targets,
  toArray,
  toTensor,
} from '@onnxformers/core';
import { expectClose, randomParameters } from '@onnxformers/core/testing';
import * as ort from 'onnxruntime-node';
import { afterAll, describe, it } from 'vitest';
import { type AttendCase, attendCases, feedsOf, inputsOf, modelOf, tensorsOf } from './attend-cases.test-helper';
import { kernels } from './index';

// A GPU, or a driver that stands in for one, is asked only on request: `ONNXFORMERS_WEBGPU=1`.
const [first] = attendCases;
const opened = process.env.ONNXFORMERS_WEBGPU ? await open(first!) : 'ONNXFORMERS_WEBGPU is not set';
const reason = typeof opened === 'string' ? opened : undefined;

// Sines of shaders are off by at most this between −π and π.
const promised = 2 ** -11;

function prepared(c: (typeof attendCases)[number]) {
  const module = modelOf(c);
  const { byName, of } = randomParameters(module);
  const weights = new Map(Object.entries(byName).map(([name, array]) => [name, toTensor(array)]));
  const assumptions = ['prefill into empty cache'] as const;
  const model = compile(module, { target: targets.webgpu, rules: kernels, weights, inputs: inputsOf(c), assumptions });
  return { model, parameters: of };
}

// What lies behind the last row of a fixed cache is nobody's: 0 on both sides.
function used(c: AttendCase, feeds: Readonly<Record<string, NDArray>>, name: string, x: NDArray): NDArray {
  if (c.cache !== 'fixed' || name === 'y') return x;
  const [, heads, capacity, width] = x.dims as [number, number, number, number];
  const rows = feeds.pastLengths!.data.map((pastLengths) => pastLengths + feeds.q!.dims[2]!);
  const isUsed = (i: number): boolean => Math.floor(i / width) % capacity < rows[Math.floor(i / (heads * capacity * width))]!;
  return { ...x, data: x.data.map((n, i) => (isUsed(i) ? n : 0)) };
}

// The runtime keeps its shaders while a session is open; a driver in software takes seconds to compile each.
async function open(c: (typeof attendCases)[number]): Promise<Runner | string> {
  try {
    return await createRunner(prepared(c).model, ort);
  } catch (error) {
    return (error as Error).message.split('\n')[0]!;
  }
}
afterAll(async () => {
  if (typeof opened !== 'string') await opened.dispose();
});

describe.skipIf(reason)(`attention on webgpu${reason ? ` is left out: ${reason}` : ''}`, () => {
  it.each(attendCases)('$name', async (c) => {
    const { model, parameters } = prepared(c);
    const feeds = feedsOf(c);
    const expected = interpret(model.traced, feeds, { parameters });
    const run = await createRunner(model, ort, { session: { graphOptimizationLevel: 'disabled' } });
    const got: Record<string, Tensor> = await run(tensorsOf(feeds));
    await run.dispose();
    const atol = model.graph.nodes.some(({ op }) => op.key === 'Sin') ? promised : 4e-6;
    for (const [name, y] of Object.entries(expected)) {
      const [mine, theirs] = [toArray(got[name]!), y].map((x) => used(c, feeds, name, x)) as [NDArray, NDArray];
      expectClose(toTensor(mine), theirs, { atol, rtol: 0 }, name);
    }
  });
});
