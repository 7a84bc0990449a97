// Gradients through numbers drawn at random: forwards and backwards see the same ones, on every target and in every run.
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { compile } from '../compile/compile';
import { interpret } from '../interpret/interpret';
import { dropout } from '../layers/dropout';
import { module } from '../module/module';
import { cond } from '../ops/control';
import { mul } from '../ops/elementwise';
import { reduceSum } from '../ops/reduce';
import { unset } from '../parameter/init';
import { Parameter } from '../parameter/parameter';
import { createRunner } from '../runtime/runner';
import { cpu } from '../targets/cpu';
import { cuda } from '../targets/cuda';
import { portable } from '../targets/portable';
import { tensor, toArray } from '../tensor/convert';
import type { NDArray } from '../tensor/tensor';
import { grad } from './grad';

const [batch, dim, rate] = [5, 37, 0.4];
const scale = new Parameter([dim], unset);
const x = tensor(
  'float32',
  [batch, dim],
  Array.from({ length: batch * dim }, (_, i) => 1 + ((i * i) % 11)),
);
const weights = new Map([
  [
    'scale',
    tensor(
      'float32',
      [dim],
      Array.from({ length: dim }, (_, i) => 0.5 + (i % 7)),
    ),
  ],
]);

/** y = dropout(x · scale), in a branch or not, and what the sum of x · y changes with scale. */
const step = (inside: boolean) =>
  module({ scale }, ({ x, flag }) => {
    const g = x!.graph.root;
    const dropped = () => dropout(mul(x!, g.param(scale)), rate);
    const y = inside
      ? cond(
          flag!,
          () => [dropped()],
          () => [x!],
        )[0]!
      : dropped();
    const [slope] = grad(reduceSum(mul(x!, y), [0, 1], { keepDims: false }), [g.param(scale)]);
    return { y, slope: slope! };
  });
const compiled = (target: typeof cpu, inside: boolean) =>
  compile(step(inside), {
    target,
    weights,
    training: true,
    draws: { seed: 11 },
    inputs: { x: ['float32', ['batch', dim]], ...(inside && { flag: ['bool', []] as const }) },
  });

/** The gradient that the result tells: what was dropped has none, what was kept is x · x / (1 − rate). */
function slopeOf(y: NDArray): number[] {
  const given = toArray(x).data;
  const factors = Array.from(weights.get('scale')!.data, Number);
  return factors.map((s, c) =>
    Array.from({ length: batch }, (_, b) => b * dim + c).reduce((sum, i) => sum + (y.data[i]! / s) * given[i]!, 0),
  );
}
function expectGradient({ y, slope }: Readonly<Record<string, NDArray>>): void {
  const dropped = y!.data.filter((v) => v === 0).length / y!.data.length;
  expect(Math.abs(dropped - rate)).toBeLessThan(4 * Math.sqrt((rate * (1 - rate)) / (batch * dim)));
  slopeOf(y!).forEach((expected, i) => expect(slope!.data[i]! / expected).toBeCloseTo(1, 5));
}

describe.each([false, true])('in a branch: %s', (inside) => {
  const flag = tensor('bool', [], [1]);
  it.each([cpu, portable(18)])('runs on $name', async (target) => {
    const run = await createRunner(compiled(target, inside), ort, { session: { graphOptimizationLevel: 'disabled' } });
    const results: NDArray[] = [];
    for (let i = 0; i < 2; i++) {
      const { y, slope } = await run({ x, ...(inside && { flag }) });
      expectGradient({ y: toArray(y!), slope: toArray(slope!) });
      results.push(toArray(y!));
    }
    await run.dispose();
    expect(results[1]!.data).not.toEqual(results[0]!.data);
  });

  it('computes the same when lowered for cuda', () => {
    const { traced, graph } = compiled(cuda, inside);
    const feeds = { x: toArray(x), run: toArray(tensor('int64', [], [3])), ...(inside && { flag: toArray(flag) }) };
    const parameters = () => toArray(weights.get('scale')!);
    const [before, after] = [traced, graph].map((g) => interpret(g, feeds, { parameters }));
    expectGradient(after!);
    expect(after!.y!.data.map(Number)).toEqual(before!.y!.data.map(Number));
  });
});
