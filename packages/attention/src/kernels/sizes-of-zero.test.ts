// No rows and no keys: an empty result, or zeros, not an error of a kernel.
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
import { attendOp } from '@onnxformers/core/ops';
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
const batch = 2;
const width = 8;

interface Form {
  readonly mask: (lengths: Value) => Mask<Value>;
  readonly heads?: number;
  readonly softcap?: number;
}
const forms: Readonly<Record<string, Form>> = {
  plain: { mask: () => none },
  causal: { mask: () => causal },
  window: { mask: () => slidingWindow({ left: 2, right: 0 }) },
  lengths: { mask: (lengths) => keyLengths(lengths) },
  'shared key heads': { mask: () => none, heads: 6 },
  'causal, shared key heads': { mask: () => causal, heads: 6 },
  softcap: { mask: () => causal, softcap: 3 },
};

async function attended(form: Form, [target, runtime]: (typeof places)[number], rows: number, keys: number) {
  const { heads = 2, softcap } = form;
  const same = rows === keys;
  const model = module({}, ({ q, k, v, n }: Readonly<Record<string, Value>>) => ({
    y: attendOp(q!, k!, v!, { mask: form.mask(n!), ...(softcap && { softcap }) }),
  }));
  const compiled = compile(model, {
    target,
    rules: kernels,
    inputs: {
      q: ['float32', [batch, heads, 'seq', width]],
      k: ['float32', [batch, 2, same ? 'seq' : 'keys', width]],
      v: ['float32', [batch, 2, same ? 'seq' : 'keys', width]],
      n: ['int64', [batch], 'data'],
    },
  });
  const run = await createRunner(compiled, runtime as unknown as Ort);
  const { y } = await run(
    tensorsOf({
      q: randomArray('q', [batch, heads, rows, width]),
      k: randomArray('k', [batch, 2, keys, width]),
      v: randomArray('v', [batch, 2, keys, width]),
      n: { dtype: 'int64', dims: [batch], data: new Float64Array(batch) },
    }),
  );
  await run.dispose();
  return y!;
}

describe.each(places)('$name', (target, runtime) => {
  it.each(Object.entries(forms))('no rows: %s', async (_, form) => {
    expect((await attended(form, [target, runtime] as never, 0, 0)).dims).toEqual([batch, form.heads ?? 2, 0, width]);
  });
  it.each(['plain', 'lengths', 'shared key heads'])('keys without queries: %s', async (name) => {
    expect((await attended(forms[name]!, [target, runtime] as never, 0, 3)).data).toHaveLength(0);
  });
  it.each(['plain', 'lengths'])('without keys the result is 0: %s', async (name) => {
    const y = await attended(forms[name]!, [target, runtime] as never, 3, 0);
    expect(Array.from(y.data as Float32Array)).toEqual(new Array(y.data.length).fill(0));
    expect(y.dims[2]).toBe(3);
  });

  it('without keys and with grouped heads the result is 0, or an error before the run if the kernel does not support it', async () => {
    const attempt = attended(forms['shared key heads']!, [target, runtime] as never, 3, 0);
    if (target.name.startsWith('portable')) expect((await attempt).data.every((x) => x === 0)).toBe(true);
    else await expect(attempt).rejects.toThrow(/no keys to attend to; expected 1 or more/);
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
