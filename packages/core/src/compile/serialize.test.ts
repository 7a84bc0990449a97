import { expect, it } from 'vitest';
import type { Value } from '../ir/graph';
import { linear } from '../layers/linear';
import { module } from '../module/module';
import { add, gelu, reshape } from '../ops/index';
import { targets } from '../targets/index';
import { compile } from './compile';
import { initialize } from './initialize';
import { serialize } from './serialize';

// The runtime plans memory for values of known sizes in linear time, and for others by comparing each with all that it has seen.
it('the sizes of every value between inputs and outputs are written', () => {
  const maps = { up: linear(6, 10), down: linear(10, 6) };
  const block = module(maps, ({ x }: Record<string, Value>) => {
    const [batch, seq] = x!.dims as [string, string];
    const flat = reshape(x!, [batch, seq, 2, 3]);
    return { y: add(maps.down(gelu(maps.up(reshape(flat, [batch, seq, 6])))), x!) };
  });
  const inputs = { x: ['float32', ['batch', 'seq', 6]] } as const;
  const { graph } = serialize(compile(block, { target: targets.portable(), inputs, weights: initialize(block) }));
  const made = graph.nodes.flatMap((n) => n.outputs).filter((name) => name !== 'y');
  const written = new Map(graph.values!.map((v) => [v.name, v]));
  expect(made.length).toBeGreaterThan(3);
  expect(made.filter((name) => written.get(name)?.dims === undefined)).toEqual([]);
  expect([...written.values()].some(({ dims }) => String(dims) === 'batch,seq,10')).toBe(true);
  expect(written.has('y')).toBe(false);
});
