import { describe, expect, it } from 'vitest';
import type { Dim } from '../dim/dim';
import { type Graph, subgraphsOf } from '../ir/graph';
import { lower } from '../lower/lower';
import { dft } from '../ops/fourier';
import { GraphBuilder } from '../ops/vocabulary';
import { cpu } from './cpu';
import { portable } from './portable';
import { wasm } from './wasm';

function opsFor(target: typeof cpu, length: Dim): readonly string[] {
  const g = new GraphBuilder();
  g.output('y', dft(g.input('x', 'float32', [3, length, 2]), { axis: 1 }));
  return keysOf(lower(g.finish(), target).graph);
}
const keysOf = ({ nodes }: Graph): readonly string[] =>
  nodes.flatMap((node) => [node.op.key, ...subgraphsOf(node).flatMap(([, inner]) => keysOf(inner))]);

describe.each([cpu, wasm, portable(21)])('$name', (target) => {
  it('transforms powers of two by the kernel', () => expect(opsFor(target, 16)).toEqual(['DFT']));
  it.each([12, 17, 289, 'seq'])('transforms a length of %s by products', (length) => {
    const found = opsFor(target, length);
    expect(found).not.toContain('DFT');
    expect(found).toContain('MatMul');
  });
});
