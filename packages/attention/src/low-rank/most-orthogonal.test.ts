import {
  compile,
  createRunner,
  type GraphBuilder,
  interpret,
  module,
  type Ort,
  targets,
  toTensor,
  type Value,
} from '@onnxformers/core';
import { checkOp, expectClose, type OpCase, prepare } from '@onnxformers/core/testing';
import * as node from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { mostOrthogonal, useSteps } from './most-orthogonal';

const vectors = { dtype: 'float32', dims: ['batch', 3, 'n', 5] } as const;
const first = { dtype: 'int64', dims: ['batch', 3], low: 0, high: 6 } as const;
const choosing = (count: number): OpCase => ({
  name: `${count} rows`,
  inputs: [vectors, first],
  build: (_, x, at) => [mostOrthogonal(x!, at!, count)],
  sizes: { batch: 2, n: 7 },
});
/** As on a GPU: each step of a Loop waits. */
const waiting = { ...targets.portable(18), waitsInLoops: true as const };

describe('the most orthogonal rows', () => {
  it.each([1, 2, 5, 7])('%i of them: the definition chooses what the reference chooses', (count) => {
    checkOp(choosing(count));
  });

  it.each([
    ['a Loop', targets.portable(18)],
    ['steps', waiting],
  ] as const)('are chosen by the runtime in %s, all of them', async (_, target) => {
    const c = choosing(7);
    const { graph, feeds, sizes } = prepare(c);
    const inputs = Object.fromEntries(c.inputs.map(({ dtype, dims }, i) => [`x${i}`, [dtype, dims, 'data'] as const]));
    const chosen = module({}, (x: Readonly<Record<string, Value>>) => ({
      y0: (c.build(x.x0!.graph.root as GraphBuilder, x.x0!, x.x1!) as readonly Value[])[0]!,
    }));
    const model = compile(chosen, { target, inputs, rules: [useSteps] });
    const loops = model.graph.nodes.filter(({ op }) => op.key === 'Loop').length;
    expect(loops).toBe(target === waiting ? 0 : 1);
    // Six landmarks are added; the last one needs no cosines.
    if (target === waiting) expect(model.graph.nodes.filter(({ op }) => op.key === 'ArgMin')).toHaveLength(6);
    const run = await createRunner(model, node as unknown as Ort);
    const { y0 } = await run(Object.fromEntries(Object.entries(feeds).map(([name, x]) => [name, toTensor(x)])));
    expectClose(y0!, Object.values(interpret(graph, feeds, { sizes }))[0]!);
    await run.dispose();
  });

  it('of equal ones the first is chosen, and none twice', async () => {
    const same = { ...choosing(4), sizes: { batch: 1, n: 4 } };
    const { graph, feeds } = prepare(same);
    const [x, at] = Object.entries(feeds) as [[string, (typeof feeds)[string]], [string, (typeof feeds)[string]]];
    x[1].data.fill(0);
    at[1].data.fill(2);
    const [y] = Object.values(interpret(graph, feeds, { sizes: same.sizes }));
    expect(Array.from(y!.data.subarray(0, 4))).toEqual([2, 0, 1, 3]);
    const [defined] = Object.values(interpret(graph, feeds, { sizes: same.sizes, prefer: 'decompose' }));
    expect(Array.from(defined!.data)).toEqual(Array.from(y!.data));
  });
});
