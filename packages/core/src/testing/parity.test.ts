// Parity and its budgets: what float32 does passes, and rules that are wrong by little fail.
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { defineBlock } from '../block/block';
import type { AnyBlock } from '../block/block-definition';
import { interpret } from '../interpret/interpret';
import type { Value } from '../ir/graph';
import { type Rule, rule } from '../lower/rule';
import { causal, none, printMask } from '../mask/index';
import { Attend, attendOp } from '../ops/attend';
import { attendParts } from '../ops/attend-parts';
import { add, exp, mul, sub } from '../ops/elementwise';
import { matmul } from '../ops/matmul';
import { concat, slice } from '../ops/movement';
import { reduceSum } from '../ops/reduce';
import { GraphBuilder } from '../ops/vocabulary';
import type { Ort } from '../runtime/ort';
import { attend, type SequenceContext } from '../sequence/context';
import { cpu } from '../targets/cpu';
import { portable } from '../targets/portable';
import { parity } from './parity';
import { largestDifference, roundingErrors } from './rounding';
import { randomArray } from './run-block';

/** Attention as it is, with a rule that makes something else of it. */
const attention = (rules: readonly Rule[]): AnyBlock =>
  defineBlock({
    kind: 'attention',
    name: 'some_attention',
    summary: 'Attends.',
    fields: {},
    examples: [{}],
    rules,
    create: () => (q: Value, k: Value, v: Value, ctx: SequenceContext) => attend(q, k, v, ctx),
  } as never) as AnyBlock;

type Replacement = (parts: { q: Value; k: Value; v: Value }, scale: number) => Value;
const replacement = (name: string, make: Replacement): Rule =>
  rule(name, Attend, (node) => {
    const { q, k, v, mask } = attendParts(node.operands as readonly Value[], node.attrs);
    // Once: what is made is attention again.
    if (node.history.includes(name) || !['none', 'causal'].includes(printMask(mask))) return undefined;
    return {
      covers: node.outputs,
      emit: (get) => [make({ q: get(q), k: get(k), v: get(v) }, 1 / Math.sqrt(q.dims[3] as number))],
    };
  });

/** The tests that fail, of those that parity makes. */
async function failuresOf(block: AnyBlock): Promise<readonly string[]> {
  const tests: [string, () => void | Promise<void>][] = [];
  const targets = [portable(18), cpu].map((target) => ({ target, ort: ort as unknown as Ort, gradients: true }));
  const registry = { parse: (_: string, given: Record<string, unknown>) => block(given as never) } as never;
  parity([block], { describe: (_, f) => f(), it: (name, f) => void tests.push([name, f]), registry, targets });
  const failed: string[] = [];
  for (const [name, f] of tests) {
    try {
      await f();
    } catch (error) {
      failed.push(`${name}: ${(error as Error).message}`);
    }
  }
  return failed;
}

const half = (x: Value, from: number, to: number): Value => slice(x, { axes: [1], starts: [from], ends: [to] });
const swapped = (x: Value): Value => concat([half(x, 1, 2), half(x, 0, 1)], 1);

describe('parity', () => {
  it('passes for a rule that is an equality', async () => {
    const same = replacement('the same', ({ q, k, v }, scale) => attendOp(mul(q, 2), k, v, { mask: none, scale: scale / 2 }));
    expect(await failuresOf(attention([]))).toEqual([]);
    expect((await failuresOf(attention([same]))).filter((t) => !/mask|bias|lengths|causal/.test(t))).toEqual([]);
  });

  it.each<[string, Replacement]>([
    ['a scale that is off by a thousandth', ({ q, k, v }, scale) => attendOp(q, k, v, { mask: none, scale: scale * 1.001 })],
    ['a result that is off by a ten-thousandth', ({ q, k, v }, scale) => mul(attendOp(q, k, v, { mask: none, scale }), 1.0001)],
    ['another mask', ({ q, k, v }, scale) => attendOp(q, k, v, { mask: causal, scale })],
    ['heads of the values swapped', ({ q, k, v }, scale) => attendOp(q, k, swapped(v), { mask: none, scale })],
    ['values of the next key', ({ q, k, v }, scale) => attendOp(q, k, rolled(v), { mask: none, scale })],
  ])('fails for %s, on every target', async (_, make) => {
    const failed = await failuresOf(attention([replacement('another', make)]));
    for (const target of ['portable-18', 'cpu'])
      expect(failed.filter((t) => t.startsWith(`example 0 on ${target}: y on ${target}: `))).toHaveLength(1);
  });
});

/** The last channel first. */
const rolled = (v: Value): Value => {
  const last = v.dims[3] as number;
  const part = (starts: number, ends: number) => slice(v, { axes: [3], starts: [starts], ends: [ends] });
  return concat([part(last - 1, last), part(0, last - 1)], 3);
};

describe('the errors that float32 makes', () => {
  const errorsOf = (make: (x: Value, y: Value) => Value, [n, m]: readonly [number, number] = [7, 11]) => {
    const g = new GraphBuilder();
    const dims = { x: [n, m], y: [m, n] };
    g.output('z', make(g.input('x', 'float32', dims.x), g.input('y', 'float32', dims.y)));
    const graph = g.finish();
    const feeds = { x: randomArray('x', dims.x), y: randomArray('y', dims.y) };
    const exact = interpret(graph, feeds);
    return { error: roundingErrors(graph, feeds, {}, exact).z!, exact: exact.z! };
  };
  const ulp = 2 ** -24;

  it('are one rounding for one op, and zero for ops that only move elements', () => {
    const { error, exact } = errorsOf((x) => mul(x, x));
    const largest = Math.max(...exact.data);
    expect(error).toBeGreaterThan(0.5 * ulp * largest);
    expect(error).toBeLessThanOrEqual(ulp * largest);
    expect(errorsOf((x) => concat([x, x], 0)).error).toBe(0);
  });

  it('grow with the root of the number of products', () => {
    const [few, many] = [8, 800].map((m) => errorsOf(matmul, [5, m] as const).error);
    // Ten times by the sum's own size, ten times by its roundings.
    expect(many! / few!).toBeGreaterThan(30);
    expect(many! / few!).toBeLessThan(300);
  });

  it('show what cancels', () => {
    const { error, exact } = errorsOf((x) => sub(add(x, 1000), 1000));
    const largest = Math.max(...exact.data.map(Math.abs));
    expect(error).toBeGreaterThan(300 * ulp * largest);
    expect(error).toBeLessThan(1001 * ulp);
  });

  it('are those of real float32, within a factor', () => {
    const { error, exact } = errorsOf((x, y) => reduceSum(exp(matmul(x, y)), [1], { keepDims: false }), [13, 29]);
    const [x, y] = [randomArray('x', [13, 29]), randomArray('y', [29, 13])];
    const f = Math.fround;
    const rows = Array.from({ length: 13 }, (_, i) => {
      let total = 0;
      for (let j = 0; j < 13; j++) {
        let dot = 0;
        for (let k = 0; k < 29; k++) dot = f(dot + f(f(x.data[i * 29 + k]!) * f(y.data[k * 13 + j]!)));
        total = f(total + f(Math.exp(dot)));
      }
      return total;
    });
    const real = largestDifference({ ...exact, data: Float64Array.from(rows) }, exact);
    expect(real / error).toBeGreaterThan(1 / 16);
    expect(real / error).toBeLessThan(4);
  });
});
