import { expect, it } from 'vitest';
import { contextOf } from './compile-context';
import { withContext } from './context';
import { GraphBuilder } from './graph';
import { causal } from './mask';

it('a context with some entries changed computes positions only when asked', () => {
  const g = new GraphBuilder();
  const lengths = g.input('lengths', 'int64', ['batch']);
  const ctx = contextOf(g, { x: g.input('x', 'float32', ['tokens', 7]), lengths }, { layout: 'packed' });
  const inputs = () => g.inputs.map((v) => (v.leaf as { name: string }).name);
  const before = inputs();

  const changed = withContext(ctx, { mask: causal });
  expect(changed.mask).toBe(causal);
  expect(changed.lengths).toBe(lengths);
  expect(ctx.mask).not.toBe(causal);
  expect(inputs()).toEqual(before);
  expect(changed.positions).toBe(ctx.positions);
  expect(inputs()).toEqual([...before, 'positions_of_lengths']);
});
