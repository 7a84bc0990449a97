import { interpret, type KindModule, type NDArray } from '@onnxformers/core';
import { expectClose, randomArray, randomParameters, traceBlock } from '@onnxformers/core/testing';
import { expect, it } from 'vitest';
import { zoo } from '../index';

const dim = 12;
const layers = { name: 'reversible', mixer: { name: 'multi_head', heads: 3 }, feedforward: { name: 'mlp', hidden: 17 } } as const;
const stack = zoo.build('stack', { name: 'reversible_stack', dim, depth: 2, layers });
const { of } = randomParameters(stack);
const run = (block: KindModule<'stack'> | KindModule<'layer'>, x: NDArray): NDArray =>
  interpret(traceBlock(block, { x: ['float32', x.dims] }), { x }, { parameters: of }).y!;

it('runs its layers on two copies and returns their mean', () => {
  const x = randomArray('x', [2, 5, dim]);
  const twice = Array.from({ length: 10 }, (_, r) => Array.from(x.data.subarray(r * dim, (r + 1) * dim))).flatMap((r) => [
    ...r,
    ...r,
  ]);
  const [first, second] = stack.children.layers as unknown as readonly KindModule<'layer'>[];
  const both = run(second!, run(first!, { ...x, dims: [2, 5, 2 * dim], data: Float64Array.from(twice) }));
  const mean = x.data.map((_, i) => {
    const at = Math.floor(i / dim) * 2 * dim + (i % dim);
    return (both.data[at]! + both.data[at + dim]!) / 2;
  });
  expectClose(run(stack, x), { ...x, data: mean });
});

it('refuses layers that are not reversible', () => {
  const wrong = zoo.build('stack', { name: 'reversible_stack', dim, depth: 1, layers: { name: 'pre_norm', feedforward: 'mlp' } });
  expect(() => traceBlock(wrong, { x: ['float32', [2, 5, dim]] })).toThrow(/layers\.0/);
});
