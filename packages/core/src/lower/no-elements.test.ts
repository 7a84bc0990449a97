// Results without elements: nothing computes them, so that neither a kernel nor a fusion of the runtime meets a size that is known to be 0.
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { compile, type Model } from '../compile/compile';
import type { Dim } from '../dim/dim';
import { explain, printExplanation } from '../explain/index';
import { subgraphsOf, type Value } from '../ir/graph';
import { none } from '../mask/none';
import { module } from '../module/module';
import * as ops from '../ops/index';
import type { Ort } from '../runtime/ort';
import { createRunner } from '../runtime/runner';
import { targets } from '../targets/index';
import { toTensor } from '../tensor/convert';
import type { DType } from '../tensor/tensor';
import { randomArray } from '../testing';

type Values = Readonly<Record<string, Value>>;
type Inputs = Readonly<Record<string, readonly [DType, readonly Dim[]]>>;

const built = (inputs: Inputs, build: (values: Values) => Record<string, Value>, target = targets.cpu): Model =>
  compile(module({}, build), {
    target,
    inputs: Object.fromEntries(Object.entries(inputs).map(([name, [dtype, dims]]) => [name, [dtype, dims, 'data'] as const])),
  });
const keysOf = ({ graph }: Model): string[] => {
  const within = (g: typeof graph): string[] =>
    g.nodes.flatMap((n) => [n.op.key, ...subgraphsOf(n).flatMap(([, sub]) => within(sub))]);
  return within(graph);
};
async function run(model: Model, dims: Readonly<Record<string, readonly number[]>>, dtype: DType = 'float32') {
  const feeds = Object.entries(dims).map(([name, d]) => [name, toTensor({ ...randomArray(name, d), dtype })]);
  const runner = await createRunner(model, ort as unknown as Ort);
  const results = await runner(Object.fromEntries(feeds));
  await runner.dispose();
  return results;
}
/** A result that is not empty, so that the runtime has to run the model. */
const sum = (x: Value): Value => ops.reduceSum(x, [...x.dims.keys()], { keepDims: false });
const product = (x: Value): Value => ops.add(ops.matmul(x, randomConstant(x, [5, 7])), randomConstant(x, [7]));
const randomConstant = ({ graph, dtype }: Value, dims: readonly number[]): Value =>
  graph.root.constant(toTensor({ ...randomArray('w', dims), dtype }));

describe('a result that is known to have no elements', () => {
  it('is a constant if all of its sizes are known', async () => {
    const model = built({ x: ['float32', [0, 0, 5]], z: ['float32', [3]] }, ({ x, z }) => {
      const y = product(x!);
      return { y, sum: ops.add(sum(y), sum(z!)) };
    });
    expect(keysOf(model)).toEqual(['ReduceSum']);
    expect((await run(model, { x: [0, 0, 5], z: [3] })).y!.dims).toEqual([0, 0, 7]);
  });
  it.each(['float32', 'float16', 'float64'] as const)('has the sizes of the run where it has others, in %s', async (dtype) => {
    const inputs: Inputs = { x: [dtype, ['batch', 0, 'seq', 5]], z: [dtype, [3]] };
    for (const target of [targets.cpu, targets.portable(21)]) {
      const model = built(inputs, ({ x, z }) => ({ y: product(x!), sum: sum(z!) }), target);
      expect(keysOf(model)).not.toContain('MatMul');
      expect((await run(model, { x: [2, 0, 3, 5], z: [3] }, dtype)).y!.dims).toEqual([2, 0, 3, 7]);
    }
  });
  it('counts as operand: a sum over it is 0, what is appended to it stays', async () => {
    const model = built({ x: ['float32', [0, 5]], z: ['float32', ['n', 7]] }, ({ x, z }) => {
      const y = product(x!);
      return { sums: ops.reduceSum(y, [0]), joined: ops.concat([y, z!], 0) };
    });
    const { sums, joined } = await run(model, { x: [0, 5], z: [3, 7] });
    expect(Array.from(sums!.data as Float32Array)).toEqual(new Array(7).fill(0));
    expect(Array.from(joined!.data as Float32Array)).toEqual([
      ...(toTensor({ ...randomArray('z', [3, 7]), dtype: 'float32' }).data as Float32Array),
    ]);
  });
  it('may be one of several results', async () => {
    const model = built({ x: ['float32', ['n', 5]] }, ({ x }) => {
      const [none, all] = ops.split(ops.neg(x!), [0, 5], 1);
      return { y: ops.exp(none!), all: all! };
    });
    expect(keysOf(model)).not.toContain('Exp');
    const { y, all } = await run(model, { x: [3, 5] });
    expect([y!.dims, all!.dims]).toEqual([
      [3, 0],
      [3, 5],
    ]);
  });
  it('is not computed within branches and loops either', async () => {
    const model = built({ x: ['float32', [0, 5]], z: ['float32', ['n']] }, ({ x, z }) => {
      const size = ops.size(z!, 'n');
      const [chosen] = ops.cond(
        ops.less(size, 4),
        () => [ops.cos(x!)],
        () => [ops.sin(x!)],
      );
      const looped = ops.loop(x!.graph, {
        trips: size,
        count: 'n',
        carried: [sum(z!), x!],
        body: (_step, total, rows) => ({ carried: [ops.add(total!, 1), ops.exp(rows!)], scans: [ops.mul(rows!, total!)] }),
      });
      return { chosen: chosen!, total: looped.carried[0]!, rows: looped.carried[1]!, all: looped.scans[0]! };
    });
    expect(keysOf(model).filter((key) => ['If', 'Cos', 'Sin', 'Exp'].includes(key))).toEqual([]);
    const { chosen, total, rows, all } = await run(model, { x: [0, 5], z: [3] });
    expect([chosen!.dims, rows!.dims, all!.dims]).toEqual([
      [0, 5],
      [0, 5],
      [3, 0, 5],
    ]);
    const start = Array.from(randomArray('z', [3]).data).reduce((a, b) => a + b, 0);
    expect((total!.data as Float32Array)[0]).toBeCloseTo(start + 3, 5);
  });
  it('may be computed by the graph that made it already', async () => {
    const model = built({ x: ['float32', ['n', 5]] }, ({ x }) => {
      const none = ops.expand(x!.graph.constant(toTensor({ dtype: 'float32', dims: [0, 1], data: new Float64Array(0) })), [
        0,
        'n',
      ]);
      return { none, cos: ops.cos(none), all: ops.neg(x!) };
    });
    const { none, cos } = await run(model, { x: [3, 5] });
    expect([none!.dims, cos!.dims]).toEqual([
      [0, 3],
      [0, 3],
    ]);
  });
  it('does not take away the check of a claim', async () => {
    const model = built({ x: ['float32', ['n']] }, ({ x }) => ({ y: ops.refine(x!, [0]), all: ops.neg(x!) }));
    await expect(run(model, { x: [3] })).rejects.toThrow();
  });
  it('is explained', () => {
    const model = built({ q: ['float32', [2, 3, 0, 8]], z: ['float32', [3]] }, ({ q, z }) => ({
      y: ops.attendOp(q!, q!, q!, { mask: none }),
      all: ops.neg(z!),
    }));
    expect(printExplanation(explain(model))).toContain('Attend: not computed, the result has no elements');
  });
});
