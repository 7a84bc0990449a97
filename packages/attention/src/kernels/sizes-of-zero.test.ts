// Sizes of 0: an empty result, or zeros, not an error of a kernel. The sum of the results is not empty, so the runtime has to run the kernels.
import {
  causal,
  compile,
  createRunner,
  keyLengths,
  type Mask,
  module,
  type NDArray,
  none,
  type Ort,
  slidingWindow,
  standalone,
  targets,
  toTensor,
  type Value,
} from '@onnxformers/core';
import { attendOp, attendWithWeights, cast, expand, reduceSum } from '@onnxformers/core/ops';
import { randomArray, randomParameters } from '@onnxformers/core/testing';
import * as node from 'onnxruntime-node';
import * as web from 'onnxruntime-web';
import { describe, expect, it } from 'vitest';
import { fourierMix } from '../mixers/fourier-mix';
import { multiHead } from '../mixers/multi-head';
import { scaledDotProduct } from '../softmax/scaled-dot-product';
import { tensorsOf } from './attend-cases.test-helper';
import { kernels } from './index';

web.env.wasm.numThreads = 1;
const places = [
  [targets.portable(21), node],
  [targets.cpu, node],
  [targets.wasm, web],
] as const;
interface Form {
  readonly mask?: (lengths: Value) => Mask<Value>;
  readonly heads?: number;
  readonly softcap?: number;
  readonly weights?: true;
  readonly bias?: true;
  readonly sinks?: true;
}
const lengthsOnly = { mask: (lengths: Value) => keyLengths(lengths) };
const forms: Readonly<Record<string, Form>> = {
  plain: {},
  causal: { mask: () => causal },
  window: { mask: () => slidingWindow({ left: 2, right: 0 }) },
  'window on both sides': { mask: () => slidingWindow({ left: 2, right: 2 }) },
  lengths: lengthsOnly,
  bias: { bias: true },
  sinks: { sinks: true },
  softcap: { mask: () => causal, softcap: 3 },
  weights: { weights: true },
  'weights under lengths': { ...lengthsOnly, weights: true },
  'shared key heads': { heads: 6 },
  'causal, shared key heads': { mask: () => causal, heads: 6 },
  'lengths, shared key heads': { ...lengthsOnly, heads: 6 },
  'bias, shared key heads': { bias: true, heads: 6 },
};

interface Call {
  readonly batch: number;
  readonly rows: number;
  readonly keys: number;
}
const calls: Readonly<Record<string, Call>> = {
  'no rows': { batch: 2, rows: 0, keys: 0 },
  'no queries': { batch: 2, rows: 0, keys: 3 },
  'no keys': { batch: 2, rows: 3, keys: 0 },
  'no sequences': { batch: 0, rows: 3, keys: 3 },
};

const headDim = 8;
const sumOf = (x: Value): Value => reduceSum(x, [0, 1, 2, 3], { keepDims: false });

