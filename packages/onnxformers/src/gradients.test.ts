// Training stands on these interfaces: parameters as inputs, gradients of all of them in the same graph, the blocks as they are.
import { multiHead, scaledDotProduct } from '@onnxformers/attention';
import {
  type AnyModule,
  compile,
  createRunner,
  embedding,
  grad,
  initialize,
  interpret,
  linear,
  module,
  type NDArray,
  namesOf,
  type Ort,
  type Parameter,
  type SequenceContext,
  type Target,
  targets,
  tensor,
  toArray,
  toTensor,
  type Value,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { expectClose, randomParameters } from '@onnxformers/core/testing';
import { glu } from '@onnxformers/feedforward';
import { rotary } from '@onnxformers/positional';
import { preNorm, rmsNorm } from '@onnxformers/residual';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';

const [vocab, dim, batch, seq, memorySeq] = [7, 6, 2, 5, 3];

/** Two layers, the second with a memory. */
function decoder() {
  const embed = embedding(vocab, dim);
  const attention = scaledDotProduct({ causal: true });
  const layer = (cross: boolean) =>
    preNorm({
      dim,
      mixer: multiHead({ dim, heads: 4, kvHeads: 2, headDim: 4, rotaryEmbedding: rotary({ dim: 4 }), attention }),
      ...(cross && { cross: multiHead({ dim, heads: 2, headDim: 3, cross: true }) }),
      feedforward: glu({ dim, hidden: 5 }),
      norm: () => rmsNorm({ dim }),
    });
  const children = { embed, layers: [layer(false), layer(true)], norm: rmsNorm({ dim }), head: linear(dim, vocab) };
  const { layers, norm, head } = children;
  return module(children, (inputs: Record<string, Value>, ctx: SequenceContext) => ({
    logits: head(norm(layers.reduce((x, next) => next(x, ctx), embed(inputs.ids!)))),
  }));
}

const crossEntropy = (logits: Value, labels: Value): Value =>
  ops.neg(
    ops.reduceMean(ops.gatherElements(ops.logSoftmax(logits), ops.unsqueeze(labels, [2]), 2), [0, 1, 2], { keepDims: false }),
  );

const gradientName = (path: string): string => `gradient.${path}`;

/** The same model with a loss, and the loss's gradient for every parameter. */
function training(model: AnyModule): AnyModule {
  return module(model.children, (inputs: Record<string, Value>, ctx: SequenceContext) => {
    const { logits } = model.forward(inputs, ctx) as { logits: Value };
    const loss = crossEntropy(logits, inputs.labels!);
    const parameters = [...namesOf(model).parameters];
    const g = loss.graph.root;
    const gradients = grad(
      loss,
      parameters.map(([, p]) => g.param(p)),
    );
    return { loss, ...Object.fromEntries(parameters.map(([path], i) => [gradientName(path), gradients[i]!])) };
  });
}

const numbers = (dtype: NDArray['dtype'], dims: readonly number[], f: (i: number) => number): NDArray => ({
  dtype,
  dims,
  data: Float64Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => f(i)),
});
const feeds = {
  ids: numbers('int64', [batch, seq], (i) => (3 * i * i + i) % vocab),
  labels: numbers('int64', [batch, seq], (i) => (5 * i + 2) % vocab),
  memory: numbers('float32', [batch, memorySeq, dim], (i) => Math.sin(i * i)),
  memory_lengths: numbers('int64', [batch], (i) => memorySeq - i),
};
const inputs = {
  ids: ['int64', ['batch', 'seq']],
  labels: ['int64', ['batch', 'seq']],
  memory: ['float32', ['batch', 'memory_seq', dim]],
  memory_lengths: ['int64', ['batch']],
} as const;

const model = decoder();
const parameters = randomParameters(model);
const compiled = (target: Target) => compile(training(model), { target, inputs, parameters: () => 'input' });
const reference = interpret(compiled(targets.portable()).traced, feeds, { parameters: parameters.of });

