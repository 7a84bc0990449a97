// Attention is divided from some sizes on: by an If, and without one where the limits of the model decide.
import { describe, expect, it } from 'vitest';
import { compile } from '../compile/compile';
import { nodesWithin } from '../explain/explain';
import type { Value } from '../ir/graph';
import { causal, type Mask, slidingWindow } from '../mask/index';
import { module } from '../module/module';
import { attend, type SequenceContext } from '../sequence/context';
import { splitHeads } from '../sequence/layout';
import { limitPositions } from '../sequence/limits';
import { portable } from '../targets/portable';

const dim = 12;
/** The ops that decide and repeat, in an attention of at most so many positions. */
function opsOf(most: number | undefined, mask: Mask<never>) {
  const m = module({}, ({ x }: Readonly<Record<string, Value>>, ctx: SequenceContext) => {
    if (most !== undefined) limitPositions(x!.graph, x!.dims[1]!, most, 'positions');
    const heads = splitHeads(x!, 2, ctx.layout);
    return { y: attend(heads, heads, heads, { ...ctx, mask }) };
  });
  const { graph } = compile(m, { target: portable(21), inputs: { x: ['float32', ['batch', 'seq', dim]] } });
  const all = nodesWithin(graph.nodes).map(({ op }) => op.key);
  return ['If', 'Loop'].map((key) => all.filter((each) => each === key).length);
}

describe('chunks of queries', () => {
  it.each([
    [undefined, [1, 1]],
    [513, [1, 1]],
    [512, [0, 0]],
  ] as const)('of at most %s positions', (most, counts) => expect(opsOf(most, causal)).toEqual(counts));
});

it.each([
  [undefined, 1],
  [4000, 1],
  [100, 0],
] as const)('blocks of a window, of at most %s positions', (most, ifs) => {
  const [made] = opsOf(most, slidingWindow({ left: 7, right: 0 }));
  expect(made).toBe(ifs);
});
