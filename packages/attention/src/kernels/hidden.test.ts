// What a mask hides stays hidden, whatever scores and biases are: on every path that a runtime computes.
import {
  and,
  causal,
  compile,
  createRunner,
  dense,
  interpret,
  keyLengths,
  keyPadding,
  type Mask,
  module,
  type NDArray,
  type Ort,
  slidingWindow,
  type Target,
  targets,
  type Value,
} from '@onnxformers/core';
import { attendBlockwise } from '@onnxformers/core/lowering';
import { attendOp } from '@onnxformers/core/ops';
import { compare, expectClose, randomArray } from '@onnxformers/core/testing';
import fc from 'fast-check';
import * as node from 'onnxruntime-node';
import * as web from 'onnxruntime-web';
import { describe, expect, it } from 'vitest';
import { tensorsOf } from './attend-cases.test-helper';
import { kernels } from './index';

web.env.wasm.numThreads = 1;
const runtimes = { cpu: node, wasm: web, 'portable-21': node } as unknown as Readonly<Record<string, Ort>>;
const [batch, heads, rows, width] = [2, 2, 5, 8];

const masks: Readonly<Record<string, (data: { readonly [name: string]: Value }) => Mask<Value>>> = {
  lengths: ({ lengths }) => keyLengths(lengths!),
  'causal and lengths': ({ lengths }) => and(causal, keyLengths(lengths!)),
  padding: ({ padding }) => keyPadding(padding!),
  dense: ({ pairs }) => dense(pairs!),
  causal: () => causal,
  window: () => slidingWindow({ left: 1, right: 1 }),
  'causal window': () => slidingWindow({ left: 1, right: 0 }),
};
const scalar = (
  name: string,
  sizes: readonly number[],
  values: Iterable<number>,
  dtype: NDArray['dtype'] = 'float32',
): NDArray => ({
  ...randomArray(name, sizes, dtype),
  data: Float64Array.from(values),
});

interface Call {
  /** What q and k are multiplied by: their products are the scores. */
  readonly size: number;
  readonly bias: number | undefined;
  readonly empty: boolean;
}

/** Keys whose scores are as large as can be where they are hidden from some, and queries of both signs. */
function feedsOf({ size, bias, empty }: Call): Readonly<Record<string, NDArray>> {
  const root = Math.sqrt(size);
  const one = (name: string) => randomArray(name, [batch, heads, rows, width]);
  const sized = (x: NDArray): NDArray => ({ ...x, data: x.data.map((n, i) => (i % width ? 0 : root * (n < 0 ? -1 : 1))) });
  return {
    q: sized(one('q')),
    k: sized(one('k')),
    v: one('v'),
    lengths: scalar('lengths', [batch], [empty ? 0 : 2, 4], 'int64'),
    padding: scalar('padding', [batch, rows], [...(empty ? [0, 0, 0, 0, 0] : [0, 1, 0, 1, 0]), 1, 1, 1, 0, 1], 'bool'),
    pairs: scalar(
      'pairs',
      [rows, rows],
      Array.from({ length: 25 }, (_, i) => (empty && i < 5 ? 0 : Number(i % 3 !== 1))),
      'bool',
    ),
    ...(bias !== undefined && {
      bias: scalar(
        'bias',
        [1, 1, rows, rows],
        Array.from({ length: 25 }, (_, i) => (i % 2 ? bias : -bias)),
      ),
    }),
  };
}

function compiled(name: string, target: Target, call: Call, rules: readonly (typeof kernels)[number][] | 'blocks') {
  const feeds = feedsOf(call);
  const model = module({}, (inputs: Readonly<Record<string, Value>>) => {
    const { q, k, v, bias } = inputs as Readonly<Record<'q' | 'k' | 'v', Value>> & { readonly bias?: Value };
    const mask = masks[name]!(inputs);
    if (rules === 'blocks') return { y: attendBlockwise(q, k, v, { mask, scale: 1 }) };
    return { y: attendOp(q, k, v, { mask, scale: 1, ...(bias && { bias }) }) };
  });
  const inputs = Object.fromEntries(
    Object.entries(feeds).map(([key, { dtype, dims }]) => [
      key,
      [
        dtype,
        key === 'q'
          ? [batch, heads, 'seq', width]
          : key === 'k' || key === 'v'
            ? [batch, heads, 'seq', width]
            : dims.map((d) => (d === rows ? 'seq' : d)),
        'data',
      ] as const,
    ]),
  );
  // Of inputs that are not lengths, the runner checks nothing, so the assumption must not be used.
  return {
    feeds,
    model: compile(model, { target, ...(rules !== 'blocks' && { rules }), inputs, assumptions: ['no empty sequences'] }),
  };
}

const places: readonly (readonly [string, Target, readonly (typeof kernels)[number][]])[] = [
  ['plain', targets.portable(21), []],
  ...[targets.cpu, targets.wasm].flatMap((target) => kernels.map((rule) => [rule.name, target, [rule]] as const)),
];
const calls: readonly Call[] = [
  { size: 1e4, bias: undefined, empty: false },
  { size: 1e30, bias: undefined, empty: true },
  { size: 1e38, bias: undefined, empty: false },
  { size: 1, bias: 1e30, empty: false },
  { size: 1e30, bias: 1e34, empty: true },
];

describe.each(Object.keys(masks))('%s', (name) => {
  it.each(places.map(([rule, target, rules]) => [rule, target.name, target, rules] as const))(
    'through %s on %s',
    async (rule, _, target, rules) => {
      const first = compiled(name, target, calls[0]!, rules);
      // A rule that does not apply leaves the plain definition, which is tried once.
      if (rules.length && !first.model.decisions.some((d) => d.chosen === rule)) return;
      for (const call of calls) await agrees(compiled(name, target, call, rules), call);
    },
  );
});

describe.each(['window', 'causal window'])('%s in blocks', (name) => {
  it.each(calls.filter(({ bias }) => bias === undefined))('scores to $size', async (call) => {
    const { model, feeds } = compiled(name, targets.portable(21), call, 'blocks');
    const whole = compiled(name, targets.portable(21), call, []).model.traced;
    await agrees({ model: { ...model, traced: whole }, feeds }, call);
  });
});

async function agrees({ model, feeds }: ReturnType<typeof compiled>, call: Call): Promise<void> {
  const run = await createRunner(model, runtimes[model.target.name]!);
  const { y } = await run(tensorsOf(feeds));
  await run.dispose();
  const expected = interpret(model.traced, feeds).y!;
  expectClose(y!, expected, { atol: 2e-6, rtol: 2e-6 }, `scores to ${call.size}, biases to ${call.bias ?? 0}`);
}

it('the comparison notices a hidden key that counts', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 79 }), (at) => {
      const y = randomArray('y', [2, 5, 8]);
      const other = { ...y, data: y.data.with(at, y.data[at]! + 1e-3) };
      expect(compare(other, y, { atol: 2e-6, rtol: 2e-6 }).close).toBe(false);
    }),
  );
});
