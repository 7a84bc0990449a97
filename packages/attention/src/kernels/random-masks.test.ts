// Any mask on every target, by the definitions of the kernels: what its predicate allows, and zeros for a query that may attend to nothing.
import { type Graph, interpret, type Mask, materialize, ShapeError, type Target, targets, toTensor } from '@onnxformers/core';
import { lower, mapMask, maskKinds } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';
import { expectClose } from '@onnxformers/core/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { maskClasses } from '../../../core/src/mask/classes';
import { GraphBuilder } from '../../../core/src/ops/vocabulary';
import { type AttentionCall, attentionCall, feeder, randomArray } from '../../../core/src/testing/attention-calls';
import { derivedOf } from '../../../core/src/testing/example';
import { kernels } from './index';

const places: readonly (readonly [name: string, target: Target, dtype: 'float32' | 'float16'])[] = [
  ['portable', targets.portable(21), 'float32'],
  ['cpu', targets.cpu, 'float32'],
  ['wasm', targets.wasm, 'float32'],
  ['webgpu', targets.webgpu, 'float32'],
  ['cuda', targets.cuda, 'float16'],
];
const [width, valueWidth] = [8, 8];

function traced({ batch, kvHeads, group, seq, kvSeq, mask, queryOffset }: AttentionCall, dtype: 'float32' | 'float16') {
  const heads = kvHeads * group;
  const g = new GraphBuilder({ dtype });
  const feed = feeder(g);
  const rows = (name: string, ...dims: number[]) => feed.input(randomArray(name, dims, dtype));
  const y = ops.attendOp(
    rows('q', batch, heads, seq, width),
    rows('k', batch, kvHeads, kvSeq, width),
    rows('v', batch, kvHeads, kvSeq, valueWidth),
    { mask: feed.mask(mask, [batch, heads, seq, kvSeq]), ...(queryOffset && { queryOffset: feed.input(queryOffset) }) },
  );
  g.output('y', y);
  return { graph: g.finish(), feeds: feed.feeds };
}

/** The lowered graph; undefined where the target refuses attention to no keys. */
function loweredOn(target: Target, graph: Graph, { kvSeq }: AttentionCall): Graph | undefined {
  try {
    return lower(graph, target, { rules: kernels }).graph;
  } catch (error) {
    if (kvSeq === 0 && error instanceof ShapeError && error.problem === 'no keys to attend to') return undefined;
    throw error;
  }
}

describe.each(places)('on %s', (_, target, dtype) => {
  it('masks drawn at random, of all classes, and their combinations', () => {
    const seen = new Set<string>();
    let empty = 0;
    fc.assert(
      fc.property(attentionCall, (call) => {
        const { graph, feeds } = traced(call, dtype);
        const expected = interpret(graph, feeds).y!;
        const lowered = loweredOn(target, graph, call);
        if (!lowered) return;
        const got = interpret(lowered, { ...feeds, ...derivedOf(lowered, feeds, {}) }).y!;
        // Constants of a lowered graph are float32, or float16.
        const tolerance = dtype === 'float16' ? 2e-3 : 1e-6;
        expectClose(got, expected, { atol: tolerance, rtol: tolerance });
        const { batch, kvHeads, group, seq, kvSeq, queryOffset } = call;
        const heads = kvHeads * group;
        const { data } = materialize(mapMask(call.mask, toTensor) as Mask<ReturnType<typeof toTensor>>, {
          batch,
          heads,
          seq,
          kvSeq,
          ...(queryOffset && { queryOffset: toTensor(queryOffset) }),
        });
        for (let row = 0; row < batch * heads * seq; row++) {
          if ((data as Uint8Array).subarray(row * kvSeq, (row + 1) * kvSeq).includes(1)) continue;
          empty++;
          expect(Array.from(got.data.subarray(row * valueWidth, (row + 1) * valueWidth)).every((x) => x === 0)).toBe(true);
        }
        for (const kind of maskKinds(call.mask)) seen.add(kind);
      }),
      { numRuns: 150 },
    );
    expect(empty).toBeGreaterThan(100);
    const known = Object.values(maskClasses).map(({ class: { name } }) => name);
    expect(known.filter((name) => !['none', 'and'].includes(name) && !seen.has(name)).length).toBeLessThanOrEqual(2);
  });
});