describe('gradients of a decoder', () => {
  it('are those of finite differences, for every element of every parameter', () => {
    const withLoss = module(model.children, (given: Record<string, Value>, ctx: SequenceContext) => ({
      loss: crossEntropy((model.forward(given, ctx) as { logits: Value }).logits, given.labels!),
    }));
    const { traced } = compile(withLoss, { target: targets.portable(), inputs, parameters: () => 'input' });
    const loss = (): number => interpret(traced, feeds, { parameters: parameters.of }).loss!.data[0]!;
    expect(loss()).toBe(reference.loss!.data[0]);
    const step = 1e-4;
    for (const [path, { data, dims }] of Object.entries(parameters.byName)) {
      const differences = data.map((at, i) => {
        const [far, near] = [2, 1].map((n) => {
          data[i] = at + n * step;
          const above = loss();
          data[i] = at - n * step;
          const below = loss();
          data[i] = at;
          return (above - below) / (2 * n * step);
        }) as [number, number];
        return (4 * near - far) / 3;
      });
      const gradient = reference[gradientName(path)]!;
      const largest = differences.reduce((a, x) => Math.max(a, Math.abs(x)), 0);
      // A bias of all keys alike changes no softmax; everything else moves the loss.
      if (!/k_proj\.bias/.test(path)) expect(largest, path).toBeGreaterThan(1e-5);
      expectClose(
        gradient,
        { dtype: 'float32', dims, data: differences },
        { rtol: 1e-6, atol: Math.max(1e-6 * largest, 1e-11) },
        path,
      );
    }
  }, 120_000);

  for (const target of [targets.portable(18), targets.portable(23), targets.cpu])
    it(`in onnxruntime by ${target.name} are those of the interpreter, with parameters fed as inputs`, async () => {
      const runnable = compiled(target);
      const names = [...runnable.names.parameters.keys()];
      expect(runnable.signature.inputs.filter((p) => p.parameter).map((p) => p.name)).toEqual(names);
      const run = await createRunner(runnable, ort as unknown as Ort, { session: { graphOptimizationLevel: 'disabled' } });
      const outputs = await run(
        Object.fromEntries(Object.entries({ ...feeds, ...parameters.byName }).map(([name, a]) => [name, toTensor(a)])),
      );
      for (const [name, expected] of Object.entries(reference)) {
        const largest = expected.data.reduce((a, x) => Math.max(a, Math.abs(x)), 0);
        expectClose(toArray(outputs[name]!), expected, { rtol: 1e-4, atol: 1e-5 * Math.max(largest, 0.1) }, name);
      }
      // Another set of weights, the same session.
      const zeros = Object.fromEntries(
        names.map((name) => [
          name,
          toTensor({ ...parameters.byName[name]!, data: new Float64Array(parameters.byName[name]!.data.length) }),
        ]),
      );
      const { loss } = await run({
        ...Object.fromEntries(Object.entries(feeds).map(([name, a]) => [name, toTensor(a)])),
        ...zeros,
      });
      expect(toArray(loss!).data[0]).toBeCloseTo(Math.log(vocab), 5);
    });
});

describe('gradients of rows that are looked up, in float16', () => {
  // 3,000 ones: in float16 a sum of ones ends at 2,048.
  const [often, once] = [3000, 7];
  const embed = embedding(5, 3);
  const counted = module({ embed }, ({ ids }: Record<string, Value>) => {
    const y = embed(ids!);
    const loss = ops.reduceSum(y, [0, 1], { keepDims: false });
    return { gradient: grad(loss, [embed.children.weight as Parameter])[0]! };
  });
  const ids = tensor(
    'int64',
    [often + once],
    Array.from({ length: often + once }, (_, i) => (i < often ? 2 : 4)),
  );

  for (const target of [targets.cpu, targets.portable(18)])
    it(`are summed in float32 on ${target.name}`, async () => {
      const weights = initialize(counted, { seed: 5 });
      const compiled = compile(counted, { target, dtype: 'float16', weights, inputs: { ids: ['int64', ['n']] } });
      const run = await createRunner(compiled, ort as unknown as Ort, { session: { graphOptimizationLevel: 'disabled' } });
      const { gradient } = await run({ ids });
      await run.dispose();
      expect(gradient!.dtype).toBe(compiled.computes);
      expect([...toArray(gradient!).data]).toEqual([0, 0, often, 0, once].flatMap((n) => [n, n, n]));
    });
});
