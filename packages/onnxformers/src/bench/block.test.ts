// The blocks that are measured: each can be, at the sizes asked for, and each copy of it is computed.
import { compile, initialize, modulesOf, targets } from '@onnxformers/core';
import { describe, expect, it } from 'vitest';
import { zoo } from '../index';
import { attentionChain } from './attention';
import { blockChain } from './block';
import { blocksCalled, exampleAt } from './sizes';

const sizes = { heads: 2, kvHeads: 2, headDim: 12, seq: 70, kvSeq: 70 };

describe('every registered block', () => {
  it.each(zoo.blocks.map((b) => [b.kind, b.blockName, b] as const))('%s %s', (kind, name, block) => {
    const module = exampleAt(block, sizes);
    const chain = (copies: number) =>
      kind === 'attention'
        ? attentionChain({ batch: 3, causal: false, ...sizes }, copies, module)
        : blockChain(module, { batch: 3, ...sizes }, copies);
    const nodes = (copies: number) =>
      compile(chain(copies), {
        target: targets.portable(),
        inputs: { shift: ['float32', [1]] },
        weights: initialize(chain(copies), { seed: 1 }),
      }).graph.nodes.filter((n) => n.scope).length;
    const [one, two, five] = [nodes(1), nodes(2), nodes(5)];
    // What is the same for all copies, such as positions, stands there once.
    expect(five - two).toBe(3 * (two - one));
    // Of these nothing depends on the input that differs between copies.
    if (!['identity', 'swin_relative'].includes(name)) expect(two).toBeGreaterThan(one);
  });
});

it('uses the requested sizes, at any depth', () => {
  const [block] = blocksCalled('encoder');
  const configs = modulesOf(exampleAt(block!, sizes)).map(({ item }) => item.about.config ?? {});
  expect(new Set(configs.flatMap((c) => (typeof c.dim === 'number' ? [c.dim] : [])))).toEqual(new Set([24]));
  expect(new Set(configs.flatMap((c) => (typeof c.heads === 'number' ? [c.heads] : [])))).toEqual(new Set([2]));
});