async function attended(form: Form, call: Call, [target, runtime]: (typeof places)[number], known: boolean) {
  const { heads = 2, softcap, bias: biased, sinks: sinking, mask = () => none } = form;
  const { batch, rows, keys } = call;
  const model = module({}, ({ q, k, v, n, bias, sinks }: Readonly<Record<string, Value>>) => {
    const options = {
      mask: mask(n!),
      ...(softcap && { softcap }),
      ...(biased && { bias: bias! }),
      ...(sinking && { sinks: sinks! }),
    };
    if (!form.weights) {
      const y = attendOp(q!, k!, v!, options);
      return { y, sum: sumOf(y) };
    }
    const { y, weights } = attendWithWeights(q!, k!, v!, options);
    return { y, weights, sum: sumOf(y), total: sumOf(weights) };
  });
  const named = (name: string, size: number) => (known ? size : name);
  const [b, s, t] = [named('batch', batch), named('seq', rows), named(rows === keys ? 'seq' : 'keys', keys)];
  const compiled = compile(model, {
    target,
    rules: kernels,
    inputs: {
      q: ['float32', [b, heads, s, headDim]],
      k: ['float32', [b, 2, t, headDim]],
      v: ['float32', [b, 2, t, headDim]],
      ...(mask === lengthsOnly.mask && { n: ['int64', [b], 'data'] as const }),
      ...(biased && { bias: ['float32', [1, 1, s, t], 'data'] as const }),
      ...(sinking && { sinks: ['float32', [heads], 'data'] as const }),
    },
  });
  const run = await createRunner(compiled, runtime as unknown as Ort);
  const results = await run(
    tensorsOf({
      q: randomArray('q', [batch, heads, rows, headDim]),
      k: randomArray('k', [batch, 2, keys, headDim]),
      v: randomArray('v', [batch, 2, keys, headDim]),
      ...(mask === lengthsOnly.mask && { n: { dtype: 'int64', dims: [batch], data: new Float64Array(batch) } }),
      ...(biased && { bias: randomArray('bias', [1, 1, rows, keys]) }),
      ...(sinking && { sinks: randomArray('sinks', [heads]) }),
    }),
  );
  await run.dispose();
  return results;
}

describe.each(places)('$name', (target, runtime) => {
  describe.each(Object.entries(calls))('%s', (_, call) => {
    it.each(Object.entries(forms))('%s', async (_, form) => {
      const { batch, rows, keys } = call;
      const heads = form.heads ?? 2;
      for (const known of [false, true]) {
        const { y, sum, weights, total } = await attended(form, call, [target, runtime] as never, known);
        expect(y!.dims).toEqual([batch, heads, rows, headDim]);
        expect(Array.from(y!.data as Float32Array)).toEqual(new Array(batch * heads * rows * headDim).fill(0));
        expect(Array.from(sum!.data as Float32Array)).toEqual([0]);
        if (!form.weights) continue;
        expect(weights!.dims).toEqual([batch, heads, rows, keys]);
        expect(Array.from(total!.data as Float32Array)).toEqual([0]);
      }
    });
  });

  it.each(['n', 0])('expands to nothing, where bfloat16 has kernels also of that: %s', async (n) => {
    const dtype = target.name.startsWith('portable') ? 'float32' : 'bfloat16';
    const model = module({}, ({ x, like }: Readonly<Record<string, Value>>) => {
      const y = cast(expand(cast(x!, dtype), [n, 5]), 'float32');
      return { y, sum: reduceSum(y, [0, 1], { keepDims: false }), likeSum: reduceSum(like!, [0], { keepDims: false }) };
    });
    const compiled = compile(model, { target, inputs: { x: ['float32', [1, 5]], like: ['float32', [n]] } });
    const run = await createRunner(compiled, runtime as unknown as Ort);
    const { y, sum } = await run(tensorsOf({ x: randomArray('x', [1, 5]), like: randomArray('like', [0]) }));
    await run.dispose();
    expect(y!.dims).toEqual([0, 5]);
    expect(Array.from(sum!.data as Float32Array)).toEqual([0]);
  });

  it.each([
    ['a causal mixer', multiHead({ dim: 16, heads: 2, attention: scaledDotProduct({ causal: true }) })],
    ['fourier_mix', fourierMix({ dim: 16 })],
  ] as const)('%s takes no rows', async (_, block) => {
    const m = standalone(block);
    const weights = new Map(Object.entries(randomParameters(m).byName).map(([key, array]) => [key, toTensor(array)]));
    const model = compile(m, { target, weights, inputs: { x: ['float32', ['batch', 'seq', 16]] } });
    const run = await createRunner(model, runtime as unknown as Ort);
    const x: NDArray = { dtype: 'float32', dims: [2, 0, 16], data: new Float64Array(0) };
    const results = await run(tensorsOf({ x }));
    await run.dispose();
    expect(Object.values(results).map((y) => y.dims)).toEqual([[2, 0, 16]]);
  });
});
