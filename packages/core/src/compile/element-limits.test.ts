// Tensors with more elements than the kernels of a target count are refused: when the model is compiled, or by a limit of its feeds.
import { describe, expect, it } from 'vitest';
import type { Dim } from '../dim/dim';
import type { Value } from '../ir/graph';
import { module } from '../module/module';
import * as ops from '../ops/index';
import { targets } from '../targets/index';
import { compile } from './compile';

// A number for each pair of rows, and one for each row and channel.
const pairs = module({}, ({ x }: Readonly<Record<string, Value>>) => ({
  y: ops.matmul(ops.softmax(ops.matmul(x!, ops.swapLast(x!))), x!),
}));
const compiled = (seq: Dim, target = targets.cuda) =>
  compile(pairs, { target, inputs: { x: ['float32', ['batch', seq, 3], 'data'] } });

describe('elements of a tensor on cuda', () => {
  it('of a known number beyond 2^31 − 1 are refused', () => {
    const of = (seq: number) => () => compile(pairs, { target: targets.cuda, inputs: { x: ['float32', [1, seq, 3], 'data'] } });
    expect(of(46_340)).not.toThrow();
    expect(of(46_341)).toThrow('2147488281 elements, and its kernels count 2147483647 at most');
  });

  it('are limited by one limit for the largest tensor, if sizes are known only in a run', () => {
    const size = compiled('seq').signature.limits!.map((limit) => [limit.size, limit.max]);
    expect(size).toEqual([
      ['3*batch*seq', 2 ** 31 - 1],
      ['batch*seq*seq', 2 ** 31 - 1],
    ]);
    expect(compiled(7).signature.limits!.map((limit) => limit.size)).toEqual(['49*batch']);
  });

  it('are not limited where kernels count any number', () =>
    expect(compiled('seq', targets.cpu).signature.limits).toBeUndefined());
});
